"""Suite `lowbit-mobilenet`: a network like MobileNet trained by recipes of tinygen.nn, and what it costs.

A 3x3 convolution 1->32 (stride 2), then four pairs of depthwise 3x3 and 1x1 convolutions as in MobileNet (Howard et al.
2017), 32->64->128->128->256, the second and the last with stride 2, averages and a dense layer 256->10: 65,408 weights,
of which 59,392 are the recipe's; 2,348,480 multiply-accumulates. Depthwise layers have int8 weights: they are few and
take quantization worst.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from examples.studies.accuracy import NEEDS, accuracy_sections
from examples.studies.quantization.suite import suite_cases
from tinygen.bench.suites import SuiteCases, SuiteOptions, needs_packages, suite

if TYPE_CHECKING:
    from torch import nn

    from tinygen.apps.digits.lowbit import Design

SUITE = "lowbit-mobilenet"
RECIPES = ("int8", "w4a4", "w2a2", "w1a2", "ternary", "xnor")


@suite(
    SUITE,
    "depthwise and 1x1 convolutions, as in MobileNet, trained by recipes (half an hour; needs torch)",
    report=accuracy_sections,
)
def cases(options: SuiteOptions) -> SuiteCases:
    """
    Raises:
        TinygenError: torch or mlxtend is not installed.
    """
    with needs_packages(SUITE, fix=NEEDS):
        return suite_cases(SUITE, mobilenet(), RECIPES, options, layer=2)


def mobilenet() -> Design:
    """The network."""
    from tinygen.apps.digits.lowbit import Design

    eight_bit = ("conv1", *(f"conv{number}_depthwise" for number in range(2, 6)), "dense")
    return Design("mobilenet", _separable, "relu5", eight_bit)


def _separable(parts: OrderedDict[str, nn.Module]) -> None:
    from torch import nn

    from tinygen.apps.digits.lowbit import add_convolution

    add_convolution(parts, "1", nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False))
    for number, (inputs, outputs, stride) in enumerate(((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2)), 2):
        depthwise = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False)
        add_convolution(parts, f"{number}_depthwise", depthwise)
        add_convolution(parts, str(number), nn.Conv2d(inputs, outputs, 1, bias=False))
    parts["pool5"] = nn.AvgPool2d(4)
