"""Operators of newer networks against torch: norms, products, attention, everything that moves elements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen
from tests.frontends.torch.test_float import IMAGE, Function, compare
from tests.support.torch_models import kinds, need, outputs_of
from tinygen.ir.graph import Graph
from tinygen.ir.ops.normalization import Normalization

torch = need("torch")
nn, F = torch.nn, torch.nn.functional
torch.set_num_threads(1)

from tinygen.frontends.torch import export  # noqa: E402


@cache
def fixed(*shape: int) -> Any:
    """A constant tensor; made when a function runs for the first time, which is before it is exported."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def together(functions: Sequence[Callable[[Any], Any]], shape: tuple[int, ...]) -> None:
    """Several in one module: tracing takes most of the time."""
    for function in functions:
        function(torch.zeros(shape))
    compare(lambda x: tuple(function(x) for function in functions), shape)


def masked(x: Any) -> Any:
    """Attention of rows to themselves and those before, and of some alone."""
    q = x.flatten(2).transpose(1, 2)[:, :7, None].transpose(1, 2)
    causal = F.scaled_dot_product_attention(q, q, q, is_causal=True)
    mask = fixed(7, 7) > 0
    mask |= torch.eye(7, dtype=torch.bool)
    return causal + F.scaled_dot_product_attention(q, q * 0.5, q, attn_mask=mask)


