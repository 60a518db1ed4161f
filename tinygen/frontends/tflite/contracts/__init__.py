"""What LiteRT demands of a model before it runs it: what it refuses, tinygen refuses, with its reason."""

from tinygen.frontends.tflite.contracts.check import check_operator, check_version

__all__ = ["check_operator", "check_version"]
