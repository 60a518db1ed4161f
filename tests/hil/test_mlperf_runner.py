"""MLPerf Tiny's public runner itself (github.com/mlcommons/tiny, benchmark/runner), unchanged, and an emulated board.

It is not on PyPI: TINYGEN_MLPERF_RUNNER names its folder. USB is a double: it has the serial
ports of this test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hil.runner_doubles import MICROJOULES_PER_SAMPLE, Interface, Monitor, usb
from tests.support.models import KWS, KWS_INPUTS, needs_models
from tests.targets.tools import requires_package
from tinygen.audio.log_mel_config import STREAMING_WAKE_WORD
from tinygen.hil.client import DeviceClient
from tinygen.project.choices import Mode
from tinygen.project.wakeword_json import read_app
from tinygen.targets.boards import load_board
from tinygen.targets.cycles import board_cost
from tinygen.targets.emulator import EmulatedBoard
from tinygen.targets.emulator.counting import Watch
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.device import serve

RUNNER = os.environ.get("TINYGEN_MLPERF_RUNNER", "")
CLASSES = 12

# Runs main.py with these ports on USB. In performance mode 10 seconds must pass, which are 0.1 of this clock's; where
# a file is played, the runner is patient: an emulated board may take longer than the file.
LAUNCHER = """
import json, queue, runpy, sys, time, types
from serial.tools import list_ports
ports, runner, speed = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])
list_ports.comports = lambda *_: [types.SimpleNamespace(**port) for port in ports]
usb = types.ModuleType("usb")
usb.core = types.ModuleType("usb.core")
usb.core.find = lambda **_: []
sys.modules.update({"usb": usb, "usb.core": usb.core})
real = time.time
time.time = lambda: speed * real()
queue.time = lambda: min(speed, 1.0) * time.monotonic()
sys.argv = ["main.py", *sys.argv[4:]]
sys.path.insert(0, runner)
runpy.run_path(runner + "/main.py", run_name="__main__")
"""
DEVICES = """
- {name: stm32h573i-dk, type: interface, baud: 115200, usb: {0x0483: 0x374E}}
- {name: lpm01a, type: power, baud: 115200, voltage: 3.3, usb: {0x0483: 0x5740}}
- name: board
  type: dut
  baud: {energy: 9600, performance: 115200, accuracy: 115200}
  usb:
    0x0483: 0x374B
"""
SCRIPT = """
kws01:
  name: keyword_spotting
  model: kws01
  truth_file: y_labels.csv
  script:
    - loop COUNT:
      - download
      - infer INFER
"""

STREAM = """
sww01:
  name: streaming_wakeword
  model: sww01
  truth_file: sww_short_test.json
  script:
    - stream
"""

pytestmark = [
    pytest.mark.long,
    needs_models,
    requires_package("unicorn"),
    pytest.mark.skipif(not RUNNER, reason="TINYGEN_MLPERF_RUNNER does not name benchmark/runner of mlcommons/tiny"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(KWS, tmp_path_factory.mktemp("kws") / "kws", BuildOptions(board="f746zg"), profile=False).folder


@pytest.fixture
def labels(tmp_path: Path) -> list[int]:
    """Of the data set that it writes: one file of each class, as the runner wants for its figures."""
    with np.load(KWS_INPUTS) as data:
        x, y = data["x"], data["y"].astype(int)
    chosen = [int(np.flatnonzero(y == label)[0]) for label in range(CLASSES)]
    kws = tmp_path / "datasets" / "kws01"
    kws.mkdir(parents=True)
    for index in chosen:
        (kws / f"{index}.bin").write_bytes(x[index].astype(np.int8).tobytes())
    (kws / "y_labels.csv").write_text("".join(f"{i}.bin,{CLASSES},{y[i]}\n" for i in chosen))
    return [int(y[i]) for i in chosen]


def run(ports: list[dict[str, Any]], work: Path, mode: str, script: str, speed: float = 1.0) -> str:
    (work / "devices.yaml").write_text(DEVICES)
    (work / "tests.yaml").write_text(script)
    options = ["-d", "devices.yaml", "-t", "tests.yaml", "-s", "datasets", "-m", mode]
    command = [sys.executable, "-c", LAUNCHER, json.dumps(ports), str(Path(RUNNER).resolve()), str(speed), *options]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_accuracy(folder: Path, tmp_path: Path, labels: list[int]) -> None:
    with serve(folder, None) as serving:
        script = SCRIPT.replace("COUNT", "12").replace("INFER", "1 0")
        said = run([usb(serving.opened.port, 0x0483, 0x374B)], tmp_path, "a", script)
    assert "Device model retrieved: kws01" in said
    results = re.findall(r"m-results +: \[([^\]]*)\]", said)
    right = sum(int(np.argmax([float(v) for v in r.split(",")])) == y for r, y in zip(results, labels, strict=True))
    assert f"Top 1% = {100 * right / CLASSES:2.1f}" in said and right >= 9


def test_performance(folder: Path, tmp_path: Path, labels: list[int]) -> None:
    """The throughput is by the board's own, predicted time."""
    with serve(folder, None) as serving:
        script = SCRIPT.replace("COUNT", "5").replace("INFER", "2 0")
        said = run([usb(serving.opened.port, 0x0483, 0x374B)], tmp_path, "p", script, speed=100.0)
    assert "ERROR" not in said
    median = re.search(r"Median throughput is +([\d.]+) inf", said)
    assert median is not None and 1 / float(median.group(1)) == pytest.approx(0.0116, rel=0.05)


