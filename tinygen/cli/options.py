"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinygen.errors import TinygenError
from tinygen.frontends.layouts import Layout

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="A .tflite, .onnx, .tg or .pt2 file. A .pt2 that may run code is refused: --trust-pickle."
    ),
]
Models = Annotated[
    list[Path], typer.Argument(metavar="MODEL...", help="Files; or folders: all models below them that can be read.")
]
Board = Annotated[str, typer.Option("--board", "-b", metavar="BOARD", help="See `tinygen boards`.")]
Toolchain = Annotated[str | None, typer.Option(metavar="zig|gcc", help="Compiler; default: what the board prefers.")]
Kernels = Annotated[
    str,
    typer.Option(
        metavar="tinygen|compact|reference|cmsis-nn|esp-nn",
        help="Kernel family: the fastest; that without weights as code; plain loops; Arm's library; Espressif's.",
    ),
]
CmsisNn = Annotated[
    Path | None,
    typer.Option("--cmsis-nn", metavar="PATH", envvar="CMSIS_NN_PATH", help="CMSIS-NN, for the kernels of that name."),
]
EspNn = Annotated[
    Path | None,
    typer.Option("--esp-nn", metavar="PATH", envvar="ESP_NN_PATH", help="ESP-NN, for the kernels of that name."),
]
Stream = Annotated[
    bool, typer.Option("--stream", help="Compute the first layers in stripes of rows: the smallest arena.")
]
Arena = Annotated[
    int | None, typer.Option(min=0, metavar="BYTES", help="Largest arena; stripes are used where that needs them.")
]
Flash = Annotated[
    int | None,
    typer.Option(
        "--flash",
        min=0,
        metavar="BYTES",
        help="Largest firmware; kernels are measured and the fastest that fit taken.",
    ),
]
Weights = Annotated[
    str, typer.Option(metavar="auto|flash|ram", help="Where weights lie; in RAM they are copied at start-up.")
]
InputsOutputs = Annotated[
    str,
    typer.Option(
        "--io",
        metavar="arena|caller",
        help="Where inputs and outputs lie: in the arena, or in buffers that your program gives to each inference.",
    ),
]
Preference = Annotated[
    str,
    typer.Option(
        "--prefer",
        metavar="ram|balance|speed",
        help="A small arena, or fast kernels, which need scratch. Balance: 1 % slower for an arena 2 % smaller.",
    ),
]
GatesBoard = Annotated[
    str | None,
    typer.Option("--board", metavar="NAME|FILE", help="Say how gated layers are computed on this board."),
]
GatedLayers = Annotated[
    str,
    typer.Option(
        "--gates",
        metavar="auto|always|never",
        help="Which gated layers compute live channels alone: those where that should save cycles, all, or none.",
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="X", help="Inputs (.npy, .npz) to quantize a float .pt2 or .onnx with; images as it takes them."
    ),
]
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Let torch read the whole .pt2 by itself, which runs any code that the file holds.",
    ),
]
InFloat = Annotated[
    bool,
    typer.Option("--float", help="Compute layers of float activations and integer weights (hybrid) in float32."),
]
Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        metavar="X",
        help="Inputs (.npy, .npz) over which branches have their expected cost, and gates their live channels.",
    ),
]
FiringInputs = Annotated[
    Path | None,
    typer.Option("--inputs", metavar="X", help="Count over these inputs (.npy, .npz) which channels gates choose."),
]
InputLayout = Annotated[
    Layout | None,
    typer.Option(
        "--layout",
        metavar="nhwc|nchw",
        help="Order of the dimensions of images in arrays; default: that of the model's inputs, nhwc.",
    ),
]
CalibrationLayout = Annotated[
    Layout | None,
    typer.Option(
        "--layout",
        metavar="nchw|nhwc",
        help="Order of the dimensions of --calibration; default: as the model takes images, nchw.",
    ),
]
Clip = Annotated[
    bool, typer.Option("--clip", help="Take the ends of an input's range for real values beyond it, however far.")
]
Mode = Annotated[
    str,
    typer.Option(
        metavar="performance|energy",
        help="How the firmware begins: 115200 baud and timestamps as text; or 9600 baud and a timestamp pin.",
    ),
]
Arithmetic = Annotated[
    str,
    typer.Option(
        metavar="reference|optimized",
        help="Of a .tflite model: rounded as LiteRT's reference kernels do, or as its optimised built-in ones.",
    ),
]
App = Annotated[
    str | None, typer.Option(metavar="wakeword", help="What the firmware does besides: wakeword listens for words.")
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="JSON", help="microWakeWord's JSON, for --app wakeword; default: the one beside MODEL."),
]
Listens = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="mic|i2s",
        help="With --app wakeword: the firmware listens by itself, to the board's microphone, or to another board over "
        "I2S (MLPerf Tiny's streaming benchmark); default: when told to.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace files that tinygen wrote there and somebody has changed since; never any others."
    ),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="C name of the model; default: from the file's name.")]
Switch = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of a switchable network; default: run the first, verify all.")
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="NAME=CODE",
        help="Of a gate, in place of its default; may be repeated (tinygen inspect).",
    ),
]


def thresholds_of(given: list[str] | None) -> dict[str, int]:
    """Codes by name.

    Raises:
        TinygenError: one is no NAME=CODE, or named twice.
    """
    found: dict[str, int] = {}
    for text in given or []:
        name, _, code = text.partition("=")
        name = name.strip().upper()
        try:
            if not name or name in found:
                raise ValueError(text)
            found[name] = int(code)
        except ValueError as error:
            fix = "Give NAME=CODE, each name once, as --threshold EXIT_1=40."
            raise TinygenError(f"'{text}' sets no threshold", fix=fix) from error
    return found


Port = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="Of a real board: auto, or its serial port; default: the emulated one."),
]
