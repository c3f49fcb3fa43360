"""Usual modules, exported by both of PyTorch's exporters with any batch: the walk against PyTorch's own output."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.twin.networks import agree, build, execute, parse

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]
nn, functional = torch.nn, torch.nn.functional
_TOLERANCE = 1e-4  # both sum in float32


class Written(nn.Module):
    """A module of one function, of the inputs and of the modules given to it."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.modules_given = function, nn.ModuleList(modules)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*self.modules_given, *inputs)


def _squeeze_and_excite() -> nn.Module:
    def forward(down, up, x):
        return x * torch.sigmoid(up(functional.relu(down(x.mean((2, 3), keepdim=True)))))

    return Written(forward, nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1))


def _attention() -> nn.Module:
    return Written(
        lambda attend, x: attend(x, x, x, need_weights=False)[0], nn.MultiheadAttention(16, 4, batch_first=True)
    )


def _gather_and_where(x, places):
    picked = torch.gather(x, 1, places)
    return torch.where(picked > 0, picked, 0.1 * picked).cumsum(1)


#: The module, and the shapes of its inputs without the batch.
MODULES: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "conv_bn_relu_pool": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        ),
        [(3, 17, 19)],
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), nn.Conv2d(8, 12, 1, groups=2), nn.SiLU()
        ),
        [(8, 12, 11)],
    ),
    "squeeze_and_excite": (_squeeze_and_excite, [(8, 6, 6)]),
    "layer_norm": (lambda: nn.Sequential(nn.Linear(16, 24), nn.LayerNorm(24), nn.GELU(), nn.Linear(24, 4)), [(5, 16)]),
    "group_norm": (lambda: nn.Sequential(nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True)), [(8, 4, 4)]),
    "attention": (_attention, [(7, 16)]),
    "causal_attention": (
        lambda: Written(lambda x: functional.scaled_dot_product_attention(x, 2 * x, x + 1, is_causal=True)),
        [(4, 7, 8)],
    ),
    "hard_swish": (lambda: nn.Sequential(nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-0.3, 0.4)), [(3, 4)]),
    "activations": (
        lambda: nn.Sequential(nn.ELU(), nn.SELU(), nn.Softplus(2.0), nn.Mish(), nn.PReLU(3), nn.LeakyReLU(0.2)),
        [(3, 4)],
    ),
    "up_sampling": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")),
        [(3, 5, 4)],
    ),
    "up_sampling_to_a_size": (lambda: nn.Upsample(size=(9, 7), mode="bilinear", align_corners=True), [(3, 5, 4)]),
    "up_sampling_to_another": (
        lambda: Written(lambda x, y: functional.interpolate(x, size=y.shape[2:]) + y),
        [(3, 5, 4), (3, 10, 12)],
    ),
    "global_pooling": (
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5), nn.Softmax(1)),
        [(8, 6, 7)],
    ),
    "pooling_to_three_by_two": (lambda: nn.AdaptiveAvgPool2d((3, 2)), [(8, 6, 8)]),
    "pools_rounded_up": (
        lambda: Written(
            lambda *given: torch.cat([pool(given[-1]) for pool in given[:-1]], 1),
            nn.AvgPool2d(4, 1, ceil_mode=True, count_include_pad=True),  # where a window overhangs, the twin refuses it
            nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
            nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        ),
        [(4, 8, 8)],
    ),
    "transposed_convolution": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), [(4, 5, 6)]),
    "one_dimension": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.MaxPool1d(2), nn.AvgPool1d(3, 1, 1)), [(4, 15)]),
    "three_dimensions": (lambda: nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.AvgPool3d(2)), [(2, 6, 6, 6)]),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), [(8, 4, 4)]),
    "gather_where_and_running_sum": (lambda: Written(_gather_and_where), [(5, 3), (4, 3)]),
    "reductions": (
        lambda: Written(lambda x: x.var(1) + x.norm(dim=1) + x.logsumexp(1) + x.prod(1) + x.amax(1) + x.std(1)),
        [(5,)],
    ),
    "slices_and_rolls": (
        lambda: Written(lambda x: (x[:, 1:-1:2] + x[:, :3, -1:]).roll((1, 2), (1, 2)).flip(1)),
        [(7, 3)],
    ),
    "reflected_padding": (
        lambda: Written(
            lambda x: functional.pad(x, (1, 2, 0, 3), mode="reflect") + functional.pad(x, (1, 2, 0, 3), value=2.0)
        ),
        [(3, 5, 6)],
    ),
    "grid_sample": (
        lambda: Written(lambda x, grid: functional.grid_sample(x, 0.7 * grid, align_corners=False)),
        [(3, 5, 5), (4, 6, 2)],
    ),
    "lstm": (
        lambda: Written(
            lambda net, last, x: last(net(x)[0][:, -1]),
            nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True),
            nn.Linear(10, 3),
        ),
        [(7, 6)],
    ),
    "gru": (lambda: Written(lambda net, x: net(x)[0], nn.GRU(6, 5, 2, batch_first=True)), [(7, 6)]),
    "rnn": (lambda: Written(lambda net, x: net(x)[1].transpose(0, 1), nn.RNN(6, 5, batch_first=True)), [(7, 6)]),
}


def _inputs(shapes: list[tuple[int, ...]], batch: int, integers: bool) -> list[Any]:
    drawn = torch.Generator().manual_seed(batch)
    given = [torch.randn((batch, *shape), generator=drawn) for shape in shapes]
    if integers:
        given[1] = torch.randint(0, shapes[0][0], (batch, *shapes[1]), generator=drawn)
    return given


def _by_tracing(module: nn.Module, inputs: tuple[Any, ...], names: list[str]) -> bytes:
    file = io.BytesIO()
    free = {name: {0: "batch"} for name in names}
    torch.onnx.export(module, inputs, file, dynamo=False, opset_version=17, input_names=names, dynamic_axes=free)
    return file.getvalue()


def _by_dynamo(module: nn.Module, inputs: tuple[Any, ...], names: list[str]) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=64)
    free = tuple({0: batch} for _ in names)
    shapes = (free,) if isinstance(module, Written) else free
    program = torch.onnx.export(
        module, inputs, dynamo=True, opset_version=18, input_names=names, dynamic_shapes=shapes, verbose=False
    )
    return program.model_proto.SerializeToString()


@pytest.mark.parametrize("export", [_by_tracing, _by_dynamo])
@pytest.mark.parametrize("name", MODULES)
def test_an_exported_module_gives_pytorchs_own_output(name: str, export: Callable[..., bytes]) -> None:
    torch.manual_seed(0)
    write, shapes = MODULES[name]
    module, names = write().eval(), [f"x{number}" for number in range(len(shapes))]
    integers = name.startswith("gather")
    model = export(module, tuple(_inputs(shapes, 2, integers)), names)
    for batch in (2, 3):
        inputs = _inputs(shapes, batch, integers)
        network, fed = parse(model), {n: x.numpy() for n, x in zip(names, inputs, strict=True)}
        build(network, fed)
        (result,) = execute(network, fed).values()
        with torch.no_grad():
            agree(result, np.asarray(module(*inputs)), _TOLERANCE)
