"""What flashing tools print when something is wrong, shortened, and what a user is told then.

Where the messages are from: the comments beside the hints in tinygen/targets/flashing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Complaint:
    """One failure.

    Attributes:
        text, status: what the tool prints, and its exit status.
        what, fix: parts of our error.
    """

    text: str
    status: int
    what: str
    fix: str


COMPLAINTS = {
    "pyocd: no probe": Complaint(
        "No connected debug probes\n0000384 E No target device available [load_cmd]\n",
        1,
        "no debug probe",
        "Plug the board in",
    ),
    "pyocd: other probe": Complaint(
        "No connected debug probe matches unique ID '07'\n",
        1,
        "no debug probe",
        "Plug the board in",
    ),
    "pyocd: two probes": Complaint(
        "  #   Probe/Board     Unique ID\n"
        "  0   STM32 STLink    066A\n"
        "  1   STM32 STLink    066B\n"
        "Enter the number of the debug probe or 'q' to quit> 0000384 C Error: EOF when reading a line "
        "[__main__]\n",
        1,
        "several debug probes",
        "--probe",
    ),
    "pyocd: no pack": Complaint(
        "0000384 C Target type stm32f746zgtx not recognized. Use 'pyocd list --targets' to see "
        "currently available target types.\n",
        1,
        "does not know",
        "pyocd pack install stm32f746zgtx",
    ),
    "pyocd: no access": Complaint(
        "0000384 W [Errno 13] Access denied (insufficient permissions) while trying to get the STLink "
        "USB device configuration (VID=0483 PID=374b). This can probably be remedied with a udev rule.\n"
        "No connected debug probes\n",
        1,
        "may not open",
        'ATTRS{idVendor}=="0483"',
    ),
    "pyocd: busy": Complaint(
        "0000384 C Error: [Errno 16] Resource busy [__main__]\n",
        1,
        "another program",
        "Close",
    ),
    "pyocd: silent chip": Complaint(
        "0000384 C STLink error (9): Get IDCODE error [__main__]\n",
        1,
        "does not reach",
        "RESET",
    ),
    "pyocd: protected": Complaint(
        "C flash erase sector failure (address 0x08000000; result code 0x1) [__main__]\n",
        1,
        "protected",
        "STM32CubeProgrammer",
    ),
    "openocd: no access": Complaint(
        "Error: libusb_open() failed with LIBUSB_ERROR_ACCESS\nError: open failed\n** OpenOCD init failed **\n",
        1,
        "may not open",
        "udevadm",
    ),
    "openocd: no probe": Complaint(
        "Info : clock speed 2000 kHz\nError: open failed\n** OpenOCD init failed **\n",
        1,
        "no debug probe",
        "Plug the board in",
    ),
    "openocd: other probe": Complaint(
        "Error: ST-LINK open failed (serial mismatch)\n",
        1,
        "no debug probe",
        "Plug",
    ),
    "openocd: old": Complaint(
        "embedded:startup.tcl:28: Error: Can't find board/st_nucleo_f7.cfg\n",
        1,
        "no script",
        "newer",
    ),
    "openocd: silent chip": Complaint(
        "Info : Target voltage: 3.25\n"
        "Error: init mode failed (unable to connect to the target)\n"
        "** OpenOCD init failed **\n",
        1,
        "does not reach",
        "RESET",
    ),
    "openocd: protected": Complaint(
        "Error: stm32x device protected\n** Programming Failed **\n",
        1,
        "protected",
        "option",
    ),
    "openocd: verify": Complaint(
        "** Programming Finished **\n** Verify Started **\n** Verify Failed **\n",
        1,
        "something else",
        "protection",
    ),
    "st-flash: no probe": Complaint(
        "st-flash 1.8.0\n2026-11-21T14:20:12 WARN usb.c: Couldn't find any ST-Link devices\n",
        255,
        "no debug probe",
        "Plug",
    ),
    "st-flash: no access": Complaint(
        "st-flash 1.8.0\n"
        "2026-11-21T14:20:12 WARN usb.c: Error -3 (Access denied) opening ST-Link v2 device 003:002\n"
        "WARN usb.c: Couldn't find any ST-Link devices\n",
        255,
        "may not open",
        "70-tinygen.rules",
    ),
    "st-flash: busy": Complaint(
        "st-flash 1.8.0\n"
        "2026-11-21T14:20:12 WARN usb.c: Stlink usb device found, but unable to claim (probably already "
        "in use?)\n",
        255,
        "another program",
        "Close",
    ),
    "st-flash: silent chip": Complaint(
        "st-flash 1.8.0\n"
        "2026-11-21T14:20:12 WARN common.c: NRST is not connected\n"
        "st-flash 1.8.0\n"
        "2026-11-21T14:20:12 ERROR common.c: Soft reset failed: timeout\n"
        "Failed to connect to target\n",
        255,
        "does not reach",
        "RESET",
    ),
    "st-flash: protected": Complaint(
        "stlink_fwrite_flash() == -1\n",
        255,
        "protected",
        "STM32CubeProgrammer",
    ),
    "dfu: not in boot mode": Complaint(
        "dfu-util 0.11\n\ndfu-util: No DFU capable USB device available\n",
        74,
        "no chip is in its boot loader",
        "BOOT0",
    ),
    "dfu: no access": Complaint(
        "dfu-util: Cannot open DFU device 0483:df11 found on devnum 31 (LIBUSB_ERROR_ACCESS)\n"
        "dfu-util: No DFU capable USB device available\n",
        74,
        "may not open",
        "udev",
    ),
    "dfu: two": Complaint(
        "dfu-util: More than one DFU capable USB device found! Try `--list' and specify the serial "
        "number or disconnect all but one device\n",
        74,
        "several boards",
        "--probe",
    ),
    "dfu: erase": Complaint(
        'Downloading to address = 0x08000000, size = 48244\nError during special command "ERASE_PAGE" get_status\n',
        74,
        "protected",
        "protection",
    ),
    "esptool: no access": Complaint(
        "A fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or doesn't exist.\n"
        "([Errno 13] could not open port /dev/ttyUSB0: [Errno 13] Permission denied)\n",
        2,
        "may not open the serial port",
        "dialout",
    ),
    "esptool: no port": Complaint(
        "A fatal error occurred: Could not open /dev/ttyNONE, the port is busy or doesn't exist.\n"
        "([Errno 2] could not open port: [Errno 2] No such file or directory: '/dev/ttyNONE')\n",
        2,
        "not there",
        "--port",
    ),
    "esptool: busy": Complaint(
        "A fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or doesn't exist.\n"
        "([Errno 11] Could not exclusively lock port: Resource temporarily unavailable)\n",
        2,
        "another program",
        "monitors",
    ),
    "esptool: boot mode": Complaint(
        "A fatal error occurred: Failed to connect to ESP32-C3: Wrong boot mode detected (0x13)! The "
        "chip needs to be in download mode.\n",
        2,
        "not in its boot loader",
        "Hold BOOT",
    ),
    "esptool: silent": Complaint(
        "Connecting......\nA fatal error occurred: Failed to connect to ESP32-C3: No serial data received.\n",
        2,
        "not in its boot loader",
        "BOOT",
    ),
    "esptool: other chip": Complaint(
        "A fatal error occurred: This chip is ESP32-S3, not ESP32-C3. Wrong chip argument?\n",
        2,
        "another chip",
        "right board",
    ),
    "esptool: verify": Complaint(
        "A fatal error occurred: MD5 of file does not match data in flash!\n",
        2,
        "something else",
        "cable",
    ),
    "platformio: offline": Complaint(
        "Error: You are not connected to the Internet.\nInternetConnectionError\n",
        1,
        "cannot fetch",
        "internet",
    ),
    "platformio: openocd": Complaint(
        "Error: open failed\n*** [upload] Error 1\n",
        1,
        "no debug probe",
        "Plug",
    ),
    "platformio: port": Complaint(
        "Error: Please specify `upload_port` for environment or use global `--upload-port` option.\n",
        1,
        "does not find",
        "--port",
    ),
    "st-flash: something new": Complaint(
        "out of cheese\n",
        3,
        "exit status 3): out of cheese",
        "st-flash --reset",
    ),
    "st-flash: nothing at all": Complaint(
        "",
        3,
        "it said nothing",
        "by hand",
    ),
}
