"""The network's C on this computer: computes the codes of a board, for hours of sound in seconds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from tinygen.emit.model import emit_model
from tinygen.emit.templates import environment
from tinygen.errors import ToolchainError
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.lowering.network import lower_network
from tinygen.passes.pipeline import simplify_network
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_executable, find_toolchain


def build_stream(graph: Graph, folder: Path) -> Path:
    """Builds a program that reads the inputs of each step and writes its outputs; returns its path.

    Args:
        graph: with states; one input, one output.
        folder: for its C; empty or not existing.

    Raises:
        ToolchainError: there is no compiler.
    """
    program = lower_network(simplify_network(Network.of(graph)), family="compact", isa=("c99", "dsp"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in emit_model(program, graph.name).files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    main = environment().get_template("host/stream.c.j2").render(name=graph.name)
    (folder / "stream.c").write_text(main, encoding="utf-8", newline="\n")
    code = HostCode(folder, tuple(sorted(path.name for path in folder.glob("*.c"))))
    return build_executable(code, folder / "stream", find_toolchain(None, load_board("host")))


def run_stream(program: Path, graph: Graph, inputs: np.ndarray) -> np.ndarray:
    """Outputs of successive steps, from the initial states.

    Args:
        program: from `build_stream`.
        graph: from which the program was built.
        inputs: codes [steps, ...].

    Returns:
        codes [steps, ...].

    Raises:
        ToolchainError: the program failed.
    """
    (source,), (result,) = graph.inputs, graph.outputs
    x, y = graph.tensors[source], graph.tensors[result]
    given = np.ascontiguousarray(inputs, x.dtype)
    done = subprocess.run([str(program)], input=given.tobytes(), capture_output=True, check=False)
    found = np.frombuffer(done.stdout, y.dtype)
    if done.returncode or found.size != len(inputs) * y.size:
        raise ToolchainError(
            f"ended with {done.returncode} after {found.size // y.size:,} of {len(inputs):,} steps", where=str(program)
        )
    return found.reshape(len(inputs), *y.shape[1:])
