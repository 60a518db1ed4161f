"""OpenOCD: the debug probe of a board. Options: OpenOCD 0.12's manual.

Messages are those of its src/jtag/drivers/{stlink_usb,libusb_helper}.c and src/{flash,helper}/startup.tcl.
"""

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
    say,
    usb_rules,
)

OPENOCD_HINTS = (
    Hint(r"LIBUSB_ERROR_ACCESS", NO_ACCESS, usb_rules),
    Hint(
        r"can't find \S+\.cfg",
        "this OpenOCD has no script for the board",
        say("Install a newer OpenOCD (0.12 or later), or use another method: `tinygen flash --method M`."),
    ),
    Hint(r"LIBUSB_ERROR_BUSY|already used|unable to claim interface", PROBE_BUSY, CLOSE_IT),
    Hint(r"serial mismatch", NO_PROBE, plug_in),
    # In this order: "open failed" also follows upon the two above.
    Hint(r"error: open failed|no ST-LINK detected|no device found|unable to find a matching", NO_PROBE, plug_in),
    Hint(r"device protected|write protected|failed erasing sectors", PROTECTED, UNPROTECT),
    Hint(r"\*\* Verify Failed", "flash holds something else than was written", UNPROTECT),
    Hint(r"unable to connect to the target|target voltage may be|Unable to reset target", CHIP_SILENT, HOLD_RESET),
)


class OpenOcd(Flasher):
    """`openocd -c "program ..."`."""

    name = "openocd"
    program = "openocd"
    boards = "STM32"
    takes_elf = True
    get = "apt install openocd, brew install openocd, or https://openocd.org"
    hints = OPENOCD_HINTS

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        script = job.board.flashing.openocd
        # A target's script says nothing of a probe; a board's does.
        files = ["-f", "interface/stlink.cfg", "-f", script] if script.startswith("target/") else ["-f", script]
        if job.probe:
            files += ["-c", f"adapter serial {job.probe}"]
        words = ["program", tcl_word(job.elf), *(["verify"] if job.verify else []), "reset", "exit"]
        return [Step("writing", (*start, *files, "-c", " ".join(words)))]


def tcl_word(text: str) -> str:
    """One word of Tcl: `program` strips a level of quoting, and quotes again with braces."""
    plain = all(c.isalnum() or c in "._-/+:@%" for c in text)
    return text if plain else "{" + text + "}"
