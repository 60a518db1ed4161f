"""LiteRT's checks of a model: tinygen refuses what LiteRT refuses, for the same reason."""

from tinygen.frontends.tflite.contracts.check import check_operator, check_version

__all__ = ["check_operator", "check_version"]
