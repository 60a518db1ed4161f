"""dfu-util: the boot loader in an STM32's ROM, over the chip's own USB. Options: dfu-util 0.11's manual page."""

from __future__ import annotations

from tinygen.targets.flashing.base import NO_ACCESS, PROTECTED, UNPROTECT, Flasher, Hint, Job, Step, say, usb_rules

DEVICE = "0483:df11"
"""USB identity of every STM32's boot loader (ST AN3156); the same as in PlatformIO's ststm32."""

DFU_HINTS = (
    Hint(
        r"more than one DFU capable USB device",
        "several boards are in DFU mode",
        say("Name one by --probe; `dfu-util -l` shows their serial numbers."),
    ),
    # The name of libusb's error follows in 0.10 and later; "Cannot open" alone is said of any error.
    Hint(r"LIBUSB_ERROR_ACCESS|cannot open DFU device", NO_ACCESS, usb_rules),
    Hint(
        r"no DFU capable USB device",
        "no chip is in its boot loader",
        say(
            "Set BOOT0 high (a jumper or button), press RESET, and connect the USB of the chip itself, not the debug "
            "probe's; `dfu-util -l` shows the chip when it is there."
        ),
    ),
    Hint(r"ERASE_PAGE|write protected|dfuERROR|errVERIFY|errWRITE|errERASE", PROTECTED, UNPROTECT),
)


class DfuUtil(Flasher):
    """`dfu-util -D`, which then lets the firmware start."""

    name = "dfu"
    program = "dfu-util"
    boards = "STM32 with a USB connector of their own, in boot mode"
    get = "apt install dfu-util, brew install dfu-util, or https://dfu-util.sourceforge.net"
    hints = DFU_HINTS
    uses_probe = False

    def steps(self, job: Job, start: tuple[str, ...]) -> list[Step]:
        serial = ["-S", job.probe] if job.probe else []
        words = ("-d", DEVICE, *serial, "-a", "0", "-s", f"{job.origin}:leave", "-D", job.binary)
        # A chip that leaves at once answers no more, and the tool ends with status 74 after it has said this
        # (particle-iot/device-os issue 599, monome/crow issue 128).
        return [Step("writing", (*start, *words), "File downloaded successfully")]
