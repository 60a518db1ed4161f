"""Networks whose precision and width can be switched: SP-Nets (thesis, chapter 5).

    from tinygen.nn.switchable import Distillation, SwitchSpec, switchable, train_switchable

    switches = [SwitchSpec(8, 8), SwitchSpec(2, 2), SwitchSpec(2, 2, 0.5), SwitchSpec(32, 32)]
    network = switchable(float_network, switches)
    train_switchable(network, batches, optimizer, distillation=Distillation())
    tinygen.export_switches(network.eval(), example)  # a Network of w8a8, w2a2 and w2a2_x0_5

L. E. Guerra Fernandez, "Efficient Deep Neural Networks Aimed for Resource Constrained Embedded Devices", thesis,
Monash, 2024; widths after J. Yu et al., "Slimmable Neural Networks", ICLR 2019.
"""

from tinygen.nn.switchable.base import Switchable, is_switchable, set_switch, switched, switches_of
from tinygen.nn.switchable.convert import extract, switchable
from tinygen.nn.switchable.family import FAMILIES, Family
from tinygen.nn.switchable.layers import SwitchableConv2d, SwitchableLinear
from tinygen.nn.switchable.private import SwitchableActivation, SwitchableBatchNorm1d, SwitchableBatchNorm2d
from tinygen.nn.switchable.runs import Run
from tinygen.nn.switchable.spec import SwitchSpec
from tinygen.nn.switchable.train import Distillation, calibrate_switches, switchable_step, train_switchable

__all__ = [
    "FAMILIES",
    "Distillation",
    "Family",
    "Run",
    "SwitchSpec",
    "Switchable",
    "SwitchableActivation",
    "SwitchableBatchNorm1d",
    "SwitchableBatchNorm2d",
    "SwitchableConv2d",
    "SwitchableLinear",
    "calibrate_switches",
    "extract",
    "is_switchable",
    "set_switch",
    "switchable",
    "switchable_step",
    "switched",
    "switches_of",
    "train_switchable",
]
