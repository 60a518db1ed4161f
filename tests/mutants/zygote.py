"""A process that has imported what tests import from outside, and forks for each run of pytest: imports cost seconds.

It is started as a file, so that nothing of tinygen or of its tests is imported before a copy's own. It reads one run a
line as JSON, {"copy": folder, "arguments": [...], "environment": {...}, "seconds": limit}, and answers each with a
line, {"status": of pytest or null, "output": text}. Packages that start threads (onnxruntime) are not among them.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import time

OUTSIDE = (
    "pytest",
    "hypothesis",
    "numpy",
    "jinja2",
    "yaml",
    "rich.console",
    "typer.testing",
    "serial",
    "tflite",
    "flatbuffers",
    "ai_edge_litert.interpreter",
    "ai_edge_litert.schema_py_generated",
    "elftools.elf.elffile",
    "unicorn",
    "capstone",
    "torch",
    "torch.fx",
    "torch.nn.utils.prune",
    "onnx",
    "scipy.sparse.csgraph",
    "scipy.spatial.distance",
    "torch_pruning",
)


def _in_child(run: dict, output: int) -> int:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(run["copy"])
    os.environ.update(run["environment"])
    sys.dont_write_bytecode = bool(os.environ["PYTHONDONTWRITEBYTECODE"])
    sys.path[:] = [run["copy"], *(path for path in sys.path if path != os.path.dirname(__file__))]
    sys.argv = ["pytest", *run["arguments"]]
    return int(importlib.import_module("pytest").main(run["arguments"]))


def _wait(child: int, seconds: float) -> int | None:
    """The child's exit status; None where it takes longer and is killed, with all that it has started."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> int:
    for name in OUTSIDE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        run = json.loads(line)
        with tempfile.TemporaryFile() as output:
            sys.stdout.flush()
            child = os.fork()
            if not child:
                return _in_child(run, output.fileno())
            status = _wait(child, run["seconds"])
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        print(json.dumps({"status": status, "output": text}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
