"""Which statistic of the calibration set makes the best range: `python -m examples.studies.calibration.ranges`.

The float networks of `apps.digits.lowbit` (three seeds, 4,000 digits) are converted, calibrated on 256 digits of those
that they were trained with, and tested on 1,000 others. Nothing is trained after conversion. Weights have 8 bits
throughout, so that only the ranges of activations make a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from examples.studies.quantization.mobilenet import mobilenet
from tinygen.apps.digits.lowbit import DIGITS, Design, Digits, answers_of, load_digits, train_start
from tinygen.bench.figures import markdown_table
from tinygen.nn import LogQuantActivation, RangedQuantizer, Recipe, Symmetric8, calibrate, convert

SEEDS, EPOCHS, SAMPLES = (0, 1, 2), 6, 256
SHARES = (0.0, 1e-4, 1e-3, 1e-2, 5e-2)
"""Of the values, left out at an end of the range."""


@dataclass(frozen=True)
class Row:
    """A recipe, and the ends of the range where values are left out.

    Attributes:
        recipe: as `convert` takes it; None for what is not converted.
        low, high: whether values are left out there.
    """

    recipe: str | Recipe | None
    low: bool = True
    high: bool = True


def _log(bits: int, *, low: bool = False, whole: bool = False) -> Row:
    recipe = Recipe(Symmetric8, lambda _: LogQuantActivation(bits, integer_exponents=whole))
    return Row(recipe, low, not low)


ROWS: Mapping[str, Row] = {
    "float": Row(None, low=False, high=False),
    "8 bits (Affine8), both ends": Row("int8"),
    "4 bits (LogQuantActivation), lower end": _log(4, low=True),
    "4 bits (LogQuantActivation), upper end": _log(4),
    "3 bits (LogQuantActivation), lower end": _log(3, low=True),
    "3 bits (LogQuantActivation), upper end": _log(3),
    "4 bits with integer_exponents, upper end": _log(4, whole=True),
}


def main() -> None:
    """Prints a table for each network: mean accuracies in %, a column for each share (float: one)."""
    train, test = load_digits()
    for design in (DIGITS, mobilenet()):
        found: dict[str, list[list[float]]] = {name: [] for name in ROWS}
        for seed in SEEDS:
            start = train_start(train, seed, EPOCHS, design)
            chosen = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
            images = train.tensors()[0][chosen]
            for name, row in ROWS.items():
                found[name].append(accuracies(start, row, design, images, test))
        lines = [
            [name, *(f"{fmean(column):.1f}" for column in zip(*each, strict=True))] for name, each in found.items()
        ]
        print(markdown_table([design.name, *(f"{100 * share:g} %" for share in SHARES)], lines))
        print(flush=True)


def accuracies(start: nn.Module, row: Row, design: Design, images: Tensor, test: Digits) -> list[float]:
    """In %, for each share; once for what is not converted."""
    if row.recipe is None:
        return [_accuracy(start, test)]
    network = convert(start, row.recipe, eight_bit=design.eight_bit)
    calibrate(network, [images])
    found = []
    for share in SHARES:
        _without(network, images, share * row.low, share * row.high)
        found.append(_accuracy(network, test))
    return found


def _without(network: nn.Module, images: Tensor, low: float, high: float) -> None:
    """Ranges without these shares of the values at their ends, from the input on."""
    ranged = [part for part in network.modules() if isinstance(part, RangedQuantizer)]
    hooks = [part.register_forward_pre_hook(_taking(low, high)) for part in ranged]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()


def _taking(low: float, high: float) -> Callable[[RangedQuantizer, tuple[Tensor]], None]:
    def take(quantizer: RangedQuantizer, arguments: tuple[Tensor]) -> None:
        values = arguments[0].flatten()
        if isinstance(quantizer, LogQuantActivation):
            values = values[values > 0]
        values = values.sort().values
        first, last = int((len(values) - 1) * low), round((len(values) - 1) * (1 - high))
        quantizer.running_range.copy_(quantizer.batch_range(values[first : last + 1]))

    return take


def _accuracy(network: nn.Module, test: Digits) -> float:
    return 100 * float((answers_of(network, test) == test.labels).mean())


if __name__ == "__main__":
    main()
