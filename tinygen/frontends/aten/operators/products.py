"""Matrix products, sums of products that are such, and attention made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.frontends.aten.builder import Constant, Value
from tinygen.frontends.aten.operators.elementwise import binary, finite
from tinygen.frontends.aten.operators.mac import dense
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.ops.batch_matmul import BatchMatmul
from tinygen.ir.ops.binary import Add, Mul
from tinygen.ir.ops.softmax import Softmax

Operand = Value | Constant


@converts("aten.matmul", "aten.bmm", "aten.mm", "aten.mv", "aten.dot")
def matmul(call: Call) -> Value:
    second = next(name for name in ("mat2", "other", "vec", "tensor") if name in call.arguments)
    return product(call, call["self"], call[second])


@converts("aten.addmm", "aten.baddbmm")
def add_product(call: Call) -> Value:
    """beta * self + alpha * (first @ second)"""
    names = ("mat1", "mat2") if call.target == "aten.addmm" else ("batch1", "batch2")
    first, second = (call[name] for name in names)
    alpha, beta, added = float(call["alpha"]), float(call["beta"]), call["self"]
    bias = added.array if isinstance(added, Constant) else None
    if isinstance(first, Value) and isinstance(second, Constant) and bias is not None and bias.size == bias.shape[-1]:
        weights = Constant(alpha * second.array.T) if alpha != 1 else _transposed(second)
        whole = np.broadcast_to(bias.reshape(-1), second.shape[-1:])
        return dense(call, first, weights, beta * whole)
    found = _scaled(call, product(call, first, second), alpha)
    if beta == 0:
        return found
    return binary(call, Add, _scaled(call, added, beta), found)


def _scaled(call: Call, value: Operand, factor: float) -> Any:
    if factor == 1:
        return value
    if isinstance(value, Constant):
        return Constant(factor * value.array)
    return Value(call.build.add(Mul, [value.tensor, call.build.constant(np.array([factor]), "factor")]), value.layout)


def _transposed(matrix: Constant) -> Constant:
    """The last two dimensions exchanged."""
    encoding = matrix.encoding
    if encoding is not None and encoding.axis is not None:
        # Of a matrix; products of more dimensions are not made with scales per channel.
        encoding = type(encoding)(encoding.storage, encoding.scale, encoding.zero_point, 1 - encoding.axis)
    return Constant(matrix.array.swapaxes(-1, -2), encoding)


def product(call: Call, a: Operand, b: Operand) -> Value:
    """torch.matmul: of vectors, matrices, or matrices over leading dimensions that broadcast."""
    build = call.build
    if len(b.shape) == 1:
        return _without(call, product(call, a, _viewed(call, b, (*b.shape, 1))), -1)
    if len(a.shape) == 1:
        return _without(call, product(call, _viewed(call, a, (1, *a.shape)), b), -2)
    if isinstance(a, Value) and isinstance(b, Constant) and len(b.shape) == 2:
        return dense(call, a, _transposed(b))
    if isinstance(a, Constant) and isinstance(b, Value) and len(a.shape) == 2:
        return _swapped(call, dense(call, _swapped(call, b), a))
    names, adjoint = zip(*(_matrix(call, operand) for operand in (a, b)), strict=True)
    output = build.add(BatchMatmul, names, adjoint_first=adjoint[0], adjoint_second=adjoint[1])
    return build.fresh(output, range(len(build.tensors[output].shape)))


def _viewed(call: Call, operand: Operand, shape: Sequence[int]) -> Operand:
    if isinstance(operand, Constant):
        return Constant(operand.array.reshape(shape))
    return call.build.viewed(operand, shape)


def _without(call: Call, value: Value, dim: int) -> Value:
    shape = list(value.shape)
    del shape[dim]
    return call.build.viewed(value, shape)


def _swapped(call: Call, value: Value) -> Value:
    """The last two dimensions exchanged."""
    return call.build.permuted(value, _last_two_swapped(len(value.shape)))


def _last_two_swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def _matrix(call: Call, operand: Operand) -> tuple[str, bool]:
    """(tensor, whether its matrices are stored transposed)"""
    build = call.build
    if isinstance(operand, Constant):
        return build.constant(operand.array, "operand", operand.encoding), False
    swapped = _last_two_swapped(len(operand.shape))
    if operand.layout.is_stored_as(swapped) and not operand.layout.is_stored_as(range(len(operand.shape))):
        return build.stored(operand, swapped), True
    return build.contiguous(operand).tensor, False


@converts("aten.einsum")
def einsum(call: Call) -> Value:
    """Sums of products of two operands that are matrix products, and permutations of one."""
    operands = list(call["tensors"])
    terms, output = _terms(call, [len(operand.shape) for operand in operands])
    wanted = "It takes sums over what both of two operands have; write others as a product and a sum."
    once = all(len(set(term)) == len(term) for term in (*terms, output))
    call.require(once and len(operands) in (1, 2), f"'{call['equation']}' is not supported", wanted)
    if len(operands) == 1:
        call.require(set(output) == set(terms[0]), f"'{call['equation']}' is not supported", wanted)
        return call.build.permuted(operands[0], [terms[0].index(letter) for letter in output])
    first, second = terms
    batch = [letter for letter in output if letter in first and letter in second]
    summed = [letter for letter in first if letter in second and letter not in output]
    rows, columns = ([letter for letter in term if letter not in (*batch, *summed)] for term in terms)
    call.require({*rows, *columns} <= set(output), f"'{call['equation']}' is not supported", wanted)
    sizes = {
        letter: size
        for term, operand in zip(terms, operands, strict=True)
        for letter, size in zip(term, operand.shape, strict=True)
    }
    a = _arranged(call, operands[0], first, (batch, rows, summed), sizes)
    b = _arranged(call, operands[1], second, (batch, summed, columns), sizes)
    letters = (*batch, *rows, *columns)
    found = call.build.viewed(product(call, a, b), [sizes[letter] for letter in letters])
    return call.build.permuted(found, [letters.index(letter) for letter in output])


def _terms(call: Call, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand's dimensions, and of the output's; capitals stand for dots."""
    left, arrow, right = call["equation"].replace(" ", "").partition("->")
    call.require(bool(arrow), f"'{call['equation']}' does not say what the output is")
    terms = left.split(",")
    dots = "".join(chr(ord("A") + i) for i in range(max(ranks)))
    spare = max(rank - len(term.replace("...", "")) for rank, term in zip(ranks, terms, strict=True))
    return [term.replace("...", dots[:spare]) for term in terms], right.replace("...", dots[:spare])


