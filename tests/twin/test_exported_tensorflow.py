"""Usual Keras models, exported by Keras and by tf2onnx with any batch: the walk against TensorFlow's own output."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.twin.networks import agree, build, execute, parse

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
tf2onnx = pytest.importorskip("tf2onnx")
keras = pytest.importorskip("keras")
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]
K = keras.layers
_TOLERANCE = 1e-4  # both sum in float32


def _chain(shape: tuple[int, ...], *layers: Any, dtype: str = "float32") -> Any:
    given = x = keras.Input(shape, dtype=dtype)
    for layer in layers:
        x = layer(x)
    return keras.Model(given, x)


def _function(shape: tuple[int, ...], function: Callable[[Any], Any]) -> Any:
    return _chain(shape, K.Lambda(function))


def _squeeze_and_excite() -> Any:
    given = keras.Input((6, 6, 8))
    x = K.GlobalAveragePooling2D(keepdims=True)(given)
    x = K.Conv2D(8, 1, activation="sigmoid")(K.Conv2D(2, 1, activation="relu")(x))
    return keras.Model(given, K.Multiply()([given, x]))


def _attention() -> Any:
    given = keras.Input((7, 16))
    return keras.Model(given, K.MultiHeadAttention(4, 8)(given, given, use_causal_mask=True))


def _norms(x: Any) -> Any:
    parts = tf.reduce_logsumexp(x, 1, keepdims=True) + tf.reduce_prod(x, 1, keepdims=True)
    return tf.math.l2_normalize(x, 1) + parts + tf.math.reduce_std(x, 1, keepdims=True)


def _gather_and_where(x: Any) -> Any:
    return tf.cumsum(tf.where(x > 0, x, 0.1 * x) + tf.gather(x, [0, 2, 1, 1, 0], axis=1), 1, exclusive=True)


MODELS: dict[str, Callable[[], Any]] = {
    "conv_bn_relu_pool": lambda: _chain(
        (17, 19, 3),
        K.Conv2D(8, 3, 2, "same", use_bias=False),
        K.BatchNormalization(),
        K.ReLU(),
        K.MaxPooling2D(3, 2, "same"),
    ),
    "depthwise": lambda: _chain(
        (12, 11, 8),
        K.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
        K.SeparableConv2D(6, 3),
        K.Activation("swish"),
    ),
    "squeeze_and_excite": _squeeze_and_excite,
    "layer_norm": lambda: _chain((5, 16), K.Dense(24), K.LayerNormalization(), K.Dense(4, activation="softmax")),
    "group_norm": lambda: _chain((4, 4, 8), K.GroupNormalization(2), K.UnitNormalization()),
    "attention": _attention,
    "hard_swish": lambda: _chain((3, 4), *map(K.Activation, ("hard_swish", "hard_sigmoid", "relu6"))),
    "activations": lambda: _chain(
        (3, 4),
        K.ELU(),
        K.PReLU(shared_axes=[1]),
        K.LeakyReLU(0.1),
        *map(K.Activation, ("selu", "softplus", "mish", "softsign")),
    ),
    "up_sampling": lambda: _chain((5, 4, 3), K.UpSampling2D(2), K.UpSampling2D((2, 3), interpolation="bilinear")),
    "global_pooling": lambda: _chain((6, 6, 8), K.GlobalAveragePooling2D(), K.Dense(3, activation="tanh")),
    "average_pooling": lambda: _chain((7, 8, 4), K.AveragePooling2D(3, 2, "same"), K.AveragePooling2D(2, 2)),
    "transposed_convolution": lambda: _chain((5, 6, 4), K.Conv2DTranspose(3, 3, 2, "same"), K.Conv2DTranspose(3, 4, 2)),
    "padding_and_cropping": lambda: _chain(
        (7, 8, 4), K.ZeroPadding2D(((1, 2), (0, 3))), K.Cropping2D(((1, 0), (2, 1)))
    ),
    "one_dimension": lambda: _chain(
        (15, 4), K.Conv1D(6, 3, padding="causal"), K.MaxPooling1D(2), K.AveragePooling1D(3, 1, "same")
    ),
    "local_response": lambda: _function((4, 4, 8), lambda x: tf.nn.local_response_normalization(x, 2, 1.0, 0.01, 0.75)),
    "gather_where_and_running_sum": lambda: _function((5, 3), _gather_and_where),
    "norms": lambda: _function((6,), _norms),
    "reversed": lambda: _function((6,), lambda x: tf.tile(tf.reverse(x, [1]), [1, 2])),
    "lstm": lambda: _chain((7, 6), K.Bidirectional(K.LSTM(5, return_sequences=True)), K.LSTM(4), K.Dense(3)),
    "gru": lambda: _chain((7, 6), K.GRU(5, return_sequences=True), K.GRU(4, reset_after=False)),
    "rnn": lambda: _chain((7, 6), K.SimpleRNN(5, return_sequences=True, go_backwards=True)),
    "depth_to_space": lambda: _function((4, 4, 8), lambda x: tf.nn.depth_to_space(x, 2)),
}


def _by_keras(model: Any, folder: Path) -> bytes:
    path = folder / "model.onnx"
    model.export(str(path), format="onnx", verbose=False, opset_version=17)
    return path.read_bytes()


def _by_tf2onnx(model: Any, folder: Path) -> bytes:
    """With images as TensorRT has them: channels first."""
    (given,) = model.inputs
    takes = [tf.TensorSpec((None, *given.shape[1:]), given.dtype, name="x")]
    channels_first = ["x:0"] if len(given.shape) == 4 else None
    function = tf.function(lambda x: model(x), input_signature=takes)
    written, _ = tf2onnx.convert.from_function(function, input_signature=takes, opset=17, inputs_as_nchw=channels_first)
    return written.SerializeToString()


@pytest.mark.parametrize("export", [_by_keras, _by_tf2onnx])
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_model_gives_tensorflows_own_output(
    name: str, export: Callable[..., bytes], tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    rng = np.random.default_rng(0)
    shape = model.inputs[0].shape[1:]
    model(np.zeros((1, *shape), np.float32))  # Keras exports no model that was never called
    written = export(model, tmp_path)
    (given,) = onnx.load_from_string(written).graph.input
    for batch in (2, 3):
        x = rng.standard_normal((batch, *shape)).astype(np.float32)
        channels_first = export is _by_tf2onnx and x.ndim == 4
        fed = {given.name: np.ascontiguousarray(np.moveaxis(x, -1, 1)) if channels_first else x}
        network = parse(written)
        build(network, fed)
        (result,) = execute(network, fed).values()
        agree(result, np.asarray(model(x)), _TOLERANCE)
