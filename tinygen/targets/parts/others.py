"""Espressif's chips, and Arm's MPS2 image. Flash is another chip, so a part says only where it is seen."""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.targets.parts.part import KB, Area, Part


@dataclass(frozen=True, kw_only=True)
class Esp(Part):
    """A chip of Espressif; addresses: soc/soc.h of esp-idf's components/soc (SOC_IROM_LOW, SOC_DRAM_LOW and so on)."""


@dataclass(frozen=True, kw_only=True)
class EspC3(Esp):
    """ESP32-C3: its register models are of nothing else."""


@dataclass(frozen=True, kw_only=True)
class EspC6(Esp):
    """ESP32-C6, likewise."""


@dataclass(frozen=True, kw_only=True)
class An500(Part):
    """The Cortex-M7 in an FPGA of application note AN500."""


_MHZ = 1_000_000
PARTS: tuple[Part, ...] = (
    Esp(
        name="ESP32",
        source="esp-idf, soc/esp32/include/soc/soc.h",
        core="esp32",
        isa=(),
        memories=(Area("ram", 0x3FFAE000, 0x52000),),
        flash_at=(0x400D0000,),
        flash_bytes={"": 0x330000},
    ),
    Esp(
        name="ESP32-S3",
        source="esp-idf, soc/esp32s3/include/soc/soc.h",
        core="esp32s3",
        isa=("pie",),
        memories=(Area("ram", 0x3FC88000, 0x78000),),
        flash_at=(0x42000000,),
        flash_bytes={"": 32 * KB * KB},
    ),
    EspC3(
        name="ESP32-C3",
        source="esp-idf, soc/esp32c3/include/soc/soc.h",
        core="esp32c3",
        isa=("rv32",),
        memories=(
            Area("ram", 0x3FC80000, 0x60000),
            Area("ram", 0x40380000, 0x60000),  # the same bytes, for instructions
            Area("flash", 0x40000000, 0x60000),  # ROM
        ),
        flash_at=(0x3C000000, 0x42000000),
        flash_bytes={"": 8 * KB * KB},
        start_up=("firmware/esp32c3/chip.c",),
        labwired_chips=("esp32c3",),
        fixed_hz=160 * _MHZ,  # the PLL's 480 MHz by 3: esp-idf, clk_tree_ll.h
    ),
    EspC6(
        name="ESP32-C6",
        source="esp-idf, soc/esp32c6/include/soc/soc.h",
        core="esp32c6",
        isa=("rv32",),
        memories=(Area("ram", 0x40800000, 0x80000), Area("flash", 0x40000000, 0x50000)),
        flash_at=(0x42000000,),
        flash_bytes={"": 16 * KB * KB},
        start_up=("firmware/esp32c6/chip.c",),
        fixed_hz=160 * _MHZ,
    ),
    An500(
        name="AN500",
        source="Arm application note AN500; hw/arm/mps2.c of QEMU",
        core="cortex-m7",
        isa=("dsp", "fpu-sp", "fpu-dp", "dual-issue"),
        memories=(Area("ram", 0x20000000, 0x400000),),
        flash_at=(0,),
        flash_bytes={"": 4 * KB * KB},
        start_up=("firmware/mps2/board.c",),
        qemu_machines=("mps2-an500",),
        fixed_hz=25 * _MHZ,
    ),
)
