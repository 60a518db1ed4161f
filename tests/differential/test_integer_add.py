"""Sums of integer codes, codebooks as activations and joined bits, in C, against the operators' meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.support import integer_layers as layers
from tests.support.differential import compare_code
from tests.support.integer_layers import (
    ACTIVATIONS,
    BINARY,
    INT8,
    INT32,
    OUTPUTS,
    POWERS,
    TERNARY,
    Layer,
    affine,
    codebook,
    levels,
    random_codes,
)
from tests.support.shares import one_in
from tests.support.variants import DSP, check_variants
from tinygen.errors import UnsupportedError
from tinygen.ir.encodings import Affine, IntegerEncoding, Levels
from tinygen.ir.epilogue import Epilogue, Rescale, Threshold
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.concatenation import Concatenation
from tinygen.ir.ops.integer_add import IntegerAdd
from tinygen.ir.tensor import Tensor
from tinygen.lowering.kernels.elementwise.integer_add_fused import integer_add_fused
from tinygen.lowering.select import choose
from tinygen.targets.bare_cores import bare_cores

INT16 = Affine("int16", (1.0,), (0,))
UINT8 = Affine("uint8", (1.0,), (128,))
CODEBOOKS = (codebook(16), codebook(5, seed=1), codebook(200, seed=2))


def _compare(found: Sequence[Layer], label: str) -> None:
    graphs, feeds = [layer.graph for layer in found], [layer.feeds for layer in found]
    for graph in graphs:
        graph.validate()
    expected = [[evaluate(graph, x) for x in feed] for graph, feed in zip(graphs, feeds, strict=True)]
    compare_code(graphs, feeds, expected, [label] * len(graphs), on_board=True)


def test_sums() -> None:
    """Every encoding beside others; 16 and 32 bits too, which may leave 32 bits."""
    kinds: tuple[IntegerEncoding, ...] = (*ACTIVATIONS[::2], INT16, UINT8, INT32, codebook(16))
    found = [
        layers.add(
            f"m{i}",
            ((3, 2, 5), (2, 2, 32), (1, 3, 35), (9,))[i % 4],
            a=a,
            b=kinds[(3 * i + 1) % len(kinds)],
            y=OUTPUTS[i % len(OUTPUTS)],
            shared=i % 3 == 0,
            shifted=i % 4 == 1,
            seed=i,
        )
        for i, a in enumerate(kinds)
    ]
    found += [
        layers.add(f"w{s}", (2, 3, 5), a=INT32, b=INT32, y=y, shifted=True, seed=s) for s, y in enumerate((INT8, INT32))
    ]
    _compare(found, "INTEGER_ADD")


def test_codebooks_as_activations() -> None:
    x, y = CODEBOOKS, levels(4)
    found = [
        layers.conv("c0", (5, 4, 6), 5, (3, 2), x=x[0], w=INT8, y=y, same=True),
        layers.conv("c1", (5, 4, 6), 4, (2, 3), x=x[1], w=codebook(16), y=BINARY, groups=2, stride=(2, 1)),
        layers.dense("d0", (2, 3, 5), 7, x=x[2], w=levels(3, True), y=y),
        layers.dense("d1", (33,), 7, x=x[0], w=BINARY, y=INT8),
        layers.max_pool("p0", (5, 6, 3), (2, 3), (2, 2), x=x[1], same=True),
        layers.max_pool("p2", (5, 6, 7), (2, 3), (2, 2), x=x[2], same=True),
        layers.max_pool("p3", (5, 6, 7), (2, 3), (2, 2), x=UINT8, same=True),
        layers.sum_pool("p1", (5, 6, 3), (2, 3), (2, 2), x=x[0], y=y, same=True),
        layers.requantize("r0", (2, 3, 5), x=x[2], y=INT8),
    ]
    _compare(found, "codebooks as activations")


def _joined(name: str, encoding: IntegerEncoding, channels: Sequence[int], axis: int) -> Layer:
    rng = np.random.default_rng([*channels, axis])
    shapes = [(1, 2, 3, c) for c in channels]
    inputs = [Tensor(f"x{i}", shape, encoding) for i, shape in enumerate(shapes)]
    whole = list(shapes[0])
    whole[axis] = sum(shape[axis] for shape in shapes)
    op = Concatenation(name="layer", inputs=tuple(t.name for t in inputs), outputs=("y",), axis=axis)
    tensors = {t.name: t for t in (*inputs, Tensor("y", tuple(whole), encoding))}
    graph = Graph(name, tensors, (op,), op.inputs, ("y",))
    return Layer(graph, [[random_codes(encoding, t.shape, rng) for t in inputs] for _ in range(2)])


def test_joined_codes() -> None:
    found = [
        _joined("b0", BINARY, (32, 64), 3),
        _joined("b1", BINARY, (5, 5, 5), 1),
        _joined("b2", BINARY, (35, 35), 2),
        _joined("u", levels(3), (5, 7), 3),
        _joined("c", codebook(16), (5, 7), 3),
    ]
    _compare(found, "CONCATENATION of codes")


def test_bits_that_do_not_fill_words_are_not_joined() -> None:
    with pytest.raises(UnsupportedError, match="multiples of 32"):
        _joined("m", BINARY, (32, 5), 3).graph.validate()


def test_other_encodings_are_not_joined() -> None:
    layer = _joined("m", levels(3), (5, 7), 3)
    tensors = {**layer.graph.tensors, "x1": Tensor("x1", (1, 2, 3, 7), levels(4))}
    with pytest.raises(UnsupportedError, match="input 1 has another encoding"):
        Graph("m", tensors, layer.graph.ops, layer.graph.inputs, ("y",)).validate()


@pytest.mark.parametrize(
    ("first", "shape", "message"),
    [
        ((1, 2), (1, 3), "2 factors for 3 channels"),
        ((2**62,), (1, 3), "beyond 62 bits"),
        ((2**24,), (1, 3), "sums may not fit 32 bits"),
        ((1,), (1, 4), "operands must have one shape"),
    ],
)
def test_sums_that_cannot_be_formed(first: tuple[int, ...], shape: tuple[int, ...], message: str) -> None:
    op = IntegerAdd(name="sum", inputs=("a", "b"), outputs=("y",), first=first, second=(1,))
    tensors = {"a": Tensor("a", (1, 3), INT8), "b": Tensor("b", shape, INT8), "y": Tensor("y", (1, 3), INT32)}
    with pytest.raises(UnsupportedError, match=message):
        Graph("m", tensors, (op,), ("a", "b"), ("y",)).validate()


def _of_one(epilogue: Epilogue) -> Epilogue:
    """The first channel's for all."""
    if isinstance(epilogue, Threshold):
        return Threshold(epilogue.thresholds[:1], epilogue.sign[:1])
    parts = (epilogue.multiplier[:1], epilogue.offset[:1], epilogue.shift[:1])
    return Rescale(*parts, epilogue.low, epilogue.high)


