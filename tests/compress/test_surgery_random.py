"""Networks and graphs of random layers, cut by random masks: what is left equals what was masked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.support.spread import some
from tests.support.torch_models import need

torch = need("torch")
torch.set_num_threads(1)

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tests.support.prunable_networks import exact_images, grouped_masks, random_masks  # noqa: E402
from tests.support.random_networks import random_network  # noqa: E402
from tinygen.compress.masks import prunable  # noqa: E402
from tinygen.compress.surgery import consistent_graph, groups, masked, masked_graph, slim, slim_graph, unread_filters  # noqa: E402
from tinygen.frontends.tflite.reader import read_tflite  # noqa: E402
from tinygen.ir.interpreter import evaluate  # noqa: E402


@dataclass(frozen=True)
class Step:
    """One operator on earlier images `a` and `b`, with the layer of that number."""

    kind: str
    a: int
    b: int
    layer: int = -1


class RandomNetwork(nn.Module):
    """Steps that read any earlier images: convolutions of every kind, sums, gates, concatenations, pools, shuffles."""

    def __init__(self, seed: int, steps: int = 8) -> None:
        super().__init__()
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        self.layers = nn.ModuleList()
        self.widths = [1]
        self.steps = [self._step(rng) for _ in range(steps)]
        self.head = nn.Linear(self.widths[-1] * 16, 3)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.bias, -1, 1)

    def _step(self, rng: np.random.Generator) -> Step:
        a = int(rng.integers(max(0, len(self.widths) - 3), len(self.widths)))
        width = self.widths[a]
        b = int(rng.choice([i for i, other in enumerate(self.widths) if other == width]))
        kind = str(rng.choice([*["conv"] * 3, "depthwise", "grouped", "norm", "add", "cat", "gate", "pool", "mixed"]))
        if (kind == "grouped" and width % 2) or (kind == "mixed" and rng.random() < 0.6):
            kind = "conv"
        if kind == "cat":
            b = int(rng.integers(len(self.widths)))
        filters = int(rng.integers(3, 9))
        layers = {
            "conv": nn.Conv2d(width, filters, 3, padding=1),
            "depthwise": nn.Conv2d(width, 2 * width, 3, padding=1, groups=width),
            "grouped": nn.Conv2d(width, 6, 3, padding=1, groups=2 if width % 2 == 0 else 1),
            "norm": nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width)),
            "gate": nn.Conv2d(width, width, 1),
        }
        made = {"conv": filters, "depthwise": 2 * width, "grouped": 6, "cat": width + self.widths[b]}
        self.widths.append(made.get(kind, width))
        if kind not in layers:
            return Step(kind, a, b)
        self.layers.append(layers[kind])
        return Step(kind, a, b, len(self.layers) - 1)

    def forward(self, x: Tensor) -> Tensor:
        images = [functional.max_pool2d(x, 2)]
        for step in self.steps:
            a, b = images[step.a], images[step.b]
            if step.kind == "add":
                images.append(functional.hardswish(a + 0.5 * b))
            elif step.kind == "cat":
                images.append(torch.cat([a, b], 1))
            elif step.kind == "gate":
                images.append(b * torch.sigmoid(self.layers[step.layer](a.mean((2, 3), keepdim=True))))
            elif step.kind == "pool":
                images.append(functional.avg_pool2d(functional.pad(torch.tanh(a), (1, 1, 1, 1)), 3, 1))
            elif step.kind == "mixed":
                images.append(torch.softmax(a, 1).flip(1))
            else:
                images.append(torch.sigmoid(self.layers[step.layer](a)))
        return self.head(torch.flatten(images[-1], 1))


@pytest.mark.parametrize("seed", some(range(40), 20))
def test_networks(seed: int) -> None:
    net, x = RandomNetwork(seed).double().eval(), exact_images()
    for masks in (grouped_masks(net, x, 0.5, seed), random_masks(net, 0.7, seed)):
        small, full = slim(net, x, masks), masked(net, x, masks)
        assert torch.allclose(small(x), full(x), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("seed", range(20))
def test_filters_that_no_kernel_reads(seed: int) -> None:
    """With nine of ten kernels zero, filters without a reader leave, and nothing changes."""
    net, x = RandomNetwork(seed).double().eval(), exact_images()
    generator = torch.Generator().manual_seed(seed)
    masks = {
        name: torch.rand(layer.weight.shape[:2], generator=generator) < 0.1 for name, layer in prunable(net).items()
    }
    with torch.no_grad():
        for name, layer in prunable(net).items():
            layer.weight[~masks[name]] = 0.0
    small = slim(net, x, unread_filters(net, x, masks))
    assert torch.allclose(small(x), net(x), rtol=1e-11, atol=1e-13)


def test_random_networks_lose_filters() -> None:
    """The test above is about something: most of the networks do lose weights."""
    x, lost = exact_images(), 0
    for seed in range(20):
        net = RandomNetwork(seed).double().eval()
        small = slim(net, x, grouped_masks(net, x, 0.5, seed))
        lost += sum(p.numel() for p in small.parameters()) < 0.9 * sum(p.numel() for p in net.parameters())
        nothing = {name: torch.zeros(p.weight.shape[:2], dtype=torch.bool) for name, p in prunable(net).items()}
        unread = unread_filters(net, x, nothing)
        # What is fixed stays, all else goes, whatever it is coupled with.
        for group in groups(net, x):
            assert all(bool(unread[name][index].any()) == (not group.prunable) for name, index in group.members)
    assert lost > 12


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("seed", range(15))
def test_graphs(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    graph = read_tflite(random_network(rng, 7, dtype).model())
    every = consistent_graph(graph, {})
    masks = {name: rng.random(len(mask)) < 0.5 for name, mask in every.items()}
    small, full = slim_graph(graph, masks), masked_graph(graph, masks)
    for _ in range(3):
        x = [rng.integers(-128, 128, graph.tensors[name].shape).astype(dtype) for name in graph.inputs]
        for a, b in zip(evaluate(small, x), evaluate(full, x), strict=True):
            np.testing.assert_array_equal(a, b)
