"""STM32F4 and STM32F7. Limits hold for 2.7 to 3.6 V.

Sizes of flash and RAM are also those of ST's STM32_open_pin_data, mcu/*.xml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tinygen.targets.parts.part import KB, Part, every, ram


@dataclass(frozen=True)
class Limits:
    """Clocks and flash, in Hz.

    Attributes:
        tree, buses, waits, flash, power, usart: where the part's documents say so.
        core, apb1, apb2: highest clocks, by (voltage scale, over-drive) and by over-drive.
        pll_out: highest output of the main PLL.
        wait_states: highest HCLK with 0, 1, 2 ... flash wait states.
        vco: range of the PLL's VCO.
    """

    tree: str
    buses: str
    waits: str
    flash: str
    power: str
    usart: str
    core: Mapping[tuple[int, bool], int]
    apb1: Mapping[bool, int]
    apb2: Mapping[bool, int]
    pll_out: int
    wait_states: tuple[int, ...]
    vco: tuple[int, int] = (100_000_000, 432_000_000)


@dataclass(frozen=True, kw_only=True)
class StmF4(Part):
    """A part of STM32F4.

    Attributes:
        scales: voltage scale by what is written to PWR_CR.VOS.
        reset_vos: VOS after reset.
        ports: GPIO ports, from A.
    """

    limits: Limits
    scales: Mapping[int, int]
    reset_vos: int
    ports: int


@dataclass(frozen=True, kw_only=True)
class StmF7(Part):
    """A part of STM32F7."""

    limits: Limits
    ports: int = 11


_M4F = ("dsp", "fpu-sp")
_F405 = StmF4(
    name="STM32F405",
    source="RM0090; DS8626",
    core="cortex-m4",
    isa=_M4F,
    # RM0090 2.3: SRAM1 and SRAM2, CCM.
    memories=(ram(0x20000000, 128), ram(0x10000000, 64)),
    flash_at=(0x08000000, 0),
    flash_bytes={"E": 512 * KB, "G": 1024 * KB},
    start_up=("firmware/stm32f4/family.c", "firmware/stm32f4/voltage_f405.c"),
    qemu_machines=("netduinoplus2",),
    labwired_chips=("stm32f405",),
    limits=Limits(
        tree="RM0090 7.3",
        buses="RM0090 5.4.1; DS8626 table 14",
        waits="RM0090 table 10",
        flash="RM0090 3.9.1",
        power="RM0090 5.4.1",
        usart="RM0090 30.6",
        core={(1, False): 168_000_000, (2, False): 144_000_000},
        apb1={False: 42_000_000},
        apb2={False: 84_000_000},
        pll_out=168_000_000,
        wait_states=every(30_000_000, 6),
    ),
    scales={0: 2, 1: 1},
    reset_vos=1,
    ports=9,
)
_F411 = StmF4(
    name="STM32F411",
    source="RM0383; DS10314; stm32f411xe.h",
    core="cortex-m4",
    isa=_M4F,
    memories=(ram(0x20000000, 128),),
    flash_at=(0x08000000, 0),
    flash_bytes={"C": 256 * KB, "E": 512 * KB},
    start_up=("firmware/stm32f4/family.c", "firmware/stm32f4/voltage_f411.c"),
    labwired_chips=("stm32f411ceu6",),
    limits=Limits(
        tree="RM0383, RCC",
        buses="RM0383, PWR_CR; DS10314",
        waits="RM0383, FLASH_ACR",
        flash="RM0383, FLASH_ACR",
        power="RM0383, PWR_CR",
        usart="RM0383, USART",
        # stm32f411xe.h: RCC_MAX_FREQUENCY, RCC_MAX_FREQUENCY_SCALE2 and 3.
        core={(1, False): 100_000_000, (2, False): 84_000_000, (3, False): 64_000_000},
        apb1={False: 50_000_000},
        apb2={False: 100_000_000},
        pll_out=100_000_000,
        # stm32f411xe.h: FLASH_SCALE1_LATENCY1_FREQ to LATENCY3.
        wait_states=(30_000_000, 64_000_000, 90_000_000, 100_000_000),
    ),
    scales={1: 3, 2: 2, 3: 1},
    reset_vos=2,
    ports=9,
)
_F746 = StmF7(
    name="STM32F746",
    source="RM0385; DS10916",
    core="cortex-m7",
    isa=(*_M4F, "dual-issue"),
    # RM0385 2.3: ITCM; DTCM, SRAM1, SRAM2.
    memories=(ram(0, 16), ram(0x20000000, 64 + 240 + 16)),
    flash_at=(0x08000000, 0x00200000),
    flash_bytes={"E": 512 * KB, "G": 1024 * KB},
    start_up=("firmware/stm32f7/family.c",),
    # Its own stm32f746 has no PWR, FLASH and USART3; what is used of both chips is alike (docs/testing.md).
    labwired_chips=("stm32f767",),
    limits=Limits(
        tree="RM0385 5.3",
        buses="RM0385 4.1.4; DS10916 table 17",
        waits="RM0385 table 7",
        flash="RM0385 3.7.1",
        power="RM0385 4.1.4 and 4.4.1",
        usart="RM0385 31.8",
        core={
            (1, False): 180_000_000,
            (1, True): 216_000_000,
            (2, False): 168_000_000,
            (2, True): 180_000_000,
            (3, False): 144_000_000,
            (3, True): 144_000_000,
        },
        apb1={False: 45_000_000, True: 54_000_000},
        apb2={False: 90_000_000, True: 108_000_000},
        pll_out=216_000_000,
        wait_states=every(30_000_000, 8),
    ),
)
_F767 = replace(
    _F746,
    name="STM32F767",
    source="RM0410; DS11532; stm32f7xx_ll_utils.c",
    isa=(*_F746.isa, "fpu-dp"),
    memories=(ram(0, 16), ram(0x20000000, 128 + 368 + 16)),
    flash_bytes={"G": 1024 * KB, "I": 2048 * KB},
    # The same figures as for STM32F746.
    limits=replace(
        _F746.limits,
        tree="RM0410, RCC",
        buses="RM0410, PWR; DS11532",
        waits="RM0410, FLASH_ACR; stm32f7xx_ll_utils.c",
        flash="RM0410, FLASH_ACR",
        power="RM0410, PWR",
        usart="RM0410, USART",
    ),
)
PARTS: tuple[Part, ...] = (
    _F405,
    replace(_F405, name="STM32F407"),
    _F411,
    replace(_F746, name="STM32F745"),
    _F746,
    replace(_F767, name="STM32F765"),
    _F767,
)