IMAGES: dict[str, Callable[[Any], Any]] = {
    "layer norm": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (6,), fixed(6), fixed(6)).permute(0, 3, 1, 2),
    "layer norm, three": lambda x: F.layer_norm(x, (6, 8, 10), fixed(6, 8, 10)),
    "layer norm, rows": lambda x: F.layer_norm(x, (8, 10), fixed(8, 10), fixed(8, 10)),
    "layer norm, tokens": lambda x: F.layer_norm(x.flatten(2).transpose(1, 2), (6,), fixed(6), fixed(6), 1e-3),
    "group norm": lambda x: F.group_norm(x, 3, fixed(6), fixed(6)),
    "group norm, one": lambda x: F.group_norm(x, 1, fixed(6), fixed(6)),
    "group norm, tokens": lambda x: F.group_norm(x.flatten(2), 2, fixed(6)),
    "group norm, flat": lambda x: F.group_norm(x.mean((2, 3)), 2, fixed(6), fixed(6)),
    "instance norm": lambda x: F.instance_norm(x, weight=fixed(6), bias=fixed(6)),
    "rms norm": lambda x: F.rms_norm(x, (10,), fixed(10)) + F.rms_norm(x, (10,), eps=0.1),
    "pixel shuffle": lambda x: F.pixel_shuffle(x[:, :4], 2) + 1,
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x, 2) + 1,
    "channel shuffle": lambda x: F.channel_shuffle(x, 3) + 1,
    "shuffle by views": lambda x: x.view(1, 2, 3, 8, 10).transpose(1, 2).reshape(1, 6, 8, 10) + 1,
    "cat with constants": lambda x: torch.cat([fixed(1, 2, 8, 10), x, fixed(1, 1, 8, 10)], 1),
    "class token": lambda x: torch.cat([fixed(1, 1, 6).expand(1, -1, -1), x.flatten(2).transpose(1, 2)], 1),
    "stack": lambda x: (
        torch.stack([x, x * 2, fixed(*IMAGE)], 2).sum(2) if False else torch.stack([x, x * 2], 2).amax(2)
    ),
    "unbind": lambda x: (lambda a: a[1] * a[4])(x.unbind(1)),
    "roll": lambda x: torch.roll(x, (2, -3), (2, 3)) + 1,
    "roll, flat": lambda x: torch.roll(x, 7) + 1,
    "flip": lambda x: x.flip(2, -1) + 1,
    "repeat": lambda x: x[:, :2].repeat(1, 2, 1, 3) + 1,
    "tile": lambda x: x[:, :, :2].tile(2, 1) + 1,
    "repeat interleave": lambda x: x.repeat_interleave(2, 1) + 1,
    "expand": lambda x: x * x.mean(1, keepdim=True).expand_as(x) + x.mean((2, 3), keepdim=True).expand(1, 6, 8, 10),
    "expand, kept": lambda x: x.mean(1, keepdim=True).expand_as(x).flatten(1),
    "expanded twice": lambda x: (
        x.amax((1, 2), keepdim=True).expand(1, 6, 8, 10) + x.amax((1, 3), keepdim=True).expand(1, 6, 8, 10)
    ),
    "unfold, patches": lambda x: F.unfold(x, 2, stride=2) + 1,
    "unfold, windows": lambda x: F.unfold(x, (3, 2), dilation=(1, 2), padding=1, stride=2) + 1,
    "windows": lambda x: x.unfold(2, 4, 4).unfold(3, 5, 5) + 1,
    "windows that overlap": lambda x: x.unfold(3, 4, 2) + 1,
    "positions": lambda x: x[:, torch.tensor([5, 3, 1, 0, 0])] + x.index_select(1, torch.tensor([0, 1, 2, 3, 5])),
    "chunk": lambda x: x.chunk(4, 1)[2] + 1,
    "narrow": lambda x: x.narrow(3, 2, 5) + 1,
    "replicate": lambda x: F.pad(x, (1, 2, 3, 0), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
    "crop": lambda x: F.pad(x, (-1, 2, 0, -3)) + 1,
    "mean, any axes": lambda x: x.mean((1, 3)),
    "largest, any axes": lambda x: x.amax((0, 2), keepdim=True) - x.amin(-1, keepdim=True),
    "variance": lambda x: x.var((1, 2), keepdim=True) + x.var(3, correction=0, keepdim=True),
    "max along": lambda x: x.max(1).values + x.min(1, keepdim=True)[0],
    "clamp by tensors": lambda x: x.clamp(torch.tensor(-0.5), torch.tensor(0.5)),
    "clamp by channel": lambda x: x.clamp(-fixed(1, 6, 1, 1).abs(), max=fixed(1, 6, 1, 1).abs()),
    "powers": lambda x: x**2 + x.pow(3) - torch.square(x) + x.pow(4),
    "scaled sum": lambda x: torch.add(x, x * x, alpha=0.5) - torch.sub(x, x, alpha=2),
    "addcmul": lambda x: torch.addcmul(fixed(1, 1, 10), x, fixed(6, 1, 1), value=0.5) + torch.addcmul(x, x, x),
    "lerp": lambda x: torch.lerp(x, x * x, 0.3),
    "larger constant": lambda x: x[:, :1] * fixed(1, 6, 1, 1) + fixed(2, 6, 8, 10)[:1],
    "softplus": lambda x: F.softplus(x, 2.0) + F.softplus(x),
    "mish": F.mish,
    "elu": lambda x: F.elu(x, 0.5) + F.selu(x) + F.celu(x, 2.0),
    "adaptive, larger": lambda x: F.adaptive_avg_pool2d(x, (16, 7)),
    "adaptive, uneven": lambda x: F.adaptive_avg_pool2d(x, (3, 10)),
    "adaptive max, uneven": lambda x: F.adaptive_max_pool2d(x, (5, 3)),
    "transposed, groups": lambda x: F.conv_transpose2d(x, fixed(6, 2, 3, 2), fixed(4), 2, 1, 1, groups=2),
    "transposed, depthwise": lambda x: F.conv_transpose2d(x, fixed(6, 1, 4, 4), None, 2, 1, groups=6),
    "transposed, dilated": lambda x: F.conv_transpose2d(x, fixed(6, 3, 3, 2), fixed(3), (2, 1), 1, (1, 0), 1, 2),
    "transposed, cropped": lambda x: F.conv_transpose2d(x, fixed(6, 3, 2, 2), padding=2),
    "dilated": lambda x: F.conv2d(x, fixed(9, 2, 3, 3), None, 1, 2, 2, 3),
    "attention": lambda x: (lambda q: F.scaled_dot_product_attention(q, q, q))(x.flatten(2).transpose(1, 2)[:, None]),
    "masked attention": masked,
    "einsum, channels": lambda x: torch.einsum("nchw,cd->ndhw", x, fixed(6, 4)),
    "einsum, weights first": lambda x: torch.einsum("dc,nchw->ndhw", fixed(4, 6), x),
    "einsum, batches": lambda x: torch.einsum("nchw,nchv->ncwv", x, x),
    "einsum, dots": lambda x: torch.einsum("...hw,...kw->...hk", x, x),
    "einsum, one": lambda x: torch.einsum("nchw->nwhc", x) + 1,
    "einsum, rows": lambda x: torch.einsum("nchw,vw->ncvh", x, fixed(3, 10)),
    "matmul, right": lambda x: x @ fixed(10, 3),
    "matmul, left": lambda x: fixed(5, 8) @ x,
    "matmul, vector": lambda x: x @ fixed(10) + (fixed(8) @ x)[..., :8],
    "matmul, batch of constants": lambda x: x @ fixed(6, 10, 3),
    "matmul, transposed": lambda x: x.transpose(2, 3) @ x + x.transpose(2, 3) @ fixed(6, 8, 10),
    "softmax of one": lambda x: x.mean((2, 3), keepdim=True).softmax(3) + x.mean(1, keepdim=True).softmax(1),
    "of a shape": lambda x: x + torch.ones_like(x) + x.new_full((10,), 0.5) + torch.zeros_like(x[:, :1]),
    "sums": lambda x: x.sum((1, 2)) + x.sum() + x.flatten(1).prod(1, keepdim=True) * 1e9,
    "lengths": lambda x: (
        x.norm(dim=1, keepdim=True) + x.norm(1, (2, 3), True) + x.norm(float("inf"), dim=3, keepdim=True)
    ),
    "normalized": lambda x: F.normalize(x, dim=1) + F.normalize(x, dim=-1) - x / x.norm(dim=(2, 3), keepdim=True),
    "deviation": lambda x: x.std(1, keepdim=True) + x.std((2, 3), correction=0, keepdim=True),
    "quotients": lambda x: 1 / (x.abs() + 1) + x / (x * x + 1) + (x.abs() + 2).reciprocal(),
    "response normalization": lambda x: (
        x * (x.norm(dim=(2, 3), keepdim=True) / (x.norm(dim=(2, 3), keepdim=True).mean(1, True) + 1e-6))
    ),
    "functions": lambda x: x.exp() + (x.abs() + 1).log() + x.abs().sqrt() + (x * x + 1).rsqrt() + x.sin() + x.cos(),
    "rounded": lambda x: (x * 3).floor() + (x * 3).ceil() + (x * 3).round() + x.sign(),
    "other powers": lambda x: (
        (x.abs() + 0.1) ** 1.7 + 2.0**x + x.abs() ** 0.5 + (x.abs() + 0.1) ** -1 + x.clamp(min=0.2) ** -0.5
    ),
    "log softmax": lambda x: x.log_softmax(1) + F.logsigmoid(x),
    "entropy": lambda x: -(x.softmax(1) * x.log_softmax(1)).sum(1),
    "where": lambda x: (
        torch.where(x > 0, x, 0.1 * x) + torch.where(fixed(10) > 0, x, 1.5) + torch.where(x[:, :1] > 0, 1.0, 2.0)
    ),
    "masked": lambda x: x.masked_fill(fixed(8, 10) > 0.5, float("-inf")).softmax(-1),
    "far below": lambda x: torch.where(x > 0, x, -70000.0).amax(1) + x.masked_fill(x < 0, -3.0).amin(1),
    "conditions": lambda x: (((x > 0) & (x < 1)) | ~(x >= -1)).float() + ((x > 0) ^ (x > 0.5)) * x,
    "conditions of constants": lambda x: ((x > fixed(10)) & (fixed(8, 10) > 0)).float(),
    "counted": lambda x: (x > 0.5).sum(1) + ((x > 0).any(1) | (x > 5).all(1)).float(),
    "relu of a cat": lambda x: torch.relu(torch.cat([x, -x], 3)),
}
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_images(part: int) -> None:
    together(list(IMAGES.values())[part::PARTS], IMAGE)


