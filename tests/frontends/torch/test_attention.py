"""Attention in integers: masks and biases beside scores, norms, and the C of a small transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen
from tests.support.differential import compare_code
from tests.support.torch_models import codes_of, kinds, need
from tinygen.frontends.ptq.calibrate import read_by_softmax
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate, evaluate_all
from tinygen.ir.ops.normalization import Normalization
from tinygen.ir.ops.softmax import Softmax
from tinygen.passes.pipeline import simplify

torch = need("torch")
nn, F = torch.nn, torch.nn.functional
torch.set_num_threads(1)

TOKENS, WIDTH, HEADS = 9, 16, 2


class Block(nn.Module):
    """A transformer's block on patches of an image, with a class token, and a bias and a mask beside the scores."""

    def __init__(self, mask: float = float("-inf"), norm: type[Any] = nn.LayerNorm) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.first, self.second = norm(WIDTH), norm(WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 5)
        hidden = torch.triu(torch.ones(TOKENS + 1, TOKENS + 1), 3).bool()
        self.register_buffer("bias", torch.randn(HEADS, TOKENS + 1, TOKENS + 1).masked_fill(hidden, mask))

    def forward(self, x: Any) -> Any:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        q, k, v = self.qkv(self.first(x)).reshape(1, TOKENS + 1, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        x = x + self.out(y.transpose(1, 2).reshape(1, TOKENS + 1, WIDTH))
        x = x + self.narrow(F.gelu(self.wide(self.second(x))))
        return self.head(x[:, 0])


def images(count: int, seed: int) -> Any:
    return torch.randn((count, 3, 12, 12), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def graph() -> Graph:
    x = images(32, 1)
    return tinygen.export(Block().eval(), x[:1], x, name="encoder")


def test_block(graph: Graph) -> None:
    module, x = Block().eval(), images(16, 2)
    assert [op.axes for op in graph.ops if isinstance(op, Normalization)] == [(2,), (2,)]
    loss = tinygen.compare(module, graph, x)
    assert loss.same == 16 and loss.signal_to_noise > 25, loss


def test_hidden_tokens_have_no_share(graph: Graph) -> None:
    """And the bias beside the mask keeps a scale of its own size."""
    (op,) = (op for op in graph.ops if isinstance(op, Softmax))
    bias = next(t for name, t in graph.tensors.items() if t.is_constant and t.shape[-2:] == (TOKENS + 1, TOKENS + 1))
    assert isinstance(bias.encoding, Affine) and bias.scale < 0.2
    hidden = np.triu(np.ones((TOKENS + 1, TOKENS + 1), bool), 3)
    for sample in codes_of(graph, images(4, 3).numpy()):
        shares = evaluate_all(graph, [sample])[op.outputs[0]].reshape(HEADS, TOKENS + 1, TOKENS + 1)
        assert np.all(shares[:, hidden] == -128) and shares[:, ~hidden].max() > 0


def test_finite_masks() -> None:
    """-100, as Swin has it."""
    x = images(24, 1)
    module = Block(-100.0).eval()
    assert tinygen.compare(module, tinygen.export(module, x[:1], x), x[:8]).signal_to_noise > 25


def test_what_softmax_alone_reads() -> None:
    """Through views and transpositions, but not where the model gives it away or something else reads it."""

    def several(x: Any) -> Any:
        a, b, c = x * 2, x * 3, x * 4
        return a.view(1, 3, 4).softmax(-1), b.softmax(-1) + b, c.softmax(-1), c

    class Several(nn.Module):
        forward = staticmethod(several)

    found = tinygen.export(Several(), torch.zeros(1, 12), float32=True)
    first = next(op for op in found.ops if op.KIND == "mul").outputs[0]
    (reshaped,) = (name for name in read_by_softmax(found) if name != first)
    assert kinds(found).count("softmax") == 3
    assert next(op for op in found.ops if reshaped in op.outputs).inputs == (first,)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_c(norm: type[Any]) -> None:
    x = images(8, 1)
    found = simplify(tinygen.export(Block(norm=norm).eval(), x[:1], x, name=f"block_{norm.__name__}"))
    feeds = [[sample] for sample in codes_of(found, x[:2].numpy())]
    expected = [evaluate(found, row) for row in feeds]
    compare_code([found], [feeds], [expected], ["transformer"], on_board=norm is nn.LayerNorm)
