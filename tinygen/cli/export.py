"""`tinygen export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygen.cli.console import console, print_json, progress, warn
from tinygen.cli.options import (
    App,
    Arena,
    Arithmetic,
    Board,
    Calibration,
    CalibrationLayout,
    CmsisNn,
    Config,
    EspNn,
    Force,
    GatedLayers,
    InFloat,
    InputsOutputs,
    Json,
    Kernels,
    Model,
    Name,
    Preference,
    Profile,
    Stream,
    Toolchain,
    TrustPickle,
    Weights,
)

_FORMS = "c|cmake|esp-idf|platformio-lib|arduino|zephyr|cmsis-pack"


def export(
    model: Model,
    form: Annotated[str, typer.Option("--as", metavar=_FORMS, help="The form of the library.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the library is written.")],
    board: Board = "f746zg",
    toolchain: Toolchain = None,
    kernels: Kernels = "tinygen",
    cmsis_nn: CmsisNn = None,
    esp_nn: EspNn = None,
    name: Name = None,
    version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help="Of the library; default: 0.0.N, of the build id.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="The library's page, in forms that name one; default: none.")
    ] = None,
    stream: Stream = False,
    arena: Arena = None,
    weights: Weights = "auto",
    io: InputsOutputs = "arena",
    gates: GatedLayers = "auto",
    prefer: Preference = "balance",
    profile: Profile = None,
    calibration: Calibration = None,
    trust_pickle: TrustPickle = False,
    in_float: InFloat = False,
    layout: CalibrationLayout = None,
    app: App = None,
    config: Config = None,
    arithmetic: Arithmetic = "reference",
    proof: Annotated[
        bool,
        typer.Option(
            "--proof", help="With --as c: what Frama-C's Eva needs to prove the C free of undefined behaviour."
        ),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a model as a library for your own project."""
    from tinygen.api import export
    from tinygen.project.wakeword_json import read_app
    from tinygen.verbs.options import BuildOptions

    options = BuildOptions(
        board=board,
        toolchain=toolchain,
        kernels=kernels,
        name=name,
        version=version,
        url=url,
        cmsis_nn=cmsis_nn,
        esp_nn=esp_nn,
        stream=stream,
        arena_bytes=arena,
        weights=weights,
        io=io,
        gates=gates,
        prefer=prefer,
        profile=profile,
        calibration=calibration,
        trust_pickle=trust_pickle,
        in_float=in_float,
        layout=layout,
        app=read_app(app, config, model),
        arithmetic=arithmetic,
    )
    with progress(as_json) as update:
        report = export(model, out, form, options, proof=proof, force=force, progress=update)
    content = report.as_json()
    warn(content["warnings"])
    if as_json:
        print_json(content)
    else:
        from tinygen.cli.export_tables import export_summary

        console.print(export_summary(content))
        console.print(f"Library: {out}   how to use it: {out / 'README.md'}")
