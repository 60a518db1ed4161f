"""TensorFlow Lite flatbuffers (.tflite) into a Graph."""

from tinygen.frontends.tflite.reader import load_tflite, read_tflite

__all__ = ["load_tflite", "read_tflite"]
