"""Removes whole layers and residual blocks from a network: their input takes the place of their output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, fx, nn

from tinygen.compress.masks import prunable
from tinygen.compress.surgery.rules import ELEMENTWISE, VECTORS
from tinygen.compress.surgery.tracing import Example, Tracer, evaluating, inputs_of, refuse_decisions, trace
from tinygen.errors import ModelError, UnsupportedError
from tinygen.nn.pruned import copy_network

_ADDITIONS = ("add", "iadd", "add_")


def removable_layers(network: nn.Module, example: Example) -> list[str]:
    """Convolutions and dense layers whose output has the shape of their input, in the order of use.

    Raises:
        UnsupportedError, ModelError: as `slim`.
    """
    shapes = _shapes(network, example, prunable(network))
    return [name for name, (given, made) in shapes.items() if given == made]


def residual_blocks(network: nn.Module, example: Example) -> list[str]:
    """Modules that add a shortcut to what they compute and keep the shape of their input, in the order of use.

    Raises:
        UnsupportedError, ModelError: as `slim`.
    """
    traced, _ = trace(network, example)
    names: dict[str, None] = {}
    for node in traced.graph.nodes:
        stack = list(node.meta.get("nn_module_stack", {}))
        if stack and _called(node) in _ADDITIONS and len(node.all_input_nodes) == 2:
            names[stack[-1]] = None
    shapes = _shapes(network, example, [name for name in names if name])
    return [name for name, (given, made) in shapes.items() if given == made]


def remove_layers(network: nn.Module, example: Example, names: Sequence[str]) -> nn.Module:
    """A copy of the network without some layers or blocks.

    A convolution or dense layer goes with the batch norm and the activation behind it, where these are modules used
    once; pools stay. A block of any other kind becomes an identity. A block that changes the shape is replaced by its
    shortcut (with a convolution) and the operators after its addition.

    Args:
        example: the network's input, or inputs, with a batch in front.
        names: modules, none inside another.

    Raises:
        ModelError: there is no such module, it is not used, or lies inside another that goes.
        UnsupportedError: a module changes the shape and has no shortcut; or takes, or returns, anything but one tensor;
            or the network cannot be traced.
    """
    _check_names(network, names)
    shapes = _shapes(network, example, names)
    result = copy_network(network)
    for name in names:
        given, made = shapes[name]
        part = network.get_submodule(name)
        if given == made:
            gone = [name, *_followers(network, example, name)] if isinstance(part, (nn.Conv2d, nn.Linear)) else [name]
            for each in gone:
                result.set_submodule(each, nn.Identity())
        else:
            result.set_submodule(name, _shortcut(copy_network(part), name, given, made))
    result.train(network.training)
    return result


def _check_names(network: nn.Module, names: Sequence[str]) -> None:
    known = dict(network.named_modules())
    for name in names:
        if not name or name not in known:
            raise ModelError("no such module", where=name or "''", fix="Use names of network.named_modules().")
        if outer := [other for other in names if name.startswith(f"{other}.")]:
            raise ModelError(f"it lies inside {outer[0]}, which goes too", where=name, fix="Name one of them.")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ModelError("it is named twice", where=repeated[0], fix="Name every module once.")


def _shapes(
    network: nn.Module, example: Example, names: Iterable[str]
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Input and output shapes of modules, in the order of use."""
    refuse_decisions(network)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    troubles: dict[str, str] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            if len(given) != 1 or not isinstance(given[0], Tensor) or not isinstance(made, Tensor):
                troubles[name] = "it takes or gives something that is not one tensor"
                return
            seen = (tuple(given[0].shape), tuple(made.shape))
            if shapes.setdefault(name, seen) != seen:
                troubles[name] = "it is called with tensors of different shapes"

        return network.get_submodule(name).register_forward_hook(hook)

    wanted = list(names)
    hooks = [watch(name) for name in wanted]
    try:
        with evaluating(network):
            network(*inputs_of(example))
    except (RuntimeError, ValueError) as error:
        given = ", ".join(str(list(x.shape)) for x in inputs_of(example))
        raise ModelError(
            f"it does not take inputs of {given} ({str(error).splitlines()[0]})",
            where=type(network).__name__,
            fix="Give an example as the network takes it, with the batch first.",
        ) from error
    finally:
        for handle in hooks:
            handle.remove()
    for name in wanted:
        if name in troubles:
            raise UnsupportedError(troubles[name], where=name, fix="Name layers with one input and one output.")
        if name not in shapes:
            raise ModelError("the network does not call it", where=name, fix="Name modules that are used.")
    return shapes


def _followers(network: nn.Module, example: Example, name: str) -> list[str]:
    """The batch norm (or PReLU) and the activation behind a layer that nothing else reads or uses."""
    traced, _ = trace(network, example)
    calls = Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
    if calls[name] != 1:
        return []
    node = next(node for node in traced.graph.nodes if node.op == "call_module" and node.target == name)
    found: list[str] = []
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.op != "call_module" or calls[str(node.target)] > 1:
            break
        part = network.get_submodule(str(node.target))
        if not isinstance(part, (*VECTORS, *ELEMENTWISE)):
            break
        found.append(str(node.target))
        if isinstance(part, (nn.PReLU, *ELEMENTWISE)):
            break
    return found


def _called(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _shortcut(block: nn.Module, name: str, given: tuple[int, ...], made: tuple[int, ...]) -> nn.Module:
    """The block with its last addition replaced by the branch that has fewer layers."""
    trouble = UnsupportedError(
        f"it makes {list(made)} of {list(given)}, so that nothing can take its place",
        where=name,
        fix="Remove layers that keep the shape, or residual blocks with a shortcut.",
    )
    graph = Tracer().trace(block)
    node = next(iter(node for node in graph.nodes if node.op == "output")).all_input_nodes[0]
    while _called(node) not in _ADDITIONS or node.op == "call_module":
        if len(node.all_input_nodes) != 1:
            raise trouble
        node = node.all_input_nodes[0]
    branches = sorted(node.all_input_nodes, key=lambda branch: len(_weighted(block, branch)))
    counts = [len(_weighted(block, branch)) for branch in branches]
    if len(branches) != 2 or counts[0] == counts[1]:
        raise trouble
    node.replace_all_uses_with(branches[0])
    result = fx.GraphModule(block, graph, type(block).__name__)
    result.graph.eliminate_dead_code()
    result.recompile()
    result.delete_all_unused_submodules()
    return result


def _weighted(block: nn.Module, node: fx.Node) -> set[fx.Node]:
    """The convolutions and dense layers that a value is computed by."""
    seen: set[fx.Node] = set()
    queue = [node]
    while queue:
        current = queue.pop()
        if current not in seen:
            seen.add(current)
            queue.extend(current.all_input_nodes)
    return {
        each
        for each in seen
        if each.op == "call_module" and isinstance(block.get_submodule(str(each.target)), (nn.Conv2d, nn.Linear))
    }
