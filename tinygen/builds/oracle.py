"""LiteRT as the external oracle: the interpreter that the model was made for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.builds.oracle_names import Oracle
from tinygen.errors import ModelError, TinygenError
from tinygen.ir.graph import Graph


class LiteRt:
    """A model in LiteRT's interpreter.

    Args:
        path: the .tflite file.
        oracle: which kernels compute.
        in_float: widen the integer weights of layers of float activations.
        keep: keep every intermediate tensor readable (slower; not possible with XNNPACK, which fuses).

    Attributes:
        notes: what the interpreter is given in place of parts of the file.

    Raises:
        TinygenError: ai-edge-litert is not installed.
        ModelError: LiteRT refuses the model.
    """

    def __init__(self, path: Path, oracle: Oracle = Oracle.REF, *, in_float: bool = False, keep: bool = False) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType

            from tinygen.builds.litert_content import for_litert
        except ImportError as error:
            raise TinygenError(
                "LiteRT is not installed, so there is nothing to compare with", fix="pip install 'tinygen[litert]'"
            ) from error
        resolver = {
            Oracle.REF: OpResolverType.BUILTIN_REF,
            Oracle.OPTIMIZED: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            Oracle.XNNPACK: OpResolverType.BUILTIN,
        }[oracle]
        self._path = path
        content, self.notes = for_litert(path.read_bytes(), in_float=in_float)
        self._make = partial(
            Interpreter,
            model_content=content,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=keep,
            num_threads=1,
        )
        self.name = f"litert-{oracle}"
        self._stepped = False
        self._begin()

    def _begin(self) -> None:
        try:
            self._interpreter: Any = self._make()
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT refuses this model ({error})", where=str(self._path)) from error

    def step(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes of each model output for one sample; LiteRT keeps variables from one to the next.

        Raises:
            TinygenError: LiteRT ends the inference with an error.
        """
        self._stepped = True
        for detail, value in zip(self._interpreter.get_input_details(), sample, strict=True):
            self._interpreter.set_tensor(detail["index"], value.reshape(detail["shape"]))
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            reason = str(error).replace("Node number", "; node number")
            raise TinygenError(
                f"LiteRT ends an inference with an error ({reason})",
                where=str(self._path),
                fix="Give inputs that the model takes: indices within their tables, no divisor that is 0.",
            ) from error
        details = self._interpreter.get_output_details()
        return [self._interpreter.get_tensor(detail["index"]).copy() for detail in details]

    def reset(self) -> None:
        """Resets the states: the next step is the first."""
        # LiteRT's own reset sets variables to zero and does not run their initialisation again.
        if self._stepped:
            self._begin()
            self._stepped = False

    def infer(self, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same; of a model with variables, only the first is an inference from the beginning."""
        return self.step(sample)

    def intermediate(self, graph: Graph, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Codes of named tensors after `infer`; those LiteRT does not have, or no longer holds, are left out.

        Args:
            graph: as read from the same file, before any pass: its tensors are in the file's order, and behind them
                those between the operators that one of the file has become.
            names: the tensors wanted.
        """
        # Behind the tensors of the file LiteRT has its kernels' own, which have no names.
        named = {detail["index"]: detail["name"] for detail in self._interpreter.get_tensor_details()}
        index = {
            name: position
            for position, name in enumerate(graph.tensors)
            if named.get(position) or name == f"tensor_{position}"
        }
        found = {}
        for name in names:
            try:
                value = self._interpreter.get_tensor(index[name]).copy()
            except (ValueError, KeyError):
                continue
            # Between layers, the graph's codes of uint8 tensors are int8.
            moved = value.dtype == np.uint8 and graph.tensors[name].dtype == np.int8
            found[name] = (value ^ 0x80).view(np.int8) if moved else value
        return found
