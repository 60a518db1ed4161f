"""Random networks of tinygen.nn's layers: every layer another precision, any order of what may stand between."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tests.frontends.torch_nn.networks import ACTIVATIONS, WEIGHTS, Beside, Joined, Mean, images
from tinygen.nn import QuantConv2d, QuantLinear

_TABLES = ("log-sqrt2", "log-thesis", "codebook4", "codebook64")
"""16-bit tables, as weights or activations: two of them together leave 32 bits."""


class RandomNetwork:
    """A network in the making; `shape` is what the next layer reads, [C, H, W] or [C].

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        side = self.rng.integers(4, 10, 2).tolist()
        vector = (int(self.rng.integers(2, 40)),)
        self.shape: tuple[int, ...] = (self._filters(), *side) if self._often(0.85) else vector
        self.input_shape = self.shape
        self.parts: list[nn.Module] = []
        self.codes = ""
        self._quantize()
        for _ in range(int(self.rng.integers(1, 5))):
            self._block()
        self._head()

    def network(self) -> nn.Sequential:
        return nn.Sequential(*self.parts)

    def inputs(self, count: int) -> Tensor:
        return images(count, *self.input_shape, seed=int(self.rng.integers(999)))

    def _often(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _pick(self, *options: str) -> str:
        return str(self.rng.choice(options))

    def _filters(self) -> int:
        return int(self.rng.choice([1, 2, 3, 5, 8, 31, 32, 33]))

    def _quantize(self) -> None:
        self.codes = self._pick(*ACTIVATIONS)
        self.parts.append(ACTIVATIONS[self.codes]())

    def _weights(self) -> str:
        return self._pick(*(w for w in WEIGHTS if not (w in _TABLES and self.codes in _TABLES)))

    def _convolution(self, filters: int, *, same: bool = False, bias: bool | None = None) -> QuantConv2d:
        """With a window that fits; `same` keeps height and width."""
        channels, height, width = self.shape
        groups = int(self.rng.choice([g for g in (1, 1, 2, 3, channels) if channels % g == filters % g == 0]))
        kernel = tuple(int(self.rng.integers(1, min(4, side) + 1)) for side in (height, width))
        stride, dilation, padding = (1, 1), (1, 1), "same"
        if not same and self._often(0.7):
            stride = tuple(self.rng.integers(1, 3, 2).tolist())
            padding = tuple(int(self.rng.integers(0, min(k, 3))) for k in kernel)
        elif self._often(0.3):
            dilation = (2, 1)
        return QuantConv2d(
            channels,
            filters,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            bias=self._often(0.5) if bias is None else bias,
            weight_quantizer=WEIGHTS[self._weights()](),
        )

    def _append(self, *parts: nn.Module) -> None:
        """Appends layers; their output's shape is found by trying."""
        self.parts.extend(parts)
        with torch.no_grad():
            whole = nn.Sequential(*parts).eval()
            for part in whole.modules():
                if hasattr(part, "running_range"):
                    part.train()
            self.shape = tuple(whole(torch.randn(1, *self.shape)).shape[1:])

    def _block(self) -> None:
        image = len(self.shape) == 3
        if not image:
            self._append(QuantLinear(self.shape[0], self._filters(), weight_quantizer=WEIGHTS[self._weights()]()))
        elif self._often(0.2):
            quantized = ACTIVATIONS[self._pick("int8", "sign", "relu3", "tanh4", "log")]()
            self.codes = "int8"
            self._append(Beside(quantized, self._convolution(self.shape[0], same=True)))
        elif self._often(0.15):
            # Without a bias, sums are exactly 0 now and then, and float32's noise decides on their sign.
            widths = (32 * self.rng.integers(1, 3, 2)).tolist()
            first, second = (self._convolution(width, same=True, bias=True) for width in widths)
            self.codes = self._pick(*ACTIVATIONS)
            self._append(Joined(first, second, ACTIVATIONS[self.codes]()))
            return
        else:
            self._append(self._convolution(self._filters()))
        self._between()
        self._quantize()
        if image and self._often(0.3):
            self._append(self._pool())

    def _between(self) -> None:
        """Batch norm, slopes, clamps, pools, in any order."""
        image, channels = len(self.shape) == 3, self.shape[0]
        options = [
            lambda: nn.BatchNorm2d(channels) if image else nn.BatchNorm1d(channels),
            nn.ReLU,
            nn.ReLU6,
            lambda: nn.Hardtanh(-1.5, 0.75),
            lambda: nn.PReLU(channels),
            lambda: nn.LeakyReLU(0.2),
            nn.Identity,
            lambda: self._pool() if image else nn.Dropout(),
        ]
        if self._often(0.8):
            self._append(options[0]())
        for index in self.rng.permutation(len(options))[: int(self.rng.integers(0, 3))]:
            self._append(options[index]())

    def _pool(self) -> nn.Module:
        sides = self.shape[1:]
        kernel = tuple(int(self.rng.integers(1, min(3, side) + 1)) for side in sides)
        padding = tuple(int(self.rng.integers(0, k // 2 + 1)) for k in kernel)
        return nn.MaxPool2d(kernel, tuple(self.rng.integers(1, 3, 2).tolist()), padding)

    def _head(self) -> None:
        if len(self.shape) == 3:
            kind = self._pick("flatten", "mean", "adaptive", "average", "codes")
            if kind == "codes":
                return
            if kind == "average":
                self._append(nn.AvgPool2d(tuple(min(2, side) for side in self.shape[1:])))
                return
            if self.codes in _TABLES or kind == "flatten":
                self._append(nn.Flatten())
            elif kind == "mean":
                self._append(Mean())
            else:
                self._append(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            if kind != "flatten":
                self.codes = _TABLES[0]  # sums of 16 bits are as wide
        self._append(QuantLinear(self.shape[0], 5, weight_quantizer=WEIGHTS[self._weights()]()))
