"""Networks of torchvision and timm by name, with random weights: what people export."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from typing import Any

import pytest

from tests.support.torch_models import need, randomize

torch = need("torch")

TORCHVISION = (
    *("mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "efficientnet_b0"),
    *("regnet_y_400mf", "densenet121", "resnet18", "convnext_tiny", "googlenet", "inception_v3", "alexnet", "swin_t"),
)
TIMM = (
    *("mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small", "tf_efficientnet_lite0", "tinynet_e"),
    *("ghostnet_050", "repghostnet_050", "mnasnet_small", "semnasnet_075", "fbnetc_100", "hardcorenas_a"),
    *("regnetx_002", "convnext_atto", "resnet10t", "seresnet18", "nf_regnet_b0", "lcnet_035", "repvgg_a0"),
    *("mobilevit_xxs", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "levit_128s", "mixer_s32_224", "resmlp_12_224"),
    *("swin_tiny_patch4_window7_224", "poolformer_s12", "efficientformerv2_s0", "efficientvit_m0", "fastvit_t8"),
    *("pvt_v2_b0", "tiny_vit_5m_224", "hrnet_w18_small", "dla46_c", "ese_vovnet19b_dw", "rexnet_100", "starnet_s1"),
)
ALL = [*(("torchvision", name) for name in TORCHVISION), *(("timm", name) for name in TIMM)]
SIZES = {"inception_v3": 96, "alexnet": 96}
"""Of the images; 64 of all others."""


@cache
def library(name: str) -> Any:
    """timm or torchvision; the test is skipped where it is not installed.

    PyPI's torchvision is compiled for CUDA's torch. Beside that for CPUs its operators are missing: all of them are for
    detection, but to import it, two must be declared.
    """
    missing = [each for each in {"torchvision", name} if importlib.util.find_spec(each) is None]
    if missing:
        pytest.skip(
            f"{' and '.join(missing)}: pip install --no-deps timm torchvision==0.28.0 huggingface-hub safetensors"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return importlib.import_module(name)


def architecture(source: str, name: str, classes: int = 10) -> tuple[Any, tuple[int, ...]]:
    """A network in evaluation mode, and the shape of its input.

    Args:
        source: "torchvision" or "timm".
    """
    size = SIZES.get(name, 64)
    torch.manual_seed(0)
    if source == "torchvision":
        fixed = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = getattr(library(source).models, name)(num_classes=classes, **fixed)
    else:
        try:
            network = library(source).create_model(name, num_classes=classes, img_size=size)
        except TypeError:
            network = library(source).create_model(name, num_classes=classes)
    for parameter in network.parameters():
        # Some heads begin with zeros, whose answer depends on nothing.
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return randomize(network), (1, 3, size, size)
