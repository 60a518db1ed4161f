"""esptool: the boot loader in an ESP32's ROM, over a serial port. Options and messages: esptool 5.6."""

from __future__ import annotations

from tinygen.errors import FlashError
from tinygen.targets.flashing.base import Flasher, Hint, Job, Step, say

_BAUD = "460800"


class EspTool(Flasher):
    """`esptool write-flash`, which always compares MD5 sums."""

    name = "esptool"
    program = "esptool"
    module = "esptool"
    boards = "ESP32"
    get = "pip install 'tinygen[flash]'"
    uses_probe = False
    uses_port = True
    hints = (
        # esptool/loader.py, _connect and the lines behind it
        Hint(
            r"permission denied",
            "this user may not open the serial port",
            say("Join its group, then log in again: sudo usermod -aG dialout $USER (Arch Linux: uucp)."),
        ),
        Hint(
            r"no such file or directory|FileNotFoundError|found 0 serial ports|could not find a suitable port",
            "the serial port is not there",
            say("Plug the board in, and name its port: `tinygen flash DIR --port PORT`."),
        ),
        Hint(
            r"port is busy|resource busy|could not exclusively lock|access is denied",
            "another program holds the serial port",
            say("Close serial monitors and `tinygen hil` sessions on it."),
        ),
        Hint(
            r"this chip is (?P<chip>\S+), not",
            "another chip is on this port",
            say("Name the port of the right board, or build for this one."),
        ),
        Hint(
            r"wrong boot mode|no serial data received|failed to connect to|invalid head of packet|no sync reply",
            "the chip is not in its boot loader",
            say("Hold BOOT, press and let go RESET (EN), let go BOOT, and flash again."),
        ),
        Hint(
            r"MD5 of file does not match",
            "flash holds something else than was written",
            say("Try another cable and a lower speed; a flash chip that keeps failing is worn out."),
        ),
    )

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        place = job.board.flashing.esptool
        if place is None:
            raise FlashError(f"{job.board.name} is no ESP32", where=str(job.board.path), fix="Use another method.")
        port = ["--port", job.port] if job.port else []
        words = ("--chip", place.chip, *port, "--baud", _BAUD, "write-flash", f"{place.address:#x}", job.binary)
        return [Step("writing", (*start, *words))]