@contextmanager
def wired(folder: Path, card: Path | None = None) -> Iterator[tuple[Interface, list[dict[str, Any]]]]:
    """An interface board and a power monitor, both doubles, around an emulated board in energy mode; their ports."""
    elf = folder / "firmware.elf"
    board = EmulatedBoard(load_board("f746zg"), elf, Watch(cost=board_cost(load_board("f746zg"), elf)))
    board.set_baud(9600)
    DeviceClient(board).wait_for_boot()
    monitor = Monitor(board)
    interface = Interface(board, monitor, card)
    try:
        yield interface, [usb(interface.line.port, 0x0483, 0x374E), usb(monitor.line.port, 0x0483, 0x5740)]
    finally:
        interface.line.close()
        monitor.line.close()


def test_energy(tmp_path: Path, labels: list[int]) -> None:
    """The energy is that of the samples between marks."""
    options = BuildOptions(board="f746zg", mode=Mode.ENERGY)
    folder = build(KWS, tmp_path / "energy", options, profile=False).folder
    with wired(folder) as (interface, ports):
        said = run(ports, tmp_path, "e", SCRIPT.replace("COUNT", "1").replace("INFER", "10 0"))
    assert interface.rates == [9600]
    median = re.search(r"Median energy cost is +([\d.]+) uJ/inf", said)
    assert median is not None
    assert float(median.group(1)) == pytest.approx(MICROJOULES_PER_SAMPLE * 11.6, rel=0.05)  # 11.6 ms, 1,000 a second


def test_streaming(tmp_path: Path) -> None:
    """Ten seconds in which a word is said three times: the runner's README says of the reference model that it finds
    two of them, misses one, and hears none that is not there.
    """
    benchmark = Path(RUNNER).resolve().parent
    model = benchmark / "training/streaming_wakeword/trained_models/str_ww_ref_model.tflite"
    app = read_app("wakeword", STREAMING_WAKE_WORD, model, "i2s")
    options = BuildOptions(board="f746zg", mode=Mode.ENERGY, app=app)
    folder = build(model, tmp_path / "sww", options, profile=False).folder
    card = benchmark / "runner/sww_data_dir"
    (tmp_path / "datasets/sww01").mkdir(parents=True)
    (tmp_path / "datasets/sww01/sww_short_test.json").write_bytes((card / "sww_short_test.json").read_bytes())
    with wired(folder, card) as (_, ports):
        said = run(ports, tmp_path, "e", STREAM, speed=0.1)
    assert "2 True positives, 1 False negatives, 0 False positives" in said
    assert "WARNING" not in said and "No activation data" not in said
    period, duty = (re.search(rf"Average {what}: ([\d.]+)", said) for what in ("period", "duty cycle"))
    assert period is not None and duty is not None
    assert float(period.group(1)) == pytest.approx(0.032, rel=1e-3)
    assert float(duty.group(1)) == pytest.approx(0.127, rel=0.05)
    energy = re.search(r"Total Energy +: ([\d.]+) uJ", said)
    assert energy is not None and float(energy.group(1)) == pytest.approx(MICROJOULES_PER_SAMPLE * 10_000, rel=0.05)
