"""The wire between two UARTs: the bytes that the far end receives when the two rates differ."""

from __future__ import annotations

TOLERANCE = 0.02
# Rates that serial ports of computers offer and that firmware is written for.
USUAL_RATES = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
_FRAME = 10  # bits: start, 8 of data, stop


def agree(one: float, other: float) -> bool:
    """Whether two UARTs at these rates, in baud, can communicate."""
    return abs(one - other) <= TOLERANCE * other


def arriving(byte: int, sent_at: float, read_at: float) -> bytes:
    """The bytes that a receiver at `read_at` baud gets for one byte sent at `sent_at`, on a line idle before and after.

    It waits for a falling edge, samples in the middle of the start bit and of every data bit, and waits for the next
    edge from the middle of the stop bit on. A low stop bit does not discard the byte.
    """
    if agree(sent_at, read_at):
        return bytes([byte])
    bits = [0, *(byte >> bit & 1 for bit in range(8)), 1]
    edges = [index for index, bit in enumerate(bits) if bit == 0 and (index == 0 or bits[index - 1] == 1)]
    step = sent_at / read_at  # bits of the sender per bit of the receiver
    taken, listens_from = bytearray(), 0.0
    for edge in edges:
        if edge < listens_from:
            continue
        places = [edge + step * (0.5 + bit) for bit in range(_FRAME)]
        levels = [bits[int(place)] if place < _FRAME else 1 for place in places]
        if levels[0]:
            continue  # a glitch, not a start bit
        taken.append(sum(level << bit for bit, level in enumerate(levels[1:9])))
        listens_from = places[-1]
    return bytes(taken)
