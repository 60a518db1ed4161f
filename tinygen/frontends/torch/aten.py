"""ExportedProgram to float graph: walks the ATen graph, node by node."""

from __future__ import annotations

import importlib
import operator
import pkgutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from tinygen.errors import ModelError, TinygenError, UnsupportedError
from tinygen.frontends.aten import operators
from tinygen.frontends.aten.builder import Builder, Constant, Value
from tinygen.frontends.aten.layout import NHWC
from tinygen.frontends.aten.operators.quantized import encoding_of
from tinygen.frontends.aten.registry import CONVERTERS, Call
from tinygen.frontends.ptq.model import FloatModel
from tinygen.ir.encodings import Encoding, Float32, Plain
from tinygen.ir.graph import Graph

for _module in pkgutil.iter_modules(operators.__path__):
    importlib.import_module(f"{operators.__name__}.{_module.name}")

_INPUTS: dict[torch.dtype, Encoding] = {
    **dict.fromkeys((torch.float32, torch.float16, torch.bfloat16, torch.float64), Float32()),
    **dict.fromkeys((torch.int64, torch.int32), Plain("int32")),
    torch.uint8: Plain("uint8"),
    torch.int8: Plain("int8"),
    torch.int16: Plain("int16"),
    torch.bool: Plain("bool"),
}
"""How inputs are stored; 64-bit positions have 32."""
_SHAPED = {f"aten.{name}" for name in ("new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")}
"""Operators that look at the shape of what they read, not at its elements."""
_LEAVES = ("torch.nn.", "torch.ao.nn.")
"""Modules of these packages give their whole operator its name."""


def read_program(program: ExportedProgram, name: str) -> FloatModel:
    """The float graph of an exported program.

    Args:
        program: of a module in evaluation mode, batch 1.
        name: C identifier.

    Raises:
        UnsupportedError: tinygen lacks an operator, or this use of it; the error names operator and module.
    """
    with warnings.catch_warnings():
        # torch 2.13 warns of its own deprecated class when it copies a program.
        warnings.filterwarnings("ignore", message=r".*treespec, LeafSpec", category=FutureWarning)
        # An empty table of decompositions: in-place operators become pure ones, the others stay whole.
        pure = program.run_decompositions({})
    return _Reader(pure, name).read()


