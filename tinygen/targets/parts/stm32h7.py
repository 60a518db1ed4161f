"""STM32H7 and STM32U5. Both are divided by voltage scale, which STM32U5's manual calls range.

Sizes of flash and RAM are also those of ST's STM32_open_pin_data, mcu/*.xml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.targets.parts.part import KB, Part, every, ram


@dataclass(frozen=True, kw_only=True)
class StmH7(Part):
    """A part of STM32H7; mappings are by voltage scale, 0 the highest. Clocks in Hz.

    Attributes:
        core_hz: highest clock of the core. AXI and AHB have half of it, the APBs half of that.
        wait_states: highest AXI clock with 0, 1, 2 ... flash wait states.
        write_delays: AXI clock above which WRHIGHFREQ 1, 2 is due.
        wide_vco, medium_vco: ranges of PLL1's VCO.
        id_code: DBGMCU_IDCODE, with the revision that the limits are of.
    """

    core_hz: Mapping[int, int]
    wait_states: Mapping[int, tuple[int, ...]]
    write_delays: Mapping[int, tuple[int, ...]]
    wide_vco: tuple[int, int]
    medium_vco: tuple[int, int]
    id_code: int
    ports: int


@dataclass(frozen=True, kw_only=True)
class StmU5(Part):
    """A part of STM32U5; mappings are by voltage range, 1 the highest. Clocks in Hz.

    Attributes:
        core_hz: highest clock of core and buses.
        vco_hz: highest clock of PLL1's VCO; there is no PLL in a range that is left out.
        lowest_vco_hz: of PLL1's VCO.
        wait_states: highest HCLK with 0, 1, 2 ... flash wait states.
        boost_above_hz: above, the regulator's booster is due.
    """

    core_hz: Mapping[int, int]
    vco_hz: Mapping[int, int]
    lowest_vco_hz: int
    wait_states: Mapping[int, tuple[int, ...]]
    boost_above_hz: int
    ports: int


def _mhz(*values: int) -> tuple[int, ...]:
    return tuple(1_000_000 * value for value in values)


PARTS: tuple[Part, ...] = (
    StmH7(
        name="STM32H743",
        # What is as in the manual's tables is taken from programs that cite them: Zephyr's and Embassy's clock set-up
        # (rcc/h.rs), and ST's stm32h7xx_hal_rcc.h, stm32h7xx_hal_pwr_ex.c and stm32h7xx_ll_utils.c.
        source="RM0433; DS12110, revision V; stm32h743xx.h",
        core="cortex-m7",
        isa=("dsp", "fpu-sp", "fpu-dp", "dual-issue"),
        # ITCM; DTCM; AXI SRAM; SRAM1 to SRAM3; SRAM4.
        memories=(ram(0, 64), ram(0x20000000, 128), ram(0x24000000, 512), ram(0x30000000, 288), ram(0x38000000, 64)),
        flash_at=(0x08000000,),
        # Of 1 Mbyte (G), the two banks do not adjoin.
        flash_bytes={"I": 2048 * KB},
        start_up=("firmware/stm32h7/supply.c", "firmware/stm32h7/clock.c"),
        # DS12110, general operating conditions.
        core_hz={0: 480_000_000, 1: 400_000_000, 2: 300_000_000, 3: 200_000_000},
        # RM0433 table 17. (stm32h7xx_ll_utils.c allows 240 MHz with 2 wait states in scale 1; the table does not.)
        wait_states={
            0: _mhz(70, 140, 210, 225, 240),
            1: _mhz(70, 140, 210, 225),
            2: _mhz(55, 110, 165, 225),
            3: _mhz(45, 90, 135, 180, 225),
        },
        write_delays={0: _mhz(70, 185), 1: _mhz(70, 185), 2: _mhz(55, 165), 3: _mhz(45, 135)},
        # DS12110, PLL characteristics.
        wide_vco=(192_000_000, 960_000_000),
        medium_vco=(150_000_000, 420_000_000),
        id_code=0x2003_0450,  # stm32h7xx_hal.h: REV_ID of revision V, DEV_ID
        ports=11,
    ),
    StmU5(
        name="STM32U575",
        # What is as in the manual's sections is taken from programs that cite them: Embassy's rcc/u5.rs, and ST's
        # stm32u5xx_hal_pwr_ex.c, stm32u5xx_hal_rcc.c and stm32u5xx_ll_utils.c.
        source="RM0456 10.5.4, 11.4.9, 11.4.10; DS13737; stm32u575xx.h",
        core="cortex-m33",
        isa=("dsp", "fpu-sp"),
        # SRAM1 to SRAM3; SRAM4.
        memories=(ram(0x20000000, 192 + 64 + 512), ram(0x28000000, 16)),
        flash_at=(0x08000000,),
        flash_bytes={"G": 1024 * KB, "I": 2048 * KB},
        start_up=("firmware/stm32u5/clock.c",),
        labwired_chips=("stm32u575",),
        core_hz={1: 160_000_000, 2: 110_000_000, 3: 55_000_000, 4: 25_000_000},
        vco_hz={1: 544_000_000, 2: 544_000_000, 3: 330_000_000},
        lowest_vco_hz=128_000_000,
        # RM0456, FLASH: read access latency. (stm32u5xx_ll_utils.c asks for more in ranges 2 to 4, which nothing here
        # runs in for long.)
        wait_states={
            1: every(32_000_000, 5),
            2: _mhz(30, 60, 90, 110),
            3: _mhz(24, 48, 55),
            4: _mhz(12, 25),
        },
        boost_above_hz=55_000_000,
        ports=9,
    ),
)
