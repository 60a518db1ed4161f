"""The verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygen.builds.oracle_names import Oracle
from tinygen.cli.bench import bench
from tinygen.cli.console import console, errors, print_json, progress, warn
from tinygen.cli.demo import demo
from tinygen.cli.device import device
from tinygen.cli.export import export
from tinygen.cli.farm import farm
from tinygen.cli.flash import flash
from tinygen.cli.hil import hil
from tinygen.cli.listen import listen
from tinygen.cli.options import (
    App,
    Arena,
    Arithmetic,
    Board,
    Calibration,
    CalibrationLayout,
    Clip,
    CmsisNn,
    Config,
    EspNn,
    FiringInputs,
    Flash,
    Force,
    GatedLayers,
    GatesBoard,
    InFloat,
    InputLayout,
    InputsOutputs,
    Json,
    Kernels,
    Listens,
    Mode,
    Model,
    Models,
    Name,
    Port,
    Preference,
    Profile,
    Stream,
    Switch,
    Thresholds,
    Toolchain,
    TrustPickle,
    Weights,
    thresholds_of,
)
from tinygen.errors import TinygenError
from tinygen.version import VERSION

app = typer.Typer(
    name="tinygen",
    help="Turns compressed neural networks into C for microcontrollers, and proves the result on a board.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tinygen {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show Python tracebacks of errors.")] = False,
) -> None:
    """Options that stand before any verb."""


@app.command()
def build(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the project is written.")],
    board: Board = "f746zg",
    toolchain: Toolchain = None,
    kernels: Kernels = "tinygen",
    cmsis_nn: CmsisNn = None,
    esp_nn: EspNn = None,
    name: Name = None,
    stack: Annotated[int | None, typer.Option(metavar="BYTES", help="Stack size; default: the board's.")] = None,
    stream: Stream = False,
    arena: Arena = None,
    flash_bytes: Flash = None,
    weights: Weights = "auto",
    io: InputsOutputs = "arena",
    gates: GatedLayers = "auto",
    prefer: Preference = "balance",
    calibration: Calibration = None,
    trust_pickle: TrustPickle = False,
    in_float: InFloat = False,
    layout: CalibrationLayout = None,
    profile: Profile = None,
    mode: Mode = "performance",
    app: App = None,
    config: Config = None,
    listens: Listens = None,
    arithmetic: Arithmetic = "reference",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn a model into a C project and firmware for a board."""
    from tinygen.api import build
    from tinygen.project.wakeword_json import read_app
    from tinygen.verbs.build import BuildOptions

    options = BuildOptions(
        board=board,
        toolchain=toolchain,
        kernels=kernels,
        name=name,
        stack_bytes=stack,
        cmsis_nn=cmsis_nn,
        esp_nn=esp_nn,
        stream=stream,
        arena_bytes=arena,
        flash_bytes=flash_bytes,
        weights=weights,
        io=io,
        gates=gates,
        prefer=prefer,
        calibration=calibration,
        trust_pickle=trust_pickle,
        in_float=in_float,
        layout=layout,
        mode=mode,
        app=read_app(app, config, model, listens),
        arithmetic=arithmetic,
        profile=profile,
    )
    with progress(as_json) as update:
        result = build(model, out, options, force=force, progress=update)
    warn(result.manifest.warnings)
    if as_json:
        print_json(result.as_json())
    else:
        from tinygen.cli.tables import build_summary

        console.print(build_summary(result.manifest))
        made = f"Firmware: {out / 'firmware.elf'}" if result.manifest.firmware else f"ESP-IDF project: {out}"
        console.print(f"{made}   report: {out / 'report.html'}")