def _graph(name: str, build: Builder, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
    """The graph that has been built, without operators and tensors that no output needs."""
    used, ops = {*inputs, *outputs}, []
    for op in reversed(build.ops):
        if used.intersection(op.outputs):
            used.update((*op.inputs, *op.outputs))
            ops.append(op)
    tensors = {key: tensor for key, tensor in build.tensors.items() if key in used}
    return Graph(name, tensors, tuple(reversed(ops)), tuple(inputs), tuple(outputs))


class _Walk:
    """Walks over the nodes of an ATen graph.

    Args:
        module: holds the graph and the graphs of its branches.
        build: collects the operators.
    """

    def __init__(self, module: torch.fx.GraphModule) -> None:
        self.module = module
        self.build = Builder()
        self.values: dict[Node, Any] = {}

    def walk(self) -> Node:
        """Converts every operator; returns the node of the outputs."""
        for node in self.module.graph.nodes:
            if node.op == "call_function":
                self.values[node] = self._node(node)
            elif node.op == "output":
                break
        return node

    def _node(self, node: Node) -> Any:
        if node.target is operator.getitem:
            return self._get(node.args[0])[node.args[1]]
        if str(node.target).startswith("aten._assert"):
            # Assertions of tracing about types and sizes, which are fixed here.
            return None
        if node.target is torch.ops.higher_order.cond:
            return self._cond(node)
        target = str(node.target).rpartition(".")[0]
        if target in _SHAPED or not any(self._depends(other) for other in node.all_input_nodes):
            return self._computed(node)
        call = self._call(node, target)
        if target not in CONVERTERS:
            known = ", ".join(sorted(name.removeprefix("aten.") for name in CONVERTERS))
            raise UnsupportedError(f"{node.target} is not supported", where=call.where, fix=f"Supported: {known}.")
        try:
            return CONVERTERS[target](call)
        except TinygenError:
            raise
        except (IndexError, KeyError, ValueError, TypeError, AssertionError) as error:
            raise UnsupportedError(f"is used in a way that is not supported ({error})", where=call.where) from error

    def _cond(self, node: Node) -> list[Any]:
        """torch.cond as a branch operator: index 0 is false, 1 is true."""
        where, label = _names(node)
        condition, true, false, operands = node.args
        graphs = [self.module.get_submodule(str(branch.target)) for branch in (false, true)]
        flag = self._get(condition)
        if not isinstance(flag, Value):
            raise UnsupportedError(
                "its condition is known when it is exported", where=where, fix="Export the branch that is meant alone."
            )
        given = [self.values[operand] if isinstance(operand, Node) else operand for operand in operands]
        walks = [_BranchWalk(graph, given, self.build, where) for graph in graphs]
        branches = [walk.read(f"{label}_{number}") for number, walk in enumerate(walks)]
        self.build.label = label
        names = self.build.branch(flag.tensor, walks[0].captured, branches)
        return [self.build.fresh(name, walks[0].orders[i]) for i, name in enumerate(names)]

    def _depends(self, node: Node) -> bool:
        value = self.values[node]
        return any(isinstance(item, Value) for item in (value if isinstance(value, list) else [value]))

    def _computed(self, node: Node) -> Any:
        """Evaluates a node that does not depend on the input, with torch."""
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: _plain(self.values[n]))
        result = node.target(*args, **kwargs)
        target = str(node.target)
        if target.startswith("quantized_decomposed.dequantize") and isinstance(result, torch.Tensor):
            call = self._call(node, target.rpartition(".")[0])
            return Constant(_array(result), encoding_of(call))
        return result

    def _get(self, argument: Any) -> Any:
        """An argument with nodes replaced by their values, and tensors by constants."""
        if isinstance(argument, Node):
            value = self.values[argument]
            return Constant(_array(value)) if isinstance(value, torch.Tensor) else value
        if isinstance(argument, list | tuple):
            return [self._get(item) for item in argument]
        return argument

    def _is_read_once(self, node: Node | None) -> bool:
        """Whether nothing but one reader sees the elements of a node's value, be it through other views of them."""
        while node is not None and len(node.users) == 1:
            before, value = next(iter(node.all_input_nodes), None), self.values[node]
            viewed = self.values.get(before) if before is not None else None
            if not (isinstance(value, Value) and isinstance(viewed, Value) and viewed.tensor == value.tensor):
                return True
            node = before
        return False

    def _call(self, node: Node, target: str) -> Call:
        where, self.build.label = _names(node)
        schema = node.target._schema.arguments
        arguments = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
        arguments |= {argument.name: self._get(given) for argument, given in zip(schema, node.args, strict=False)}
        arguments |= {name: self._get(given) for name, given in node.kwargs.items()}
        value = node.meta.get("val")
        results = value if isinstance(value, list | tuple) else [value]
        shapes = [tuple(v.shape) for v in results if isinstance(v, torch.Tensor)]
        if not all(isinstance(size, int) for shape in shapes for size in shape):
            raise UnsupportedError("its result's shape depends on values", where=where)
        return Call(
            target,
            where,
            arguments,
            tuple(shapes),
            self._is_read_once(next(iter(node.all_input_nodes), None)),
            self.build,
            frozenset(str(user.target).rpartition(".")[0] for user in node.users),
            frozenset(user.args[1] for user in node.users if user.target is operator.getitem),
        )


