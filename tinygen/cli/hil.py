"""`tinygen hil`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from tinygen.cli.console import console, errors, print_json, progress, warn
from tinygen.cli.options import Clip, Force, InputLayout, Thresholds, thresholds_of


def hil(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tinygen build`.")],
    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", "-i", metavar="X.npz", help="`x`, and `y` for accuracy. Default: random inputs."),
    ] = None,
    port: Annotated[
        str,
        typer.Option(
            metavar="auto|PORT|emulated|qemu|labwired",
            help="A real board's serial port (auto: by its USB identity; auto:SERIAL where there are several; "
            "labgrid:PLACE), or what stands in for it.",
        ),
    ] = "emulated",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Use the first N inputs.")] = None,
    switch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a switchable network; default: all of them.")
    ] = None,
    threshold: Thresholds = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where the report is written; default: DIR/hil.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JUnit XML here, too.")] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, metavar="F", help="Fail when fewer answers are right.")
    ] = None,
    max_latency_us: Annotated[
        float | None, typer.Option(min=0.0, metavar="US", help="Fail when an inference takes longer.")
    ] = None,
    power: Annotated[
        str | None,
        typer.Option(
            metavar="INSTRUMENT",
            help="Measure energy on a real board: lpm01a:PORT, ppk2:PORT, joulescope[:SERIAL]; PORT may be auto. "
            "Options behind it: ppk2:auto,volts=3.3 (the supply).",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Emulated boards at the same time.")] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of random inputs.")] = 0,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds that an inference may take.")] = 60.0,
    layout: InputLayout = None,
    clip: Clip = False,
    force: Force = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of text.")] = False,
) -> None:
    """Prove a build on its board: outputs, accuracy, latency, energy.

    On the emulated board, or with --port on a real one.
    """
    from tinygen.api import hil as prove
    from tinygen.builds.arrays import Reading
    from tinygen.builds.manifest import read_manifest
    from tinygen.hil.checks import Limits
    from tinygen.hil.output import check_junit, check_output
    from tinygen.verbs.hil import HilOptions, open_instrument, supply_warning_of

    options = HilOptions(
        port=port,
        inputs=inputs,
        limit=limit,
        seed=seed,
        switch=switch,
        jobs=jobs,
        infer_seconds=timeout,
        limits=Limits(min_accuracy, max_latency_us),
        reading=Reading(layout, clip),
        thresholds=thresholds_of(threshold),
    )
    if out is None:
        read_manifest(folder)  # what is wrong with DIR is said before what is wrong with DIR/hil
    target = folder / "hil" if out is None else out
    check_output(target, force=force)
    check_junit(junit, force=force)
    if power is not None:
        warn(supply_warning_of(folder, power))
    with progress(as_json) as update, ExitStack() as stack:
        monitor = None if power is None else open_instrument(folder, power, port)
        if monitor is not None:
            stack.callback(monitor.close)
        report = prove(folder, options=options, monitor=monitor, progress=update)
    report.write(target, junit, force=force)
    if as_json:
        print_json(report.as_json())
    else:
        from tinygen.cli.hil_tables import hil_view

        console.print(hil_view(report.as_json()))
        console.print(f"Report: {target / 'report.html'}   figures: {target / 'hil-report.json'}")
    if not report.passed:
        failed = [one for one in report.content["checks"] if one["status"] == "failed"]
        for one in failed:
            name = f"{one['name']}[{one['switch']}]" if one["switch"] else one["name"]
            errors.print(f"{name}: {one['message']}", soft_wrap=True)
        raise typer.Exit(1)