def _arranged(
    call: Call, operand: Operand, term: str, groups: Sequence[Sequence[str]], sizes: dict[str, int]
) -> Operand:
    """The operand as a matrix, or several: dimensions of each group become one; there is none for an empty batch."""
    order = [term.index(letter) for group in groups for letter in group]
    shape = [math.prod(sizes[letter] for letter in group) for place, group in enumerate(groups) if place or group]
    if isinstance(operand, Constant):
        return Constant(operand.array.transpose(order).reshape(shape))
    return call.build.viewed(call.build.permuted(operand, order), shape)


@converts("aten.scaled_dot_product_attention")
def attention(call: Call) -> Value:
    """softmax(query @ key^T * scale + mask) @ value; the scale is the softmax's, if there is no mask."""
    query, key, value = (call[name] for name in ("query", "key", "value"))
    rank = len(query.shape)
    call.require(not call.get("enable_gqa", False), "groups of queries are not supported")
    call.require(float(call["dropout_p"]) == 0, "dropout must be in evaluation mode", "Call module.eval().")
    scale = call.get("scale")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    swapped = _last_two_swapped(rank)
    turned = Constant(key.array.transpose(swapped)) if isinstance(key, Constant) else call.build.permuted(key, swapped)
    scores = product(call, query, turned)
    mask = _mask(call, scores.shape)
    if mask is not None:
        scores, factor = binary(call, Add, _scaled(call, scores, factor), mask), 1.0
    tensor = call.build.stored(scores, range(rank))
    shares = call.build.fresh(call.build.add(Softmax, [tensor], "softmax", beta=factor), range(rank))
    return product(call, shares, value)


def _mask(call: Call, shape: Sequence[int]) -> Operand | None:
    """What is added to the scores."""
    mask = call.get("attn_mask")
    if call["is_causal"]:
        call.require(mask is None, "a mask beside is_causal", "Put both into the mask.")
        mask = Constant(np.tri(*shape[-2:], dtype=bool))
    if not isinstance(mask, Constant):
        return mask if isinstance(mask, Value) else None
    hidden = mask.array.dtype == bool
    added: Constant = finite(Constant(np.where(mask.array, 0.0, -np.inf)) if hidden else mask)
    return added
