"""How the .tflite files beside this were made: small untrained Keras models, converted and quantized by TensorFlow 2.21.

    python tests/importers/files/make.py OUT_FOLDER

The weights are random, so the files differ from run to run in their numbers, not in their operators. Between them: float and uint8
borders, a dynamic batch, shapes computed at run time (the transposed convolution's, the attention block's), space-to-batch around dilated
convolutions, operators without options, convolutions of one dimension, a negation left in float, int64 biases, shared buffers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

keras = tf.keras
layers = keras.layers


def convolutions() -> keras.Model:
    start = keras.Input((24, 20, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(start)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.Add()([x, layers.Conv2D(8, 1)(y)])
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(layers.Activation("hard_swish")(x))
    x = layers.Conv2D(12, 3, strides=2, padding="valid", activation="relu")(x)
    x = layers.Concatenate()([x, layers.Conv2D(4, 1)(x)])
    gate = layers.Conv2D(4, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Conv2D(16, 1, activation="sigmoid")(gate)])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.LeakyReLU(0.1)(layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x))
    x = layers.GlobalAveragePooling2D()(layers.MaxPool2D(2)(x))
    return keras.Model(start, layers.Dense(5)(x))


def dilated() -> keras.Model:
    start = keras.Input((16, 16, 4))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3, dilation_rate=2, padding="same")(start))
    x = layers.Cropping2D(1)(layers.Conv2D(8, 3, groups=2)(x))
    return keras.Model(start, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def one_dimension() -> keras.Model:
    start = keras.Input((64, 6))
    x = layers.MaxPooling1D(2)(layers.Conv1D(8, 5, padding="same", activation="relu")(start))
    x = layers.GlobalMaxPooling1D()(layers.Conv1D(8, 3)(x))
    return keras.Model(start, layers.Dense(4)(x))


def attention() -> keras.Model:
    start = keras.Input((12, 16))
    x = layers.LayerNormalization()(start)
    x = layers.Add()([layers.MultiHeadAttention(2, 8)(x, x), start])
    x = layers.Add()([x, layers.Dense(16)(layers.Dense(32, activation="gelu")(x))])
    return keras.Model(start, layers.Dense(4)(x[:, 0]))


def convert(model: keras.Model, kind: str) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)

    def samples() -> Iterator[list[np.ndarray]]:
        for _ in range(8):
            yield [rng.normal(size=(1, *model.input_shape[1:])).astype(np.float32)]

    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()
    converter.representative_dataset = samples
    ops = tf.lite.OpsSet
    wide = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    converter.target_spec.supported_ops = [wide if kind == "16x8" else ops.TFLITE_BUILTINS_INT8]
    if kind == "uint8":
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


if __name__ == "__main__":
    tf.random.set_seed(0)
    image, line = convolutions(), one_dimension()
    for name, model, kind in (
        ("convolutions_uint8", image, "uint8"),
        ("convolutions_float16", image, "float16"),
        ("dilated_int8", dilated(), "int8"),
        ("one_dimension_int8", line, "int8"),
        ("one_dimension_16x8", line, "16x8"),
        ("attention_int8", attention(), "int8"),
    ):
        (Path(sys.argv[1]) / f"{name}.tflite").write_bytes(convert(model, kind))
