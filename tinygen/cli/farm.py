"""`tinygen farm`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tinygen.cli.console import console, errors, print_json, progress
from tinygen.cli.options import Clip, Force, InputLayout
from tinygen.cli.sheet import Sheet, name, number

if TYPE_CHECKING:
    from tinygen.verbs.farm import FarmReport


def farm(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tinygen build`.")],
    ports: Annotated[
        list[str],
        typer.Option(
            "--port", metavar="auto:SERIAL|PORT|labgrid:PLACE|emulated", help="A board; once for each of them."
        ),
    ],
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", "-i", metavar="X.npz", help="`x`, and `y` for accuracy. Default: random inputs."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Use the first N inputs.")] = None,
    switch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a switchable network; default: the first.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write report and joined outputs here.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of random inputs.")] = 0,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds that an inference may take.")] = 60.0,
    layout: InputLayout = None,
    clip: Clip = False,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of text.")] = False,
) -> None:
    """Run a build on several boards at once, which share the inputs.

    The inputs of a board that fails are given to the others.
    """
    from tinygen.builds.arrays import Reading
    from tinygen.verbs.farm import FarmOptions, check_output
    from tinygen.verbs.farm import farm as run

    if out is not None:
        check_output(out, force=force)
    options = FarmOptions(inputs, limit, seed, switch, timeout, Reading(layout, clip))
    with progress(as_json) as update:
        report = run(folder, ports, options, progress=update)
    if out is not None:
        report.write(out, force=force)
    if as_json:
        print_json(report.as_json())
    else:
        console.print(_view(report))
    for board in report.boards:
        if board.error:
            error = board.error if board.error.startswith(board.name) else f"{board.name}: {board.error}"
            errors.print(error, soft_wrap=True)
    if not report.passed:
        raise typer.Exit(1)


def _view(report: FarmReport) -> Sheet:
    """A line per board; above, what they have together."""
    from tinygen.hil.farm import HEAD

    found = f"{len(report.samples)} of {report.planned} inputs have a result, {len(report.wrong)} not the model's"
    if report.correct is not None:
        found += f"; {report.correct} answers are right"
    table = Sheet(found, [name("board"), *(number(heading) for heading in HEAD[1:]), name("outcome")])
    for board in report.boards:
        outcome = Text("stopped", style="red") if board.error else Text("done", style="green")
        table.add_row(*map(Text, board.row), outcome)
    return table
