"""A PyTorch module to a Graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.export import ExportedProgram

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.aten.layout import NCHW, NHWC
from tinygen.frontends.names import check_c_name
from tinygen.frontends.ptq.calibrate import Sample
from tinygen.frontends.ptq.model import FloatModel
from tinygen.frontends.ptq.options import QuantizeOptions
from tinygen.frontends.ptq.quantize import quantize
from tinygen.frontends.ptq.simplify import simplify_float
from tinygen.frontends.torch.aten import read_program
from tinygen.frontends.torch_nn import is_quantized, read_quantized, read_switches
from tinygen.ir.encodings import Plain
from tinygen.ir.graph import Graph
from tinygen.ir.network import Network
from tinygen.nn.pruned import bake_masks, copy_network, is_pruned
from tinygen.nn.switchable import SwitchSpec, is_switchable
from tinygen.passes.dependence import dead_outputs

Array: TypeAlias = "torch.Tensor | np.ndarray"
Calibration: TypeAlias = "Array | Iterable[Any]"
_ARRAYS = (torch.Tensor, np.ndarray)


def export(
    module: torch.nn.Module | ExportedProgram,
    example_input: Array | Sequence[Array] | None = None,
    calibration: Calibration | None = None,
    *,
    name: str = "model",
    options: QuantizeOptions | None = None,
    float32: bool = False,
) -> Graph:
    """The Graph of a module, for `tinygen.save`, or for building through `MemoryModel`.

    A float module becomes int8 by TFLite's rules, calibrated on the inputs given. A module that torchao's PT2E flow has
    quantized keeps its scales and zero points, one made of tinygen.nn's layers all its encodings. Images are NCHW for
    the module and NHWC on the board: inputs and outputs with four dimensions are transposed, all others keep their
    order. Weights that torch.nn.utils.prune masks are zeros.

    Args:
        module: traced in evaluation mode; or what torch.export has made of one.
        example_input: one tensor, or one per input, of the shapes that the board will see; of a batch the first sample
            counts. Not needed with an ExportedProgram.
        calibration: representative inputs in batches of any size: an array; a tuple of arrays, one per input, for
            several inputs; or an iterable of batches (a DataLoader; labels after the inputs in a batch are ignored).
        name: C identifier.
        options: how to calibrate.
        float32: keep the network in float, for boards with an FPU.

    Raises:
        UnsupportedError: the module uses an operator that tinygen lacks; names operator and module.
        ModelError: an output does not depend on the input, for example since all of a layer is pruned; names the layer.
        TinygenError: calibration is missing, or does not fit the inputs.
    """
    check_c_name(name)
    if isinstance(module, torch.nn.Module) and is_switchable(module):
        raise UnsupportedError(
            "has several switches",
            where=type(module).__name__,
            fix="tinygen.export_switches gives all of them, tinygen.nn.switchable.extract the module of one.",
        )
    if isinstance(module, torch.nn.Module) and is_quantized(module):
        return _alive(_low_bit(module, example_input, calibration is not None or float32, name))
    program = module if isinstance(module, ExportedProgram) else traced(without_masks(module), example_input)
    model = read_program(program, name)
    if float32:
        return _alive(_float_graph(model, calibration))
    return _alive(quantize(model, None if calibration is None else samples_of(calibration, model.graph), options))


def _alive(graph: Graph) -> Graph:
    """Checks that every output computed from the inputs depends on them; returns the graph."""
    for dead in dead_outputs(graph):
        if dead.op is not None:
            raise ModelError(
                str(dead),
                where=graph.name,
                fix=f"Prune less of '{dead.op}' (pruning by magnitude and by chance leaves every filter a connection "
                "unless empty_filters=True), or train on."
                if dead.zeros
                else f"Train on, or calibrate it with inputs like those it will see: '{dead.op}' saturates.",
            )
    return graph


def without_masks(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the masks of torch.nn.utils.prune applied; torch.export would keep them as operators."""
    if not is_pruned(module):
        return module
    module = copy_network(module)
    bake_masks(module)
    return module


def export_switches(
    module: torch.nn.Module,
    example_input: Array | Sequence[Array],
    *,
    name: str = "model",
    switches: Sequence[SwitchSpec | str] | None = None,
) -> Network:
    """The Network of a module made by `tinygen.nn.switchable`: one graph per switch, all of the same input.

    Args:
        module: trained, or its quantizers calibrated, in every switch; read in evaluation mode.
        example_input: of the shape that the board will see; of a batch the first sample counts.
        name: C identifier.
        switches: to export, in this order; a board starts with the first. None: all but float ones.

    Raises:
        UnsupportedError: the module is not switchable, lacks a switch, or uses an unsupported module or function.
        ModelError: a quantizer has seen no data, the module does not accept the example, or a switch's output does not
            depend on its input.
    """
    check_c_name(name)
    inputs = _examples(example_input)
    if len(inputs) != 1:
        raise UnsupportedError(f"{len(inputs)} inputs of a switchable module", where=type(module).__name__)
    network = read_switches(module, inputs[0], name, switches)
    for switch in network:
        try:
            _alive(switch.graph)
        except ModelError as error:
            error.where = f"switch {switch.name}, {error.where}"
            raise
    return network


