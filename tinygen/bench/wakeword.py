"""Suite `lowbit-wakeword`: the network that `tinygen demo wakeword --train` trains, step by step, in few bits.

Four convolutions over time and one over all that is left of the window of "hey computer", by each recipe; nothing is
trained. A few batches of noise give weights, batch norms and ranges: cycles, energy and memory hardly depend on what a
network has learnt. How many words the trained ones miss stands in docs/wake-words.md.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from tinygen.bench.case import Case, case_of, encoding_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.encodings import Affine
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.ir.ops.unary import Logistic
from tinygen.ir.tensor import Tensor
from tinygen.passes.to_streaming import to_streaming

if TYPE_CHECKING:
    from torch import nn

SUITE = "lowbit-wakeword"
RECIPES = ("int8", "w4a4", "w2a2", "w1a2", "xnor")
CHANNELS, FILTERS, KERNELS = 40, 48, (5, 5, 7, 7)
FRAMES, HOP = 140, 3
"""Of the window, and of a step of 30 ms: what `tinygen.apps.wakeword.network` has for "hey computer"."""
_LOUDEST = 26.0
"""The largest feature."""
_BATCHES, _BATCH = 4, 8
_INNER_LAYER = 1
_PROBABILITY = Affine("int8", (1 / 256,), (-128,))


@suite(SUITE, "the network of a trained wake word by each recipe, a step of 30 ms (seconds; needs torch)", ("compact",))
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch is not installed.
    """
    wanted = [recipe for recipe in RECIPES if options.wanted(recipe)]
    with needs_packages(SUITE, fix="pip install 'tinygen[torch]'"):
        found = [_case(recipe) for recipe in wanted]
    return SuiteCases(found, unwanted=[recipe for recipe in RECIPES if recipe not in wanted])


def _case(recipe: str) -> Case:
    graph = untrained(recipe)
    case = case_of(SUITE, recipe, MemoryModel(graph, f"{recipe} (not trained)"))
    return replace(case, encoding=encoding_of(graph, _INNER_LAYER))


def float_network() -> nn.Sequential:
    """From features [N, CHANNELS, FRAMES, 1] to logits [N, 1, 1, 1], with its initial weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    source, steps = CHANNELS, FRAMES
    for index, kernel in enumerate(KERNELS, 1):
        stride = HOP if index == 1 else 1
        layers[f"conv{index}"] = nn.Conv2d(source, FILTERS, (kernel, 1), stride=(stride, 1), bias=False)
        layers[f"bn{index}"] = nn.BatchNorm2d(FILTERS)
        layers[f"relu{index}"] = nn.ReLU()
        source, steps = FILTERS, (steps - kernel) // stride + 1
    layers["whole"] = nn.Conv2d(source, 1, (steps, 1))
    return nn.Sequential(layers)


def untrained(recipe: str) -> Graph:
    """The network by a recipe, always the same; from the features of a step to a probability."""
    import torch
    from torch import nn

    from tinygen.bench.train_digits_lowbit import REGIMES
    from tinygen.frontends.torch import export
    from tinygen.nn import Affine8, convert

    chosen = REGIMES[recipe].recipe
    assert chosen is not None
    network = convert(float_network(), chosen)
    network.relu4 = Affine8(relu=True)  # the last layer has 8 bits, as the first one
    module = nn.Sequential(OrderedDict(network=network, logit=Affine8(), flatten=nn.Flatten()))
    chance = torch.Generator().manual_seed(0)
    features = _LOUDEST * torch.rand(_BATCHES, _BATCH, CHANNELS, FRAMES, 1, generator=chance)
    features[:, 0, 0, 0], features[:, 0, 0, 1] = 0, _LOUDEST
    with torch.no_grad():
        for batch in features:
            module.train()(batch)
    graph = export(module.eval(), features[0][:1], name=f"wakeword_{recipe}")
    return to_streaming(Network.of(_with_probability(graph)), hop=HOP).first


def _with_probability(graph: Graph) -> Graph:
    """The graph with LOGISTIC behind its logit."""
    (logit,) = graph.outputs
    probability = Tensor("probability", graph.tensors[logit].shape, _PROBABILITY)
    op = Logistic(name="probability", inputs=(logit,), outputs=("probability",))
    return replace(
        graph,
        tensors={**graph.tensors, "probability": probability},
        ops=(*graph.ops, op),
        outputs=("probability",),
    )
