"""STM32L4, L4+ and G4. Their wait states depend on the regulator's range and not on the supply, 1.71 to 3.6 V.

Sizes of flash and RAM are also those of ST's STM32_open_pin_data, mcu/*.xml.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinygen.targets.parts.part import KB, Part, every, ram


@dataclass(frozen=True, kw_only=True)
class StmL4(Part):
    """A part of STM32L4, L4+ or G4, which have the same registers.

    Attributes:
        manual: its reference manual.
        boost, normal, low: highest HCLK, Hz, with 0, 1, 2 ... flash wait states, in range 1 with boost (empty where
            there is none), in range 1, and in range 2.
        pll_m, pll_n: highest divider, and highest factor, of the main PLL.
        vco_input: its range, Hz.
        pll_out: highest output of the main PLL, Hz.
        has_msi: MSI is there, and drives the core after reset; else HSI16 does.
        has_io_supply: PG2 to PG15 have a supply of their own.
        ports: GPIO ports, from A.
        flash_reset: FLASH_ACR after reset.
        vco: range of the main PLL's VCO, Hz.
    """

    manual: str
    boost: tuple[int, ...]
    normal: tuple[int, ...]
    low: tuple[int, ...]
    pll_m: int
    pll_n: int
    vco_input: tuple[int, int]
    pll_out: int
    has_msi: bool
    has_io_supply: bool
    ports: int
    flash_reset: int
    vco: tuple[int, int] = (64_000_000, 344_000_000)


PARTS: tuple[Part, ...] = (
    StmL4(
        name="STM32L476",
        source="RM0351; stm32l476xx.h; stm32l4xx_ll_utils.c",
        manual="RM0351",
        core="cortex-m4",
        isa=("dsp", "fpu-sp"),
        memories=(ram(0x20000000, 96), ram(0x10000000, 32)),
        flash_at=(0x08000000, 0),
        flash_bytes={"C": 256 * KB, "E": 512 * KB, "G": 1024 * KB},
        start_up=("firmware/stm32l4/clock.c", "firmware/stm32l4/l476"),
        labwired_chips=("stm32l476",),
        boost=(),
        normal=every(16_000_000, 5),
        low=(6_000_000, 12_000_000, 18_000_000, 26_000_000),
        pll_m=8,
        pll_n=86,
        vco_input=(4_000_000, 16_000_000),
        pll_out=80_000_000,
        has_msi=True,
        has_io_supply=True,
        ports=8,
        flash_reset=0x600,
    ),
    StmL4(
        name="STM32L4R5",
        # Wait states and the PLL's limits: stm32l4xx_ll_utils.c; RM0432 for VCO inputs below 4 MHz.
        source="RM0432; stm32l4r5xx.h; stm32l4xx_ll_utils.c",
        manual="RM0432",
        core="cortex-m4",
        isa=("dsp", "fpu-sp"),
        # SRAM1, SRAM2, SRAM3; SRAM2 once more.
        memories=(ram(0x20000000, 192 + 64 + 384), ram(0x10000000, 64)),
        flash_at=(0x08000000, 0),
        flash_bytes={"G": 1024 * KB, "I": 2048 * KB},
        start_up=("firmware/stm32l4/clock.c", "firmware/stm32l4/l4r5"),
        boost=every(20_000_000, 6),
        normal=every(20_000_000, 4),
        low=(8_000_000, 16_000_000, 26_000_000),
        pll_m=16,
        pll_n=127,
        vco_input=(2_660_000, 16_000_000),
        pll_out=120_000_000,
        has_msi=True,
        has_io_supply=True,
        ports=9,
        flash_reset=0x600,
    ),
    StmL4(
        name="STM32G474",
        # Wait states: RM0440 table 29 (stm32g4xx_ll_utils.c has twice as many); PLL: stm32g4xx_ll_utils.c.
        source="RM0440 table 29; stm32g474xx.h; stm32g4xx_ll_utils.c",
        manual="RM0440",
        core="cortex-m4",
        isa=("dsp", "fpu-sp"),
        # SRAM1, SRAM2, CCM; CCM once more.
        memories=(ram(0x20000000, 80 + 16 + 32), ram(0x10000000, 32)),
        flash_at=(0x08000000, 0),
        flash_bytes={"B": 128 * KB, "C": 256 * KB, "E": 512 * KB},
        start_up=("firmware/stm32l4/clock.c", "firmware/stm32l4/g474"),
        labwired_chips=("stm32g474re",),
        boost=every(34_000_000, 5),
        normal=every(30_000_000, 5),
        low=(12_000_000, 24_000_000, 26_000_000),
        pll_m=16,
        pll_n=127,
        vco_input=(2_660_000, 8_000_000),
        pll_out=170_000_000,
        has_msi=False,
        has_io_supply=False,
        ports=7,
        flash_reset=0x40600,
    ),
)
