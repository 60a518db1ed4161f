"""Quantizers: float tensors in, float tensors out that an integer encoding can hold. One file per method."""

from tinygen.nn.quantizers.apsq import APSQ, angle_penalty
from tinygen.nn.quantizers.base import ActivationQuantizer, WeightQuantizer, base_quantize, straight_through
from tinygen.nn.quantizers.binary import BWN, BinaryConnect, XNORNet
from tinygen.nn.quantizers.codebook import CodebookQuant
from tinygen.nn.quantizers.int8 import Affine8, Symmetric8
from tinygen.nn.quantizers.log_quant import LogQuant, LogQuantActivation
from tinygen.nn.quantizers.ranges import FollowedRange, RangedQuantizer
from tinygen.nn.quantizers.relu_quant import ReLUQuant
from tinygen.nn.quantizers.sign import Sign
from tinygen.nn.quantizers.tanh_quant import TanhQuant, TanhQuantActivation
from tinygen.nn.quantizers.ternary import Ternary

__all__ = [
    "APSQ",
    "BWN",
    "ActivationQuantizer",
    "Affine8",
    "BinaryConnect",
    "CodebookQuant",
    "FollowedRange",
    "LogQuant",
    "LogQuantActivation",
    "RangedQuantizer",
    "ReLUQuant",
    "Sign",
    "Symmetric8",
    "TanhQuant",
    "TanhQuantActivation",
    "Ternary",
    "WeightQuantizer",
    "XNORNet",
    "angle_penalty",
    "base_quantize",
    "straight_through",
]
