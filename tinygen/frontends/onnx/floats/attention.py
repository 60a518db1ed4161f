"""Attention."""

from __future__ import annotations

import numpy as np

from tinygen.frontends.onnx.floats.calls import call
from tinygen.frontends.onnx.node import Operator
from tinygen.frontends.onnx.registry import computes
from tinygen.frontends.onnx.values import Coded, Constant, Value

_ATTRIBUTES = ("is_causal", "q_num_heads", "kv_num_heads", "scale", "softmax_precision")


@computes("Attention")
def attention(operator: Operator) -> Value:
    """Q, K and V are [batch, heads, length, depth], or [batch, length, heads * depth]."""
    unknown = [name for name, value in operator.attributes.items() if name not in _ATTRIBUTES and value]
    operator.require(not unknown, f"its attribute {', '.join(unknown)}", "Export without it.")
    cached = any(operator.has(index) for index in range(4, len(operator.inputs))) or bool(operator.taken - {0})
    operator.require(not cached, "keys and values of earlier calls", "Export the model without a cache.")
    query, key, value = (_heads(operator, index) for index in range(3))
    key, value = (_for_each(operator, part, query.shape[1]) for part in (key, value))
    found = call(
        operator,
        "scaled_dot_product_attention",
        query=query,
        key=key,
        value=value,
        attn_mask=_mask(operator, query.shape[2], key.shape[2]),
        is_causal=False,
        scale=operator.attributes.get("scale"),
        dropout_p=0.0,
    )
    if len(operator.value(0).shape) == 4:
        return found
    batch, heads, length, depth = found.shape
    turned = call(operator, "permute", self=found, dims=[0, 2, 1, 3])
    return call(operator, "view", shapes=[(batch, length, heads * depth)], self=turned)


def _heads(operator: Operator, index: int) -> Coded:
    """An operand as [batch, heads, length, depth]."""
    x = operator.real(index)
    if len(x.shape) == 4:
        return x
    batch, length, width = x.shape
    heads = int(operator.attribute("q_num_heads" if index == 0 else "kv_num_heads"))
    operator.damaged(heads < 1 or width % heads != 0, f"{heads} heads of {width} elements")
    apart = call(operator, "view", shapes=[(batch, length, heads, width // heads)], self=x)
    return call(operator, "permute", self=apart, dims=[0, 2, 1, 3])


def _for_each(operator: Operator, x: Coded, heads: int) -> Coded:
    """Keys or values, repeated for the queries that share a head."""
    batch, own, length, depth = x.shape
    operator.damaged(heads % own != 0, f"{heads} heads of queries for {own}")
    if own == heads:
        return x
    shape = (batch, heads, length, depth)
    return call(operator, "repeat_interleave", shapes=[shape], self=x, repeats=heads // own, dim=1)


def _mask(operator: Operator, queries: int, keys: int) -> Value | np.ndarray | None:
    """What is added to the scores [queries, keys]."""
    later = np.tri(queries, keys) == 0 if operator.attribute("is_causal", 0) else np.zeros((queries, keys), np.bool_)
    mask = operator.value(3) if operator.has(3) else Constant(np.float32(0).reshape(1, 1))
    operator.require(mask.shape[-1] in (1, keys), f"a mask for {mask.shape[-1]} of {keys} keys", "Give one for all.")
    if isinstance(mask, Constant):
        return _hidden(operator, mask.array, later)
    if not later.any():
        return mask
    real = isinstance(mask, Coded) and mask.tensor.is_float
    operator.require(real, "a computed mask of truth values beside is_causal", "Put both into the mask.")
    shape = np.broadcast_shapes(mask.shape, later.shape)
    return call(operator, "add", shapes=[shape], self=mask, other=later * np.finfo(np.float32).min / 2)


def _hidden(operator: Operator, mask: np.ndarray, later: np.ndarray) -> np.ndarray | None:
    """A constant mask without keys that come later; None if it hides nothing."""
    added = np.where(mask, 0.0, -np.inf) if mask.dtype == np.bool_ else mask.astype(np.float64)
    added = np.where(later, -np.inf, added)
    seen = bool(np.isfinite(added).any(axis=-1).all())
    operator.require(seen, "a query to which every key is hidden", "Show it one key at least.")
    return added.astype(np.float32) if added.any() else None
