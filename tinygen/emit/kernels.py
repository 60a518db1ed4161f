"""Kernel functions and constant arrays of a network, each written once however often it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tinygen.emit.branches import OBSERVER, EmittedBranch, branch_of
from tinygen.emit.calls import Call
from tinygen.emit.ctext import array_lines, candidates, comment_safe, struct_lines
from tinygen.emit.enumerators import Enumerators
from tinygen.emit.sharing import ArrayKey, array_key, array_users
from tinygen.emit.templates import environment
from tinygen.ir.ops.base import Node
from tinygen.lowering.ctypes import ctype
from tinygen.lowering.network import NetworkProgram
from tinygen.lowering.plan import Constant, Field, KernelPlan
from tinygen.lowering.program import Step, constants_of

_LINE_WIDTH = 110


@dataclass(frozen=True)
class Function:
    """One kernel function: its name, prototype and text."""

    name: str
    prototype: str
    body: str


@dataclass(frozen=True)
class Struct:
    """The C type of a constant array's elements, where these are structs of int32_t."""

    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Array:
    """One constant array; `length` in elements of `ctype`, `bytes` its size."""

    symbol: str
    ctype: str
    length: int
    bytes: int
    comment: str
    lines: list[str]


def _wrapped(head: str, parameters: list[str]) -> str:
    """A function's head on one line, or with one parameter per line when that is too long."""
    line = f"{head}({', '.join(parameters)})"
    if len(line) <= _LINE_WIDTH:
        return line
    return f"{head}(\n    " + ",\n    ".join(parameters) + ")"