def _low_bit(
    module: torch.nn.Module, example_input: Array | Sequence[Array] | None, otherwise: bool, name: str
) -> Graph:
    """The integer graph of a module made of tinygen.nn's layers."""
    if otherwise:
        raise TinygenError(
            "its tinygen.nn layers are quantized already",
            where=type(module).__name__,
            fix="Leave out calibration and float32; tinygen.nn.calibrate sets ranges that training has not.",
        )
    inputs = _examples(example_input)
    if len(inputs) != 1:
        raise UnsupportedError(f"{len(inputs)} inputs of a module of tinygen.nn layers", where=type(module).__name__)
    return read_quantized(module, inputs[0], name)


def _float_graph(model: FloatModel, calibration: Calibration | None) -> Graph:
    if calibration is not None or model.is_quantized:
        raise TinygenError("float32 is for float modules, without calibration", where=model.graph.name)
    graph = simplify_float(model).graph
    graph.validate()
    return graph


def traced(module: torch.nn.Module, example_input: Array | Sequence[Array] | None) -> ExportedProgram:
    first = tuple(_examples(example_input))
    with evaluating(module), torch.no_grad(), warnings.catch_warnings():
        # A recurrent layer lists its weights anew when it is traced, which changes nothing.
        warnings.filterwarnings(
            "ignore", message=r".*_flat_weights.* were assigned during export", category=UserWarning
        )
        try:
            return torch.export.export(module, first)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            raise UnsupportedError(
                f"torch.export cannot trace it ({first_line})",
                where=type(module).__name__,
                fix="The module must run on the example input, and its control flow must not depend on values.",
            ) from error


def _examples(example_input: Array | Sequence[Array] | None) -> list[torch.Tensor]:
    """One sample per input."""
    if example_input is None:
        raise TinygenError("an example of the module's input is missing", fix="Give example_input.")
    inputs = [example_input] if isinstance(example_input, _ARRAYS) else list(example_input)
    return [torch.as_tensor(x)[:1] for x in inputs]


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """A context in evaluation mode; without eval(), which graph modules made by torch.export forbid and do not need."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def samples_of(calibration: Calibration, graph: Graph, what: str = "calibration") -> list[Sample]:
    """Samples as the graph takes them.

    Args:
        calibration: see `export`.
        graph: the samples are for its inputs.
        what: the samples' name in errors.

    Raises:
        TinygenError: the samples do not fit the inputs.
    """
    count = len(graph.inputs)
    if isinstance(calibration, _ARRAYS):
        batches: Iterable[Any] = [[calibration]]
    elif isinstance(calibration, tuple) and count > 1:
        batches = [calibration]
    else:
        batches = calibration
    samples: list[Sample] = []
    for batch in batches:
        arrays = [batch] if isinstance(batch, _ARRAYS) else list(batch)
        samples += _rows([np.asarray(array) for array in arrays[:count]], graph, what)
    if not samples:
        raise TinygenError(f"there are no {what} samples", where=graph.name, fix="Give at least one input.")
    return samples


def is_plain(graph: Graph, name: str) -> bool:
    """Whether a tensor's codes stand for themselves: positions, conditions."""
    return isinstance(graph.tensors[name].encoding, Plain)


def _rows(arrays: Sequence[np.ndarray], graph: Graph, what: str) -> list[Sample]:
    if len(arrays) != len(graph.inputs):
        raise TinygenError(f"{what} has {len(arrays)} arrays for {len(graph.inputs)} inputs", where=graph.name)
    stored = []
    for name, array in zip(graph.inputs, arrays, strict=True):
        shape = graph.tensors[name].shape
        given = array.transpose(NHWC) if array.ndim == 4 else array
        if given.shape[1:] != shape[1:] or len(given) != len(arrays[0]):
            wanted = ["N", *(shape[i] for i in NCHW[1:])] if len(shape) == 4 else ["N", *shape[1:]]
            raise TinygenError(f"{what} has shape {list(array.shape)}, not {wanted}", where=f"input '{name}'")
        stored.append(given.astype(graph.tensors[name].dtype if is_plain(graph, name) else np.float32))
    return [[array[index : index + 1] for array in stored] for index in range(len(arrays[0]))]
