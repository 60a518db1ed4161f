"""Runs a host build on this computer, to check that it answers."""

from __future__ import annotations

from pathlib import Path

from tinygen.errors import DeviceError
from tinygen.hil.client import DeviceClient
from tinygen.hil.transports import ProcessTransport


def run_once(program: Path, build_id: str) -> int:
    """Runs a host build: one inference on zeros. Returns the number of outputs.

    Raises:
        DeviceError: it does not answer, or is another model.
    """
    client = DeviceClient(ProcessTransport([str(program)]), nonce=0)
    try:
        client.wait_for_boot()
        info = client.info()
        if info.build != build_id:
            raise DeviceError(f"runs build {info.build}, not {build_id}", where=str(program))
        for index, size in enumerate(info.inputs):
            client.load(index, bytes(size))
        client.run()
        return sum(len(client.read(index)) == size for index, size in enumerate(info.outputs))
    finally:
        client.close()
