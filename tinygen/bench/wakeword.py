"""Suite `lowbit-wakeword`: the network that `tinygen demo wakeword --train` trains, step by step, in few bits.

Given a folder in which that was trained by recipes, its networks, and how many words they miss. Without one, the same
network untrained: four convolutions over time and one over all that is left of the window of "hey computer". A few
batches of noise give weights, batch norms and ranges: cycles, energy and memory hardly depend on what was learnt.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygen.bench.case import Case, case_of, encoding_of
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite
from tinygen.errors import TinygenError
from tinygen.frontends.load import load_model
from tinygen.frontends.memory import MemoryModel
from tinygen.frontends.names import c_name
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.passes.to_streaming import to_streaming

if TYPE_CHECKING:
    from torch import nn

SUITE = "lowbit-wakeword"
REPORT = "report.json"
"""Of a training."""
_DEMOS = "model.tg"
RECIPES = ("int8", "w4a4", "w2a2", "w1a2", "xnor")
GATED = "fbs-50"
"""The same network of `GatedConv2d` layers that keep half of their channels; no recipe, so never a trained one."""
FRAMES = 140
"""Of the window of "hey computer"."""
_LOUDEST = 26.0
"""The largest feature."""
_BATCHES, _BATCH = 4, 8
_INNER_LAYER = 1


@suite(
    SUITE,
    "the network of a wake word by each recipe, a step of 30 ms: trained ones with --models (else needs torch)",
    ("compact",),
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch is not installed, and nothing was trained; a report cannot be read.
    """
    names = (*RECIPES, GATED)
    wanted = [name for name in names if options.wanted(name)]
    unwanted = [name for name in names if name not in wanted]
    trained = [training for folder in options.models if (training := _training(folder)) is not None]
    if trained:
        found = [_trained_case(trained[0], recipe) for recipe in wanted if recipe in trained[0].evaluations]
    else:
        with needs_packages(SUITE, fix="pip install 'tinygen[torch]'"):
            found = [_case(recipe) for recipe in wanted]
    return SuiteCases([replace(one, encoding=_encoding(one)) for one in found], unwanted=unwanted)


@dataclass(frozen=True)
class _Training:
    """A folder of `tinygen demo wakeword --train`.

    Attributes:
        evaluations: what its report says of each recipe; "int8" is the demo's own network unless trained by a recipe.
    """

    folder: Path
    evaluations: Mapping[str, Mapping[str, Any]]

    def model(self, recipe: str) -> Path:
        """Its file."""
        own = self.folder / f"{recipe}.tg"
        return self.folder / _DEMOS if recipe == "int8" and not own.is_file() else own


def _training(folder: Path) -> _Training | None:
    """None for a folder of other models.

    Raises:
        TinygenError: its report is no JSON.
    """
    path = folder / REPORT
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TinygenError("is not a report of a training", where=str(path), fix="Train again.") from error
    recipes = report.get("recipes") if isinstance(report, dict) else None
    if not recipes:
        return None
    # Of switches, which have recipes' names, nothing is taken.
    return _Training(folder, {one["name"]: one for one in (report["evaluations"][0], *recipes)})


def _trained_case(training: _Training, recipe: str) -> Case:
    case = case_of(SUITE, recipe, training.model(recipe))
    return replace(case, figures=rejects_of(training.evaluations[recipe]))


def rejects_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """For the row: false rejects in per cent at the first of the allowed false accepts an hour, and at the cutoff that
    was chosen on validation voices; None where no cutoff accepts so few.
    """
    allowed, point = next(iter(evaluation["false_accepts_per_hour"].items()))
    chosen, near = evaluation["chosen"], evaluation["near_misses"]
    return {
        "allowed_accepts_per_hour": float(allowed),
        "rejects": point and _percent(point["false_rejects"]["value"]),
        "rejects_interval": point and [_percent(point["false_rejects"][end]) for end in ("low", "high")],
        "cutoff": chosen["cutoff"],
        "rejects_at_cutoff": _percent(chosen["false_rejects"]["value"]),
        "accepts_per_hour_at_cutoff": chosen["false_accepts_per_hour"]["value"],
        "near_misses_at_cutoff": _percent(near["share"]["value"]),
        "phrases": chosen["phrases"],
        "hours": chosen["hours"],
    }


def _percent(share: float) -> float:
    return 100 * share


def _case(recipe: str) -> Case:
    return case_of(SUITE, recipe, MemoryModel(untrained(recipe), f"{recipe} (not trained)"))


def _encoding(case: Case) -> str:
    return encoding_of(load_model(case.model), _INNER_LAYER)


def untrained(name: str) -> Graph:
    """The network by a recipe, or with gates, always the same; from the features of a step to a probability."""
    import torch
    from torch import nn

    from tinygen.apps.wakeword.export import with_probability
    from tinygen.apps.wakeword.network import CHANNELS, HOP
    from tinygen.frontends.torch import export
    from tinygen.nn import Affine8

    network = _gated() if name == GATED else _converted(name)
    module = nn.Sequential(OrderedDict(network=network, logit=Affine8(), flatten=nn.Flatten()))
    chance = torch.Generator().manual_seed(0)
    features = _LOUDEST * torch.rand(_BATCHES, _BATCH, CHANNELS, FRAMES, 1, generator=chance)
    features[:, 0, 0, 0], features[:, 0, 0, 1] = 0, _LOUDEST
    with torch.no_grad():
        for batch in features:
            module.train()(batch)
    graph = export(module.eval(), features[0][:1], name=c_name(f"wakeword_{name}"))
    return to_streaming(Network.of(with_probability(graph)), hop=HOP).first


def _converted(recipe: str) -> nn.Module:
    from tinygen.apps.digits.lowbit import REGIMES
    from tinygen.apps.wakeword.network import float_network
    from tinygen.nn import Affine8, convert

    chosen = REGIMES[recipe].recipe
    assert chosen is not None
    network = convert(float_network(FRAMES), chosen)
    network.relu4 = Affine8(relu=True)  # the last layer has 8 bits, as the first one
    return network


def _gated() -> nn.Module:
    from torch import nn

    from tinygen.apps.wakeword.network import float_network
    from tinygen.nn import GatedConv2d, InputQuant, QuantConv2d, Symmetric8

    dense = float_network(FRAMES)
    layers: OrderedDict[str, nn.Module] = OrderedDict(codes=InputQuant())
    for name, conv in dense.named_children():
        if name == "whole":
            layers[name] = QuantConv2d(conv.in_channels, 1, conv.kernel_size, weight_quantizer=Symmetric8())
        elif isinstance(conv, nn.Conv2d):
            layers[name] = GatedConv2d(
                conv.in_channels, conv.out_channels, conv.kernel_size, density=0.5, stride=conv.stride
            )
    return nn.Sequential(layers)
