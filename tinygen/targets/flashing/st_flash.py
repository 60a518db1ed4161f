"""st-flash of the open-source stlink tools. Options: its doc/man/st-flash.md; messages: its sources."""

from __future__ import annotations

from tinygen.targets.flashing.base import (
    CHIP_SILENT,
    CLOSE_IT,
    HOLD_RESET,
    NO_ACCESS,
    NO_PROBE,
    PROBE_BUSY,
    PROTECTED,
    UNPROTECT,
    Flasher,
    Hint,
    Job,
    Step,
    plug_in,
    usb_rules,
)


class StFlash(Flasher):
    """`st-flash write`, which always verifies."""

    name = "st-flash"
    program = "st-flash"
    boards = "STM32"
    get = "apt install stlink-tools, brew install stlink, or https://github.com/stlink-org/stlink"
    hints = (
        # libusb's -3 is LIBUSB_ERROR_ACCESS; stlink-org/stlink issue 282 shows the line.
        Hint(r"LIBUSB_ERROR_ACCESS|access error|Error -3 ", NO_ACCESS, usb_rules),
        Hint(r"unable to claim|LIBUSB_ERROR_BUSY", PROBE_BUSY, CLOSE_IT),
        Hint(r"couldn't find any ST-Link", NO_PROBE, plug_in),
        Hint(r"stlink_fwrite_flash\(\) == -1|flash is write.protected|flash loader run error", PROTECTED, UNPROTECT),
        # stlink-org/stlink issues 1098 and 1275
        Hint(
            r"can ?not connect to target|failed to connect to target|unknown chip ?id|soft reset failed|"
            r"failed to halt the core",
            CHIP_SILENT,
            HOLD_RESET,
        ),
    )

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        probe = ["--serial", job.probe] if job.probe else []
        return [Step("writing", (*start, "--reset", *probe, "write", job.binary, job.origin))]
