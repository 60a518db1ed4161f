"""Images of another size."""

from __future__ import annotations

from typing import Any

from tinygen.frontends.aten.builder import Value
from tinygen.frontends.aten.registry import Call, converts
from tinygen.ir.ops.resize import Resize, ResizeBilinear, ResizeNearestNeighbor


@converts("aten.upsample_nearest1d", "aten.upsample_nearest2d")
def nearest(call: Call) -> Value:
    return _resized(call, ResizeNearestNeighbor)


@converts("aten._upsample_nearest_exact1d", "aten._upsample_nearest_exact2d")
def nearest_exact(call: Call) -> Value:
    return _resized(call, ResizeNearestNeighbor, half_pixel_centers=True)


@converts("aten.upsample_bilinear2d", "aten.upsample_linear1d")
def bilinear(call: Call) -> Value:
    aligned = bool(call["align_corners"])
    return _resized(call, ResizeBilinear, align_corners=aligned, half_pixel_centers=not aligned)


def _resized(call: Call, kind: type[Resize], align_corners: bool = False, half_pixel_centers: bool = False) -> Value:
    x = call.value("self" if "self" in call.arguments else "input")
    rank = len(x.shape)
    call.require(rank in (3, 4), f"only [1, C, H, W] and [1, C, L], not {x.shape}")
    for size, output, scale in zip(x.shape[2:], call.shapes[0][2:], _scales(call, rank), strict=True):
        whole = scale is None or align_corners or abs(size * scale - output) < 1e-6
        call.require(whole, f"{size} elements times {scale} are not {output}", "Give a size, not a factor.")
    resized = call.build.add(
        kind,
        [call.build.image(x)],
        size=(1, *call.shapes[0][2:])[-2:],
        align_corners=align_corners,
        half_pixel_centers=half_pixel_centers,
    )
    return call.build.fresh_image(resized, rank)


def _scales(call: Call, rank: int) -> list[Any]:
    """The factor of each side; None where it follows from the sizes."""
    factors = call.get("scale_factors")
    if factors is None:
        factors = [call.get(name) for name in ("scales_h", "scales_w")] if rank == 4 else [call.get("scales")]
    return list(factors)
