"""LiteRT in a process of its own, which may crash, hang or eat memory without harm to the caller."""

from __future__ import annotations

import multiprocessing
import os
import resource
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import numpy as np

from tests.support.model_files import with_first_versions

_MEMORY = 6 << 30
"""Address space of the process."""

_REFUSALS = (RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
_UNREGISTERED = "Didn't find op for builtin opcode"


@dataclass(frozen=True)
class Run:
    """What LiteRT made of a model.

    Attributes:
        refusal: its message; "" where it ran.
        inputs, outputs: of each invocation, in the model's order.
    """

    refusal: str
    inputs: list[list[np.ndarray]]
    outputs: list[list[np.ndarray]]


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return rng.normal(0, 3, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def _run(content: bytes, seed: int, steps: int) -> Run:
    from ai_edge_litert.interpreter import OpResolverType

    try:
        return _invoked(content, seed, steps, OpResolverType.BUILTIN_REF)
    except _REFUSALS as error:
        if _UNREGISTERED not in str(error):
            return Run(f"{error}" or type(error).__name__, [], [])
    # The reference kernels are registered for fewer operators and versions than those that LiteRT runs by default.
    others = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        _invoked(content, seed, 0, others)
        try:
            return _invoked(with_first_versions(content), seed, steps, OpResolverType.BUILTIN_REF)
        except _REFUSALS as error:
            if _UNREGISTERED not in str(error):
                raise
            return _invoked(content, seed, steps, others)
    except _REFUSALS as error:
        return Run(f"{error}" or type(error).__name__, [], [])


def _invoked(content: bytes, seed: int, steps: int, kernels: object) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels, num_threads=1)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(seed)
    run = Run("", [], [])
    for _ in range(steps):
        details = interpreter.get_input_details()
        sample = [_random(rng, tuple(d["shape"]), np.dtype(d["dtype"])) for d in details]
        for detail, value in zip(details, sample, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        run.inputs.append(sample)
        run.outputs.append([interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()])
    return run


def serve(pipe: Connection) -> None:
    """The process: a model, a seed and a number of steps in, a `Run` out, until the other end is closed."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            content, seed, steps = pipe.recv()
        except EOFError:
            return
        pipe.send(_run(content, seed, steps))


class Worker:
    """Runs models one after the other; a process that dies or hangs is replaced.

    Args:
        seconds: the longest that a model may take.
    """

    def __init__(self, seconds: float = 30.0) -> None:
        self._context = multiprocessing.get_context("forkserver")
        # A new process is there at once: it is forked from one that has imported LiteRT.
        modules = ["__main__", "ai_edge_litert.interpreter", "tests.support.litert_worker"]
        self._context.set_forkserver_preload(modules)
        self._seconds = seconds
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, content: bytes, seed: int, steps: int = 2) -> Run:
        """Builds the model and invokes it, with random inputs. What crashes LiteRT, it refuses."""
        self._pipe.send((content, seed, steps))
        try:
            if self._pipe.poll(self._seconds):
                result: Run = self._pipe.recv()
                return result
            return self._replaced("hangs")
        except (EOFError, ConnectionResetError):
            return self._replaced("crashes")

    def _replaced(self, how: str) -> Run:
        self._process.kill()
        self._process.join()
        code = self._process.exitcode
        self._pipe.close()
        self._start()
        return Run(f"{how} ({code})", [], [])

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(1)
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