class KernelWriter:
    """Collects functions, arrays and calls while walking over the steps of a network's programs.

    Args:
        network: all switches.
        reserved: symbols of the model's own functions.
    """

    def __init__(self, network: NetworkProgram, reserved: Collection[str] = ()) -> None:
        self.model = network.name
        self.functions: dict[str, Function] = {}
        self._by_text: dict[str, Function] = {}
        self.arrays: dict[ArrayKey, Array] = {}
        self.structs: dict[tuple[Field, ...], Struct] = {}
        self.headers: set[str] = {"tinygen_math.h"}
        self.library_headers: dict[str, None] = {}
        self.arrays_in_kernels = False
        """Whether kernels name constants, instead of being given them."""
        self._names: set[str] = set(reserved)
        self._switches = len(network.switches)
        self._users = array_users(network) if network.is_switchable else {}

    def call(self, enumerators: Enumerators, step: Step) -> Call:
        """Registers what a step of a program needs and gives its call."""
        symbols = {c.name: self._array(step, c).symbol for c in constants_of(step)}
        parameters, arguments = self._parameters(enumerators, step, symbols)
        branches = [branch_of(*pair, self.call) for pair in zip(step.branches, step.marks, strict=True)]
        function = self._function(step.plan, parameters, branches)
        self.headers.update(step.plan.headers)
        if step.plan.library is not None:
            self.library_headers.update(dict.fromkeys(step.plan.library.headers))
        inner = (symbol for branch in branches for symbol in branch.arrays)
        self.arrays_in_kernels |= any(branch.arrays for branch in branches)
        within = tuple(row for branch in branches for row in branch.calls)
        return Call(function.name, arguments, tuple(dict.fromkeys((*symbols.values(), *inner))), within)

    def _parameters(
        self, enumerators: Enumerators, step: Step, symbols: Mapping[str, str]
    ) -> tuple[list[str], list[str]]:
        """(declarations, arguments) in call order: operands, packed constants, results, scratch."""
        node, plan = step.node, step.plan
        declarations = self._declared(node, plan)
        arguments = [
            *(symbols.get(name) or enumerators.address(node.input(index).name) for name, index in plan.operands),
            *(symbols[constant.name] for constant in plan.constants),
            *(enumerators.address(node.outputs[index].name) for _, index in plan.results),
        ]
        if plan.scratch_bytes:
            declarations.append("void *restrict scratch")
            arguments.append(enumerators.scratch(step))
        for declaration, name in OBSERVER if step.branches else ():
            declarations.append(declaration)
            arguments.append(name)
        return declarations, arguments

    def _declared(self, node: Node, plan: KernelPlan) -> list[str]:
        """Declarations of operands, packed constants and results."""
        shared_in = {source for source, _ in plan.inplace}
        shared_out = {target for _, target in plan.inplace}
        declarations = []
        for name, index in plan.operands:
            restrict = "" if index in shared_in else "restrict "
            declarations.append(f"const {ctype(node.input(index).memory_dtype)} *{restrict}{name}")
        for constant in plan.constants:
            declarations.append(f"const {self._element(constant)} *restrict {constant.name}")
        for name, index in plan.results:
            restrict = "" if index in shared_out else "restrict "
            declarations.append(f"{ctype(node.outputs[index].memory_dtype)} *{restrict}{name}")
        return declarations

    def _function(self, plan: KernelPlan, parameters: list[str], branches: list[EmittedBranch]) -> Function:
        follower = ""
        if plan.follower is not None:
            node, own = plan.follower.node, plan.follower.plan
            follower = self._function(own, [*self._declared(node, own), "int32_t count"], []).name
        # Branch operators of equal names in two switches may have different branches.
        key = json.dumps([plan.template, plan.context, parameters, repr(branches), follower], sort_keys=True)
        if key not in self.functions:
            self.functions[key] = self._written(plan, parameters, branches, follower)
        return self.functions[key]

    def _written(
        self, plan: KernelPlan, parameters: list[str], branches: list[EmittedBranch], follower: str
    ) -> Function:
        """The function, under the first name such that neither it nor its helpers (whose names begin with
        it) collide; or one of the same text, whose context differs in what its template does not use.
        """
        template = environment().get_template(f"kernels/{plan.template}")
        types = {f"{c.name}_type": self._element(c) for c in plan.constants if c.fields}
        first = ""
        for name in candidates(f"{self.model}_{plan.stem}"):
            if first and name in self._names:
                continue
            signature = _wrapped(f"void {name}", parameters)
            own = {"branches": branches, "follower": follower, "name": name, "signature": signature}
            context = {**plan.context, **types, **own}
            body = template.render(context).strip() + "\n"
            first = first or body
            if first in self._by_text:
                return self._by_text[first]
            defined = {name, *re.findall(rf"\b{name}_\w+", body)}
            if not defined & self._names:
                self._names |= defined
                self._by_text[first] = Function(name, signature, body)
                return self._by_text[first]
        raise AssertionError("there is always another name")

    def _unique(self, name: str) -> str:
        candidate = next(one for one in candidates(name) if one not in self._names)
        self._names.add(candidate)
        return candidate

    def _array(self, step: Step, constant: Constant) -> Array:
        key = array_key(constant)
        if key not in self.arrays:
            # Arrays of one switch are named after it; a comment lists the users of shared ones.
            users = self._users.get(key, ())
            owner = f"_{users[0]}" if len(users) == 1 else ""
            title = f"{step.node.op.name} {constant.name}"
            if 0 < len(users) < self._switches:
                title = f"{', '.join(users)}: {title}"
            self.arrays[key] = Array(
                symbol=self._unique(f"{self.model}{owner}_{step.node.op.name}_{constant.name}"),
                ctype=self._element(constant),
                length=len(constant.data) if constant.fields else constant.data.size,
                bytes=constant.data.nbytes,
                comment=comment_safe(f"{title}: {constant.comment}" if constant.comment else title),
                lines=struct_lines(constant.data, constant.fields) if constant.fields else array_lines(constant.data),
            )
        return self.arrays[key]

    def _element(self, constant: Constant) -> str:
        """The C type of a constant array's elements."""
        fields = constant.fields
        if not fields:
            return ctype(constant.data.dtype)
        if fields not in self.structs:
            words = "_".join(f.name if f.count is None else f"{f.name}_{f.count}" for f in fields)
            self.structs[fields] = Struct(self._unique(f"{self.model}_{words}_t"), fields)
        return self.structs[fields].name
