"""Makes float.tflite and int8.tflite: a network with an exit, tf.cond, as TensorFlow's converter writes it.

`python make_tflite.py`, with TensorFlow installed. The files here were made with tensorflow-cpu 2.21.0. The converter
leaves branches in float where it quantizes the rest, and hands weights of layers in branches on as inputs of IF.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

IMAGE = (1, 8, 8, 1)


def network() -> Any:
    """What it computes of an image: logits [1, 3], of a small head where the largest is above 0.3."""
    import tensorflow as tf

    rng = np.random.default_rng(3)
    shapes = ((3, 3, 1, 4), (4,), (4, 3), (3,), (3, 3, 4, 6), (6,), (6, 3), (3,))
    weights = [tf.constant(rng.normal(0, 0.4, shape).astype(np.float32)) for shape in shapes]

    def layer(x: Any, first: int) -> Any:
        return tf.nn.relu(tf.nn.conv2d(x, weights[first], 1, "SAME") + weights[first + 1])

    def head(x: Any, first: int) -> Any:
        return tf.matmul(tf.reduce_mean(x, (1, 2)), weights[first]) + weights[first + 1]

    @tf.function(input_signature=[tf.TensorSpec(IMAGE, tf.float32)])
    def exits(image: Any) -> Any:
        x = layer(image, 0)
        logits = head(x, 2)
        return tf.cond(tf.reduce_max(logits) > 0.3, lambda: tf.identity(logits), lambda: head(layer(x, 4), 6))

    return exits.get_concrete_function()


def main() -> None:
    import tensorflow as tf

    images = np.random.default_rng(4).normal(0, 1, (64, *IMAGE)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network()])
    Path(__file__).with_name("float.tflite").write_bytes(converter.convert())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    Path(__file__).with_name("int8.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