def _even(layer: Layer) -> Layer:
    """With the first channel's epilogue for all channels."""
    (op,) = layer.graph.ops
    assert isinstance(op, IntegerAdd) and op.epilogue is not None
    return replace(layer, graph=replace(layer.graph, ops=(replace(op, epilogue=_of_one(op.epilogue)),)))


def tuned_sums(count: int, seed: int) -> list[Layer]:
    kinds = (BINARY, levels(2), levels(4), levels(3, True), affine(-128), affine(5), levels(8), TERNARY, POWERS)
    outputs = (BINARY, levels(2), levels(4), affine(3), levels(7), levels(3, True))
    found = []
    for i in range(count):
        layer = layers.add(
            f"t{seed}_{i}",
            ((3, 2, 5), (2, 3, 34), (9,))[i % 3],
            a=kinds[(i + seed) % len(kinds)],
            b=kinds[(2 * i + 1) % len(kinds)],
            y=outputs[(i + i // 6) % len(outputs)],
            shared=i % 2 == 0,
            shifted=i % 4 == 1,
            seed=i + seed,
        )
        found.append(_even(layer) if i % 2 == 0 else layer)
    return found


@one_in(2)
def test_tuned_sums(every: int) -> None:
    found = tuned_sums(36, 1)[::every]
    assert check_variants([one.graph for one in found], [one.feeds for one in found], in_turn=True) >= len(found)


@pytest.mark.parametrize("shared", [True, False])
def test_codes_are_one_sum(shared: bool) -> None:
    """Sums of codes with an even epilogue are one shifted sum, uneven ones a search."""
    for y, forms in ((affine(3), ("tables", "lines")), (levels(4), ("pairs", "steps"))):
        layer = layers.add("one", (4, 4, 8), a=levels(4), b=levels(4), y=y, shared=shared, seed=3)
        graph = (_even(layer) if shared else layer).graph
        name = choose(graph.node(graph.ops[0]), "tinygen", DSP).kernel.name
        assert name in {f"integer_add_{form}" for form in (*forms, "pairs")}


def accumulators(i: int) -> Layer:
    """A residual connection: codes beside a convolution's sums of 16 or 32 bits, some beyond where codes end."""
    rng = np.random.default_rng(i)
    wide = (INT16, INT32, INT32)[i % 3]
    narrow = (levels(4), affine(-128), affine(7), BINARY, levels(3, True), levels(8), POWERS)[i % 7]
    y = (levels(4), affine(-128), levels(8), BINARY, affine(3), levels(2))[i % 6]
    shape = ((2, 3, 5), (3, 2, 34), (4,))[i % 3]
    channels, largest = shape[-1], int(narrow.integers(np.array(narrow.code_range).astype(narrow.dtype)).max())
    first = rng.integers(-(2**14), 2**14, channels) // (1 if wide == INT16 else 16)
    first[0] = 0 if i % 4 == 0 else first[0]
    second = rng.integers(-(2**27), 2**27, channels) // max(largest, 1)
    if y == BINARY:
        rows = tuple((int(t),) for t in rng.integers(-(2**26), 2**26, channels))
        epilogue: Epilogue = Threshold(rows, tuple(rng.choice([1, -1], channels).tolist()))
    else:
        low, high = y.code_range
        slopes = (high - low) / 2.0 ** rng.uniform(27, 29, channels)
        shift = np.floor(np.log2((2**31 - 1) / slopes)).astype(np.int64)
        multiplier = np.floor(slopes * 2.0**shift).astype(np.int64) * rng.choice([1, 1, -1], channels)
        offset = (np.int64(rng.integers(low, high + 1)) << shift) + (np.int64(1) << (shift - 1))
        floor = tuple(rng.integers(low, high + 1, channels).tolist()) if i % 5 == 0 else ()
        epilogue = Rescale(*(tuple(v.tolist()) for v in (multiplier, offset, shift)), low, high, floor)
    factors = {"first": tuple(first.tolist()), "second": tuple(second.tolist())}
    kinds = (wide, narrow)
    if i % 2:
        factors, kinds = {"first": factors["second"], "second": factors["first"]}, (narrow, wide)
    op = IntegerAdd(name="layer", inputs=("x", "z"), outputs=("y",), **factors, epilogue=epilogue)
    operands = [Tensor(n, (1, *shape), kind) for n, kind in zip(("x", "z"), kinds, strict=True)]
    tensors = {t.name: t for t in (*operands, Tensor("y", (1, *shape), y))}
    graph = Graph(f"r{i}", tensors, (op,), ("x", "z"), ("y",))
    graph.validate()
    return Layer(graph, [[_accumulated(t, rng) for t in operands] for _ in range(3)])


def _accumulated(tensor: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Codes; of int32 most are within 18 bits, some as large as can be."""
    codes = random_codes(tensor.encoding, tensor.shape, rng)
    return (
        np.where(rng.random(codes.shape) < 0.8, codes >> 13, codes).astype(np.int32) if codes.itemsize == 4 else codes
    )


@one_in(2)
def test_sums_of_accumulators(every: int) -> None:
    found = [accumulators(i) for i in range(42)]
    names = [choose(one.graph.node(one.graph.ops[0]), "tinygen", DSP).kernel.name for one in found]
    assert names.count("integer_add_fused") > 36, names
    forms = {_fused_form(one.graph) for one in found}
    assert forms >= {"fused", "sign", "rescale_high"}
    found = found[::every]
    cores = [(bare_cores()[name], bare_cores()[name].isa) for name in ("esp32c3-core", "cortex-m0plus")]
    check_variants([one.graph for one in found], [one.feeds for one in found], part="fused", cores=cores, in_turn=True)


def two_wide(i: int) -> Layer:
    """A residual connection of two convolutions' sums; up to 31 bits, as far as sums of codes of 16 bits go."""
    rng = np.random.default_rng([77, i])
    kinds = ((INT16, INT16), (INT32, INT16), (INT16, INT32))[i % 3]
    y = (levels(2), BINARY, levels(4), affine(3))[i % 4]
    shape = ((2, 3, 5), (3, 2, 34), (4,))[i % 3 if i % 2 else (i + 1) % 3]
    clamped = INT32 in kinds
    channels, reach = shape[-1], (2**31 - 2**20) // 2**15 // (16 if clamped else 1)
    first = rng.integers(1, reach, channels)
    factors = [first, (reach - first) * rng.choice([1, -1], channels)]
    if y.code_range[1] < 4:
        most = 2**26 if clamped else 2**30
        steps = np.sort(rng.integers(-most, most, (channels, y.code_range[1])))
        rows = tuple(tuple(row) for row in steps.tolist())
        epilogue: Epilogue = Threshold(rows, tuple(rng.choice([1, -1], channels).tolist()))
    else:
        low, high = y.code_range
        multiplier = rng.integers(2**29, 2**31 - 1, channels) * rng.choice([1, -1], channels)
        shift = np.full(channels, 59 - (high - low).bit_length())
        offset = rng.integers(low, high + 1, channels) << shift
        epilogue = Rescale(*(tuple(v.tolist()) for v in (multiplier, offset, shift)), low, high)
    op = IntegerAdd(
        name="layer",
        inputs=("x", "z"),
        outputs=("y",),
        first=tuple(factors[0].tolist()),
        second=tuple(factors[1].tolist()),
        epilogue=epilogue,
    )
    operands = [Tensor(n, (1, *shape), kind) for n, kind in zip(("x", "z"), kinds, strict=True)]
    bits = y.bits if isinstance(y, Levels) and i % 8 > 3 else 0
    tensors = {t.name: t for t in (*operands, Tensor("y", (1, *shape), y, code_bits=bits))}
    graph = Graph(f"v{i}", tensors, (op,), ("x", "z"), ("y",))
    graph.validate()
    ends = [
        [np.full(t.shape, np.iinfo(t.dtype).max if up else np.iinfo(t.dtype).min, t.dtype) for t in operands]
        for up in (True, False)
    ]
    return Layer(graph, [*ends, *([_accumulated(t, rng) for t in operands] for _ in range(3))])


def test_sums_of_two_accumulators() -> None:
    found = [two_wide(i) for i in range(24)]
    chosen = [choose(one.graph.node(one.graph.ops[0]), "tinygen", DSP).kernel.name for one in found]
    assert chosen.count("integer_add_fused") > 18, chosen
    assert set(chosen[::3]) == {"integer_add_fused"}, chosen  # of two sums of 16 bits
    forms = [_fused_form(one.graph) for one in found]
    assert {"fused", "sign", "steps"} <= set(forms), forms
    _compare(found, "two accumulators")


def test_thresholds_that_are_never_met() -> None:
    """Nor do sums overflow that are compared with what lies beyond all of them."""
    rng = np.random.default_rng(44)
    for first, thresholds in (
        (3_715_611, (-(2**31), -154_595_890, 215_189_265)),
        (9_000, (-(2**31), 2**31 - 1, 7_000)),
    ):
        op = IntegerAdd(
            name="layer",
            inputs=("x", "z"),
            outputs=("y",),
            first=(first,),
            second=(188,),
            epilogue=Threshold(tuple((t,) for t in thresholds), (1, -1, 1)),
        )
        kinds = {"x": affine(-128), "z": INT32, "y": BINARY}
        tensors = {name: Tensor(name, (1, 4, 5, 3), kind) for name, kind in kinds.items()}
        graph = Graph("never", tensors, (op,), ("x", "z"), ("y",))
        ends = [np.full((1, 4, 5, 3), code, np.int32) for code in (-(2**31), 2**31 - 1)]
        bytes_ = [np.full((1, 4, 5, 3), code, np.int8) for code in (-128, 127)]
        drawn = [_accumulated(tensors["z"], rng)]
        feeds = [[x, z] for x in bytes_ for z in (*ends, *drawn)]
        _compare([Layer(graph, feeds)], "never met")
        if first == 9_000:
            assert choose(graph.node(op), "tinygen", DSP).kernel.name == "integer_add_fused"


def test_sums_with_packed_codes() -> None:
    """The codes of few bits lie in words of channels."""
    found = [(accumulators(21), "x", 4), (accumulators(0), "z", 4), (accumulators(4), "z", 4)]
    graphs = [
        replace(one.graph, tensors={**one.graph.tensors, name: replace(one.graph.tensors[name], code_bits=bits)})
        for one, name, bits in found
    ]
    names = {choose(graph.node(graph.ops[0]), "tinygen", DSP).kernel.name for graph in graphs}
    assert names == {"integer_add_fused"}
    _compare([replace(one, graph=graph) for graph, (one, _, _) in zip(graphs, found, strict=True)], "packed sums")


def _fused_form(graph: Graph) -> str | None:
    plan = integer_add_fused(graph.node(graph.ops[0]))
    return None if plan is None else str(plan.context["form"])


def test_sums_whose_clamp_would_be_seen() -> None:
    """Where codes still rise at the largest accumulators, nothing may be clamped."""
    layer = accumulators(1)
    (op,) = layer.graph.ops
    assert isinstance(op, IntegerAdd)
    flat = Rescale((1,), (0,), (27,), -128, 127)
    graph = replace(
        layer.graph,
        ops=(replace(op, epilogue=flat),),
        tensors={**layer.graph.tensors, "y": Tensor("y", layer.graph.tensors["y"].shape, affine(0))},
    )
    assert integer_add_fused(graph.node(graph.ops[0])) is None
