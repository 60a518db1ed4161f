"""`tinygen bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tinygen.cli.console import console, errors, print_json, progress
from tinygen.cli.options import Force

MODELS_VARIABLE = "TINYGEN_MODELS"


def bench(
    models: Annotated[list[Path] | None, typer.Argument(metavar="MODEL", help="Models of your own.")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(metavar="NAME|FILE", help="A suite, or a Python file of yours; repeatable.")
    ] = None,
    board: Annotated[
        str, typer.Option("--board", "-b", metavar="A,B", help="See `tinygen boards`; or a core: cortex-m0plus.")
    ] = "f746zg",
    kernels: Annotated[
        str | None, typer.Option(metavar="A,B", help="Kernel families; default: tinygen,reference, or the suite's.")
    ] = None,
    toolchain: Annotated[str, typer.Option(metavar="zig,gcc", help="Compilers; default: what the board prefers.")] = "",
    baseline: Annotated[str | None, typer.Option(metavar="FAMILY", help="What ratios are taken against.")] = None,
    folders: Annotated[
        list[Path] | None,
        typer.Option(
            "--models", metavar="DIR", help=f"Models for suites models, lowbit-wakeword; or {MODELS_VARIABLE}."
        ),
    ] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Only cases like this: conv_*.")] = None,
    cmsis_nn: Annotated[
        Path | None,
        typer.Option("--cmsis-nn", metavar="PATH", envvar="CMSIS_NN_PATH", help="CMSIS-NN; adds its kernels."),
    ] = None,
    esp_nn: Annotated[
        Path | None,
        typer.Option("--esp-nn", metavar="PATH", envvar="ESP_NN_PATH", help="ESP-NN; adds its kernels."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write bench.json and report.html here.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Print a table per layer, too.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes; default: 2.")] = None,
    list_suites: Annotated[bool, typer.Option("--list", help="List the suites.")] = False,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as one JSON array instead of text.")] = False,
) -> None:
    """Compare kernel families and compilers: cycles, flash and RAM.

    Per model, and with --layers per layer.
    """
    from tinygen.api import bench as run
    from tinygen.bench.output import check_output, write_output
    from tinygen.bench.registry import all_suites
    from tinygen.bench.run import BenchOptions, default_jobs, default_kernels
    from tinygen.cli import bench_tables
    from tinygen.lowering.select import CMSIS_NN, ESP_NN

    if list_suites:
        suites = [{"name": entry.name, "summary": entry.summary} for entry in all_suites()]
        print_json(suites) if as_json else console.print(bench_tables.suite_table(suites))
        return
    libraries = {CMSIS_NN: cmsis_nn, ESP_NN: esp_nn}
    names = _split(board) or (board,)
    options = BenchOptions(
        board=names[0],
        more_boards=names[1:],
        kernels=default_kernels([name for name, path in libraries.items() if path is not None], suite or ())
        if kernels is None
        else _split(kernels),
        toolchains=_split(toolchain),
        baseline=baseline,
        models=tuple(folders) if folders else _folders_of_environment(),
        only=tuple(case or ()),
        jobs=jobs or default_jobs(),
        cmsis_nn=cmsis_nn,
        esp_nn=esp_nn,
    )
    if out is not None:
        check_output(out, force=force)
    with progress(False) as update:
        report = run(models or [], suite or [], options, progress=update)
    if out is not None:
        write_output(report.as_json(), out, force=force)
    if as_json:
        print_json(report.rows)
    else:
        content = report.as_json()
        console.print(bench_tables.bench_view(content, layers=layers))
        if out is not None:
            console.print(f"Report: {out / 'report.html'}   figures: {out / 'bench.json'}")
    for entry in report.skipped:
        errors.print(f"left out: {entry}", soft_wrap=True)
    if report.errors:
        errors.print(f"{report.errors} of {len(report.rows)} measurements failed; their rows say why.")
        raise typer.Exit(1)


def _split(names: str) -> tuple[str, ...]:
    """`a,b` without repetitions."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _folders_of_environment() -> tuple[Path, ...]:
    return tuple(Path(name) for name in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if name)
