"""pyOCD: the debug probe of a Cortex-M board, in Python. Options and messages: pyOCD 0.46."""

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

_CONNECTION = r"STLink error|SWD/JTAG communication failure|transfer (fault|error|timeout)|no ack|unexpected ack"


class PyOcd(Flasher):
    """`pyocd load`, then `pyocd commander` to compare, as loading does not."""

    name = "pyocd"
    program = "pyocd"
    module = "pyocd"
    boards = "STM32"
    takes_elf = True
    get = "pip install 'tinygen[flash]'"
    hints = (
        # pyocd/probe/stlink/usb.py; the probe is not listed then, so "No connected debug probes" comes after it.
        Hint(r"udev rule|access denied|insufficient permissions", NO_ACCESS, usb_rules),
        # pyocd/core/helpers.py, choose_probe: it asks which probe to use, and gets no answer.
        Hint(
            r"enter the number of the debug probe|more than one debug probe matches",
            "several debug probes are connected",
            say("Name one by --probe; `pyocd list` shows their numbers."),
        ),
        Hint(r"no connected debug probe|no target device available", NO_PROBE, plug_in),
        # pyocd/board/board.py; most chips are known by ST's packs only.
        Hint(
            r"target type \S+ not recognized",
            "pyOCD does not know this chip yet",
            lambda job: f"Install its pack, once: pyocd pack install {job.board.flashing.pyocd}",
        ),
        Hint(r"resource busy|LIBUSB_ERROR_BUSY|already opened in another mode", PROBE_BUSY, CLOSE_IT),
        # pyocd/flash/flash.py
        Hint(r"flash (erase|program) \w+ (failure|timed out|timeout)", PROTECTED, UNPROTECT),
        Hint(r"mismatched byte at", "flash holds something else than was written", UNPROTECT),
        Hint(_CONNECTION, CHIP_SILENT, HOLD_RESET),
    )

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        # Without --no-wait it waits for a probe for ever.
        connect = ["--no-wait", "--target", job.board.flashing.pyocd]
        if job.probe:
            connect += ["--probe", job.probe]
        load = Step("writing", (*start, "load", *connect, job.elf))
        # It reports a difference by text alone, and splits a command into words itself, at blanks that are not quoted.
        # To attach leaves the firmware running.
        words = f'compare {job.origin} "{job.binary}"'
        compare = Step(
            "verifying", (*start, "commander", *connect, "--connect", "attach", "-c", words), " bytes match."
        )
        return [load, compare] if job.verify else [load]