ROWS: dict[str, Callable[[Any], Any]] = {
    "addmm": lambda x: torch.addmm(fixed(3), x, fixed(12, 3), beta=0.5, alpha=2),
    "addmm, rows": lambda x: torch.addmm(fixed(12, 12), x.t(), x, alpha=0.5),
    "baddbmm": lambda x: torch.baddbmm(fixed(1, 3, 3), x.view(1, 3, 4), x.view(1, 4, 3), beta=0.5, alpha=0.25),
    "dot": lambda x: torch.dot(x[0], fixed(12)).reshape(1) + torch.mv(fixed(2, 12), x[0])[:1],
    "mm": lambda x: torch.mm(x.t(), x) + torch.mm(x, fixed(12, 12)),
    "top k": lambda x: x.topk(3).values + x.view(3, 4).topk(1, 0).values.flatten()[:3],
    "rms norm": lambda x: F.rms_norm(x, (12,)),
    "unfold": lambda x: x.unfold(1, 4, 2) + 1,
    "softmax of a sum": lambda x: (x + fixed(12)).softmax(-1),
}


def test_rows() -> None:
    together(list(ROWS.values()), (1, 12))


def test_signals() -> None:
    layers = [nn.GroupNorm(2, 6), nn.Conv1d(6, 4, 3, dilation=2), nn.InstanceNorm1d(4, affine=True), nn.GLU(1)]
    compare(nn.Sequential(*layers[:3]), (1, 6, 20))
    compare(nn.Sequential(nn.ConvTranspose1d(6, 6, 3, 2, groups=3), nn.AdaptiveAvgPool1d(7)), (1, 6, 9))


def test_parametrizations_are_computed_when_exported() -> None:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 4, 3))
    linear = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5))
    old = nn.utils.weight_norm(nn.Conv2d(4, 4, 1))
    found = compare(nn.Sequential(conv, old, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear), IMAGE)
    assert kinds(found) == ["conv_2d", "conv_2d", "mean", "reshape", "fully_connected"]