app.command()(export)


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tinygen build`.")],
    inputs: Annotated[Path, typer.Option("--inputs", "-i", metavar="X", help=".npy or .npz, one sample per row.")],
    outputs: Annotated[Path | None, typer.Option("--outputs", metavar="Y", help="Write outputs here (.npy).")] = None,
    port: Port = None,
    switch: Switch = None,
    threshold: Thresholds = None,
    layout: InputLayout = None,
    clip: Clip = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there at --outputs.")] = False,
    as_json: Json = False,
) -> None:
    """Run inferences on the emulated board, or on a real one (--port)."""
    from tinygen.api import run

    with progress(as_json) as update:
        result = run(
            folder,
            inputs,
            layout=layout,
            clip=clip,
            outputs=outputs,
            port=port,
            switch=switch,
            thresholds=thresholds_of(threshold),
            force=force,
            progress=update,
        )
    if as_json:
        print_json(result.as_json())
    else:
        from tinygen.cli.tables import run_table

        console.print(run_table(result))


@app.command()
def verify(
    model: Model,
    inputs: Annotated[Path, typer.Option("--inputs", "-i", metavar="X.npz", help="`x`, and `y` for accuracy.")],
    board: Board = "f746zg",
    toolchain: Toolchain = None,
    kernels: Kernels = "tinygen",
    cmsis_nn: CmsisNn = None,
    esp_nn: EspNn = None,
    stream: Stream = False,
    arena: Arena = None,
    flash_bytes: Flash = None,
    weights: Weights = "auto",
    io: InputsOutputs = "arena",
    gates: GatedLayers = "auto",
    prefer: Preference = "balance",
    profile: Profile = None,
    calibration: Calibration = None,
    trust_pickle: TrustPickle = False,
    in_float: InFloat = False,
    oracle: Annotated[
        list[Oracle] | None,
        typer.Option(
            metavar="ref|optimized|xnnpack",
            help="LiteRT kernels to compare with; may be repeated. Default: those of --arithmetic.",
        ),
    ] = None,
    arithmetic: Arithmetic = "reference",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Use the first N samples.")] = None,
    switch: Switch = None,
    threshold: Thresholds = None,
    layout: InputLayout = None,
    clip: Clip = False,
    as_json: Json = False,
) -> None:
    """Compare LiteRT or ONNX Runtime, semantics, C and board bitwise."""
    from tinygen.api import verify
    from tinygen.verbs.build import BuildOptions

    options = BuildOptions(
        board=board,
        toolchain=toolchain,
        kernels=kernels,
        cmsis_nn=cmsis_nn,
        esp_nn=esp_nn,
        stream=stream,
        arena_bytes=arena,
        flash_bytes=flash_bytes,
        weights=weights,
        io=io,
        gates=gates,
        prefer=prefer,
        profile=profile,
        calibration=calibration,
        trust_pickle=trust_pickle,
        in_float=in_float,
        layout=None if calibration is None else layout,
        arithmetic=arithmetic,
    )
    with progress(as_json) as update:
        report = verify(
            model,
            inputs,
            options,
            layout=layout,
            clip=clip,
            oracles=oracle or (),
            limit=limit,
            switch=switch,
            thresholds=thresholds_of(threshold),
            progress=update,
        )
    if as_json:
        print_json(report.as_json())
    else:
        from tinygen.cli.tables import verify_tables

        console.print(verify_tables(report))
    warn(report.warnings)
    if not report.identical:
        errors.print("The runtimes differ.")
        raise typer.Exit(1)


@app.command()
def inspect(
    models: Models,
    calibration: Calibration = None,
    trust_pickle: TrustPickle = False,
    in_float: InFloat = False,
    layout: CalibrationLayout = None,
    inputs: FiringInputs = None,
    board: GatesBoard = None,
    kernels: Kernels = "tinygen",
    gates: GatedLayers = "auto",
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Show a model's operators, or which of several models can be read."""
    from tinygen.api import inspect
    from tinygen.verbs.options import GatesOn

    if len(models) > 1 or models[0].is_dir():
        of_one = {"--calibration": calibration, "--inputs": inputs, "--profile": profile}
        wrong = " and ".join(name for name, value in of_one.items() if value is not None)
        if wrong:
            raise TinygenError(f"{wrong} must be of one model", fix="Name one file.")
        _survey(models, board, kernels, as_json, trust_pickle=trust_pickle, in_float=in_float)
        return
    model = models[0]
    on = None if board is None else GatesOn(board, kernels, gates, profile)
    content = inspect(
        model,
        calibration=calibration,
        layout=layout,
        inputs=inputs,
        on=on,
        trust_pickle=trust_pickle,
        in_float=in_float,
    )
    if as_json:
        print_json(content)
    else:
        from tinygen.cli.tables import graph_table

        console.print(graph_table(content))


def _survey(models: list[Path], board: str | None, kernels: str, as_json: bool, **reading: bool) -> None:
    """Shows which models can be read."""
    from tinygen.api import survey

    with progress(as_json) as update:
        found = survey(models, board=board, kernels=kernels, progress=update, **reading)
    if as_json:
        print_json(found.as_json())
    else:
        from tinygen.cli.survey_tables import survey_tables

        console.print(survey_tables(found))


@app.command()
def boards(as_json: Json = False) -> None:
    """List the boards tinygen knows."""
    from tinygen.verbs.boards import list_boards

    content = list_boards()
    if as_json:
        print_json(content)
    else:
        from tinygen.cli.tables import board_table

        console.print(board_table(content))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Show what is installed, what is missing and how to get it."""
    from tinygen.verbs.doctor import examine

    content = examine()
    if as_json:
        print_json(content)
    else:
        from tinygen.cli.tables import doctor_table

        console.print(doctor_table(content))


app.command()(bench)
app.command()(flash)
app.command()(hil)
app.command()(farm)
app.command()(listen)
app.command()(device)
app.add_typer(demo, name="demo")
