"""Shared by the calls of ESP-NN: its structs as tuples of int32, its names, its limits (include/esp_nn.h).

The library computes int8 only, an image at a time, windows without dilation. It scales accumulators as TensorFlow Lite
Micro does, by a doubling high multiplication, then a shift, each rounded.

The library is used for layers that its plain C computes correctly. For vector units (instruction set "pie": ESP32-S3,
ESP32-P4) fewer layers qualify, according to the sources of release 1.2.3; the vector code is not run in our tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir.ops.base import Node
from tinygen.lowering.plan import VendorCall

FAMILY = "esp-nn"
VECTORS = "pie"
"""The instruction set of the vector units: Espressif calls it processor instruction extensions."""
ALIGNMENT = 16
"""Of vectors; loads of ESP32-S3's form leave out an address's lower bits."""
HEADERS: tuple[str, ...] = ()
"""The C needs nothing of tinygen's own headers."""

_HEADER_FILES = ("sdkconfig.h", "esp_nn.h")
"""The first, ESP-IDF's, says for which chip the second declares the library."""
_LONGEST = 32767
"""Sizes are uint16_t, positions int16_t."""


def call(name: str, *arguments: int | tuple[int, ...]) -> VendorCall:
    """A call of `esp_nn_NAME_s8`, whose scratch size is given by `esp_nn_get_NAME_scratch_size`."""
    functions = (f"esp_nn_{name}_s8", f"esp_nn_set_{name}_scratch_buf")
    return VendorCall(_HEADER_FILES, functions, f"esp_nn_get_{name}_scratch_size", arguments)


def call_without_scratch(function: str) -> VendorCall:
    """A call that takes no scratch."""
    return VendorCall(_HEADER_FILES, (function,))


def computes(node: Node) -> bool:
    """Whether the library supports these types and sizes."""
    tensors = [tensor for tensor in (*node.inputs, node.output) if tensor is not None and len(tensor.shape) == 4]
    short = all(tensor.shape[0] == 1 or tensor.is_constant for tensor in tensors)
    return node.output.dtype == np.int8 and short and all(max(t.shape) <= _LONGEST for t in tensors)


def dims(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """data_dims_t {width, height, channels, extra} of an NHWC or OHWI shape."""
    n, h, w, c = shape
    return w, h, c, n