class _BranchWalk(_Walk):
    """One branch of torch.cond.

    Args:
        module: the branch's graph, which takes all operands.
        given: the operands: values of the outer graph, tensors, numbers.
        outside: builder of the outer graph.

    Attributes:
        captured: names, in the outer graph, of the tensors that the branch takes.
        orders: of the outputs' dimensions.
    """

    def __init__(self, module: torch.nn.Module, given: Sequence[Any], outside: Builder, where: str) -> None:
        assert isinstance(module, torch.fx.GraphModule)
        super().__init__(module)
        self.where = where
        self.inputs: list[str] = []
        self.captured: list[str] = []
        self.orders: list[Sequence[int]] = []
        nodes = [node for node in module.graph.nodes if node.op == "placeholder"]
        for node, value in zip(nodes, given, strict=True):
            self.values[node] = self._taken(value, outside) if isinstance(value, Value) else value

    def _taken(self, value: Value, outside: Builder) -> Value:
        tensor = outside.tensors[value.tensor]
        if value.tensor not in self.captured:
            name = self.build.unique(value.tensor)
            self.build.tensors[name] = replace(tensor, name=name)
            self.captured.append(value.tensor)
            self.inputs.append(name)
        return Value(self.inputs[self.captured.index(value.tensor)], value.layout)

    def read(self, name: str) -> Graph:
        outputs = []
        for argument in self.walk().args[0]:
            value = self.values.get(argument)
            if not isinstance(value, Value):
                raise UnsupportedError("a branch gives what does not depend on the input", where=self.where)
            rank = len(value.shape)
            self.orders.append(NHWC if rank == 4 else range(rank))
            outputs.append(self.build.stored(value, self.orders[-1]))
        if self.build.quantized or self.build.weights:
            fix = "Quantize the float module: tinygen.export(module, example, calibration)."
            raise UnsupportedError("branches that torchao has quantized are not read", where=self.where, fix=fix)
        return _graph(name, self.build, self.inputs, outputs)


class _Reader(_Walk):
    """A whole program."""

    def __init__(self, program: ExportedProgram, name: str) -> None:
        super().__init__(program.graph_module)
        self.program, self.name = program, name

    def read(self) -> FloatModel:
        inputs = self._inputs()
        outputs = self._outputs(self.walk())
        graph = _graph(self.name, self.build, inputs, outputs)
        return FloatModel(graph, self.build.quantized, self.build.weights)

    def _inputs(self) -> list[str]:
        """Adds parameters, buffers and inputs; returns the names of the inputs."""
        nodes = {node.name: node for node in self.program.graph.nodes if node.op == "placeholder"}
        inputs = []
        for spec in self.program.graph_signature.input_specs:
            node = nodes[spec.arg.name]
            if spec.kind != InputKind.USER_INPUT:
                self.values[node] = self._stored(str(spec.target), node.name)
                continue
            example = node.meta.get("val")
            if not isinstance(example, torch.Tensor):
                self.values[node] = example
                continue
            where = f"input '{node.name}'"
            encoding = _INPUTS.get(example.dtype)
            if encoding is None:
                raise UnsupportedError(f"inputs of type {example.dtype} are not supported", where=where)
            shape = tuple(example.shape)
            if not all(isinstance(size, int) for size in shape) or not shape or shape[0] != 1:
                raise UnsupportedError(
                    f"has shape {[str(size) for size in shape]}", where=where, fix="Export with a batch of 1, fixed."
                )
            value = self.build.input(node.name, shape, encoding)
            self.values[node] = value
            inputs.append(value.tensor)
        return inputs

    def _stored(self, target: str, name: str) -> torch.Tensor:
        for where in (self.program.state_dict, self.program.constants):
            found = where.get(target)
            if isinstance(found, torch.Tensor):
                return found.detach()
        raise ModelError("has no value", where=f"'{target or name}'")

    def _outputs(self, node: Node) -> list[str]:
        names = []
        specs = self.program.graph_signature.output_specs
        for spec, argument in zip(specs, node.args[0], strict=True):
            if spec.kind != OutputKind.USER_OUTPUT:
                raise UnsupportedError(f"changes '{spec.target}' when it runs", where="output")
            value = self.values.get(argument)
            if not isinstance(value, Value):
                raise UnsupportedError("an output does not depend on the input", where=f"output '{argument}'")
            self.build.label = "output"
            rank = len(value.shape)
            tensor = self.build.stored(value, NHWC if rank == 4 else range(rank))
            if tensor in names or self.build.producer(tensor) is None:
                raise UnsupportedError("is given twice, or is an input", where=f"output '{argument}'")
            names.append(tensor)
        return names


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return torch.zeros(value.shape)
    return torch.from_numpy(value.array) if isinstance(value, Constant) else value


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()


def _names(node: Node) -> tuple[str, str]:
    """(location of the node for messages, base of the names of its operators and tensors)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    path = path.removeprefix("L['self'].")
    where = f"{path or 'model'} ({node.target})"
    if path and kind.startswith(_LEAVES):
        return where, path
    return where, f"{path}_{node.name}" if path else node.name
