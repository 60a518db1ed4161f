"""`tinygen demo classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinygen.cli.console import console, errors, print_json, progress
from tinygen.cli.options import Board, Clip, Force, InputLayout, Json, Kernels, Toolchain
from tinygen.errors import TinygenError

if TYPE_CHECKING:
    from tinygen.apps.classify.images import Kind


def classify(
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE", help="PNG or JPEG files to classify.")] = None,
    board: Board = "f746zg",
    choices: Annotated[
        str, typer.Option(metavar="NAME,...", help="int8, w4, xnor, pruned, gated, switchable; or all.")
    ] = "all",
    model: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Classify with this .tflite, .onnx or .tg instead of digits.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --model: its classes, one per line.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--inputs", "-i", metavar="X.npz", help="With --model: a test set, `x` and `y`.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Networks, builds and report.")] = Path(
        "out/classify"
    ),
    digits: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Run only the first N test inputs; 0: only the images.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of each training; default: 8 or 12.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the training.")] = 0,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train, build and test again what is there.")] = False,
    prepare: Annotated[
        str | None,
        typer.Option(metavar="digit|photo", help="Find and centre a digit, or crop and scale; default: by the input."),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(metavar="BLACK,WHITE", help="With --model: what these are to it; default: by its input's range."),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="PORT", help="Of a real board: auto, or its serial port; one choice at a time."),
    ] = None,
    kernels: Kernels = "compact",
    toolchain: Toolchain = None,
    layout: InputLayout = None,
    clip: Clip = False,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes; default: one per core.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train, compress and compare digit classifiers; classify images.

    Everything is trained once for all boards, and tested again only where something has changed.
    """
    from tinygen.apps.classify.choices import Settings, parse_choices
    from tinygen.apps.classify.demo import ClassifyOptions, Shown, classify_digits, classify_model
    from tinygen.builds.arrays import Reading
    from tinygen.cli.classify_tables import comparison_view

    defaults = ClassifyOptions()
    options = ClassifyOptions(
        board=board,
        toolchain=toolchain,
        kernels=kernels,
        choices=parse_choices(choices),
        settings=Settings(seed, epochs),
        limit=digits,
        port=port,
        jobs=jobs or defaults.jobs,
        retrain=retrain,
        kind=_kind(prepare),
        pixels=_pixels(pixels),
        reading=Reading(layout, clip),
        force=force,
    )
    options.reading.check(inputs)
    if model is None and (labels or inputs or pixels):
        raise TinygenError("--labels, --inputs and --pixels belong to --model", fix="Name a model by --model.")
    if model is not None and (choices != "all" or epochs or seed):
        raise TinygenError(
            "--choices, --epochs and --seed are of the digits' training", fix="Leave them or --model out."
        )
    with progress(as_json) as update:
        if model is None:
            result = classify_digits(out, options, images or [], progress=update)
        else:
            result = classify_model(model, out, options, Shown(images or [], labels, inputs), progress=update)
    if as_json:
        print_json(result.as_json())
    else:
        console.print(comparison_view(result, colours=console.color_system is not None))
    if result.differ:
        errors.print(f"{result.differ} outputs of the board are not the integer semantics'.")
        raise typer.Exit(1)


def _kind(text: str | None) -> Kind | None:
    from tinygen.apps.classify.images import Kind

    if text is None:
        return None
    if text not in tuple(Kind):
        raise TinygenError(f"there is no way '{text}' to prepare images", where="--prepare", fix="digit or photo.")
    return Kind(text)


def _pixels(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        black, white = (float(part) for part in text.split(","))
    except ValueError as error:
        raise TinygenError(f"'{text}' is no pair of numbers", where="--pixels", fix="--pixels 0,1") from error
    if not (abs(black) < 1e9 and abs(white) < 1e9 and black != white):
        raise TinygenError(f"'{text}' tells black from white by nothing", where="--pixels", fix="--pixels 0,1")
    return black, white