def test_expanding_is_left_to_what_reads_it() -> None:
    """Excitation multiplies with one value per channel; nothing is repeated in memory."""
    found = compare(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)).expand_as(x), IMAGE)
    assert kinds(found) == ["mean", "logistic", "mul"]


def test_products_read_matrices_as_they_are_stored() -> None:
    """No transposition for q @ k^T, and the scale is the softmax's."""

    def attend(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, scale=0.3)

    graph = export(Function(attend), tuple(torch.zeros(1, 2, 5, 4) for _ in range(3)), float32=True)
    # Images lie NHWC: one transposition for each input, one for the output.
    assert Counter(kinds(graph)) == {"transpose": 4, "reshape": 8, "batch_matmul": 2, "softmax": 1}
    weights = fixed(10, 3)
    constant = compare(lambda x: x @ weights, (1, 5, 10))
    assert kinds(constant) == ["fully_connected"]


def test_norms_are_one_operator() -> None:
    layers = [nn.GroupNorm(3, 6), nn.GroupNorm(1, 6), nn.InstanceNorm2d(6, affine=True)]
    found = [op for op in compare(nn.Sequential(*layers), IMAGE).ops if isinstance(op, Normalization)]
    assert [(op.axes, op.groups) for op in found] == [((1, 2, 3), 3), ((1, 2, 3), 1), ((1, 2), 1)]
    assert len(found) == 3


def test_positions() -> None:
    """argmax and max with indices give int32."""
    graph: Graph = export(
        Function(lambda x: (x.argmax(1), x.max(1)[1], x.argmin(-1, keepdim=True))), torch.zeros(1, 9), float32=True
    )
    x = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    for index, wanted in enumerate((x.argmax(1), x.argmax(1), x.argmin(1)[:, None])):
        np.testing.assert_array_equal(outputs_of(graph, x, index), wanted)
    layers = nn.Sequential(nn.Linear(9, 4), Function(lambda y: (y.softmax(1), y.argmax(1)))).eval()
    whole = export(layers, torch.zeros(1, 9), torch.from_numpy(x))
    assert [str(whole.tensors[name].encoding) for name in whole.outputs][1] == "int32"
    loss = tinygen.compare(layers, whole, torch.from_numpy(x))
    assert loss.same == 5 and loss.signal_to_noise > 30


class Words(nn.Module):
    """A table, a norm, attention, a mean over words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table, self.places = nn.Embedding(50, 8), nn.Embedding(12, 8)
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, tokens: Any) -> Any:
        x = self.table(tokens) + self.places(torch.arange(12))
        x = self.norm(x)
        keep = (tokens != 0)[:, :, None]
        return self.last(torch.where(keep, x, torch.zeros(1)).sum(1) / 12)


def test_embeddings_of_integer_inputs(tmp_path: Path) -> None:
    """Positions are int32; float as torch, int8 in integers alone, and in C."""
    module, tokens = Words().eval(), torch.randint(0, 50, (40, 12), generator=torch.Generator().manual_seed(1))
    tokens[:, 9:] = 0
    with torch.no_grad():
        wanted = np.concatenate([module(row[None]).numpy() for row in tokens])
    real = export(module, tokens[:1], float32=True)
    assert str(real.tensors[real.inputs[0]].encoding) == "int32"
    rows = tokens.numpy().astype(np.int32)
    np.testing.assert_allclose(outputs_of(real, rows), wanted, rtol=1e-5, atol=1e-5)
    graph = export(module, tokens[:1], tokens, name="words")
    assert not any(tensor.is_float for tensor in graph.tensors.values() if not tensor.is_constant)
    loss = tinygen.compare(module, graph, tokens)
    assert loss.same is not None and loss.same >= 38 and loss.signal_to_noise > 20
    assert tinygen.verify(graph, rows[:3], board="host").identical
    np.save(tmp_path / "tokens.npy", tokens.numpy())
    torch.export.save(torch.export.export(module, (tokens[:1],)), tmp_path / "words.pt2")
    options = tinygen.BuildOptions(board="f746zg", calibration=tmp_path / "tokens.npy")
    report = tinygen.verify(tmp_path / "words.pt2", rows[:3], options)
    assert report.identical and report.quantization is not None and report.quantization.same == 3


def test_a_vector_of_length_one_is_a_norm() -> None:
    """Division by its own length, as in cosine similarity, is one operator."""
    assert kinds(compare(lambda x: F.normalize(x, dim=1), IMAGE)) == ["normalization"]
    far = compare(lambda x: x / x.norm(dim=1, keepdim=True).clamp(min=0.5), IMAGE)
    assert "normalization" not in kinds(far) and "div" in kinds(far)
    other = compare(lambda x: (x + 1) / x.norm(dim=1, keepdim=True), IMAGE)
    assert "normalization" not in kinds(other)
