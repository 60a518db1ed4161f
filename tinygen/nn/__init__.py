"""PyTorch layers to train low-bit networks with; `tinygen.export` turns what they compute into integers.

    from torch import nn, optim
    from tinygen.nn import InputQuant, QuantConv2d, QuantLinear, ReLUQuant, Symmetric8, TanhQuant

    network = nn.Sequential(
        InputQuant(),
        QuantConv2d(1, 16, 3, bias=False, weight_quantizer=Symmetric8()), nn.BatchNorm2d(16), ReLUQuant(4),
        QuantConv2d(16, 32, 3, bias=False, weight_quantizer=TanhQuant(4)), nn.BatchNorm2d(32), ReLUQuant(4),
        nn.Flatten(), QuantLinear(512, 10, weight_quantizer=Symmetric8()),
    )  # of 8x8 images; now train it as any other, and call network.eval()
    # or from a trained float network: network = tinygen.nn.convert(float_network, "w4a4"), then train on

Weight quantizers belong to one layer each; activation quantizers are separate modules that replace the ReLU. Both
give float values that an integer encoding holds exactly (`codes`), and activation quantizers the exact `boundaries` of
their codes.
"""

from tinygen.nn.calibration import calibrate
from tinygen.nn.convert import RECIPES, Recipe, convert
from tinygen.nn.decisions import (
    Deciding,
    EarlyExit,
    MixtureOfExperts,
    SkipBlock,
    WidestLogits,
    decisions,
    early_exits,
    every_exit,
    exits_of,
    exploring,
    gate_cost,
    load_balance,
    mixtures,
    reinforce,
    skip_blocks,
)
from tinygen.nn.fire_together import MaskedConv2d, firing_loss, masked_layers
from tinygen.nn.gated import GatedConv2d, gate_penalty, gated_layers, utilisation
from tinygen.nn.layers import (
    InputQuant,
    QuantConv2d,
    QuantLinear,
    angle_regulariser,
    clip_weights,
    freeze_weights,
    xnor_block,
)
from tinygen.nn.mixed import CondConv2d
from tinygen.nn.quantizers import (
    APSQ,
    BWN,
    ActivationQuantizer,
    Affine8,
    BinaryConnect,
    CodebookQuant,
    LogQuant,
    LogQuantActivation,
    RangedQuantizer,
    ReLUQuant,
    Sign,
    Symmetric8,
    TanhQuant,
    TanhQuantActivation,
    Ternary,
    WeightQuantizer,
    XNORNet,
    angle_penalty,
    base_quantize,
    straight_through,
)
from tinygen.nn.sphere import OnSphere, hyperspherical_energy

__all__ = [
    "APSQ",
    "BWN",
    "RECIPES",
    "ActivationQuantizer",
    "Affine8",
    "BinaryConnect",
    "CodebookQuant",
    "CondConv2d",
    "Deciding",
    "EarlyExit",
    "GatedConv2d",
    "InputQuant",
    "LogQuant",
    "LogQuantActivation",
    "MaskedConv2d",
    "MixtureOfExperts",
    "OnSphere",
    "QuantConv2d",
    "QuantLinear",
    "RangedQuantizer",
    "ReLUQuant",
    "Recipe",
    "Sign",
    "SkipBlock",
    "Symmetric8",
    "TanhQuant",
    "TanhQuantActivation",
    "Ternary",
    "WeightQuantizer",
    "WidestLogits",
    "XNORNet",
    "angle_penalty",
    "angle_regulariser",
    "base_quantize",
    "calibrate",
    "clip_weights",
    "convert",
    "decisions",
    "early_exits",
    "every_exit",
    "exits_of",
    "exploring",
    "firing_loss",
    "freeze_weights",
    "gate_cost",
    "gate_penalty",
    "gated_layers",
    "hyperspherical_energy",
    "load_balance",
    "masked_layers",
    "mixtures",
    "reinforce",
    "skip_blocks",
    "straight_through",
    "utilisation",
    "xnor_block",
]
