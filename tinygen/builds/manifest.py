"""The manifest of a build directory: the content of manifest.json, and the copy of the model.

The JSON is flat: the keys of a manifest's three parts (`ProgramEntry`, `ModelEntry`, `FirmwareEntry`) are on one level.
Entries that are left out have the default that the field has here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tinygen.builds.decisions import CostsEntry, ThresholdEntry
from tinygen.builds.firmware_entry import FirmwareEntry
from tinygen.builds.folder import UNFINISHED
from tinygen.builds.gates import GateEntry
from tinygen.builds.plain import OPTIONAL, PlainError, from_plain, to_plain
from tinygen.errors import TinygenError
from tinygen.ir.thresholds import assigned, full_name
from tinygen.lowering.program import Io, Ordering, Streamed
from tinygen.passes.litert_arithmetic import Arithmetic
from tinygen.project.choices import Mode

MANIFEST = "manifest.json"
MODEL_COPY = "model.tg"
"""The model as it was read, in any format: a device's outputs are compared with it."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor and its place.

    Attributes:
        bytes, offset: in the arena; no offset in a buffer of the caller.
        scale, zero_point: of codes that are affine per tensor.
        packed: codes lie in words of channels (`encodings.pack_codes`), `bits` of them each.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    offset: int | None
    scale: float | None = field(default=None, metadata=OPTIONAL)
    zero_point: int | None = field(default=None, metadata=OPTIONAL)
    packed: bool = field(default=False, metadata=OPTIONAL)
    bits: int = field(default=1, metadata=OPTIONAL)


@dataclass(frozen=True)
class LayerEntry:
    """A layer that runs code.

    Attributes:
        kernel, function: of the library, and in the C.
        weight_bytes: of its constants.
        inputs: `int8 [1,49,10,1]`.
        mixed_bytes: of scratch, those of experts' mixed weights.
    """

    name: str
    op: str
    kernel: str
    function: str
    macs: int
    weight_bytes: int
    scratch_bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[TensorEntry, ...]
    mixed_bytes: int = field(default=0, metadata=OPTIONAL)


@dataclass(frozen=True)
class BufferEntry:
    """A piece of the arena, from step `first` to step `last`."""

    name: str
    bytes: int
    offset: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class ProgramEntry:
    """The board-independent part of a switch's entry.

    Attributes:
        states: tensors that the model keeps between inferences.
        thresholds: adjustable ones.
        costs: of a network with branches.
        arena_lower_bound_bytes: the largest sum of live buffers; arena_optimal: no smaller arena is possible.
        stream: how the first layers are computed in stripes; None if they are not.
        arena: its buffers.
        steps: names of all operators, in order.
    """

    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    states: tuple[TensorEntry, ...]
    arena_bytes: int
    arena_lower_bound_bytes: int
    arena_optimal: bool
    order: Ordering
    stream: Streamed | None
    macs: int
    layers: tuple[LayerEntry, ...]
    arena: tuple[BufferEntry, ...]
    steps: tuple[str, ...]
    thresholds: tuple[ThresholdEntry, ...] = field(default=(), metadata=OPTIONAL)
    costs: CostsEntry | None = field(default=None, metadata=OPTIONAL)

    @property
    def has_branches(self) -> bool:
        """Whether the executed layers depend on the inputs."""
        return any(layer.op == "branch" for layer in self.layers)

    def path(self, ran: Collection[int]) -> dict[str, int]:
        """The branches that ran, by operator, given the executed layers."""
        marks = (self.layers[index].name for index in ran if self.layers[index].op == "branch")
        return {operator: int(number) for operator, _, number in sorted(mark.rpartition("/") for mark in marks)}


@dataclass(frozen=True)
class Simplified:
    """What the passes removed: whole layers, and channels of the remaining ones."""

    channels_removed: Mapping[str, int]
    layers_removed: tuple[str, ...]
    macs_removed: int


@dataclass(frozen=True)
class Owned:
    """Bytes that only this switch uses, and bytes that it shares with others."""

    own: int
    shared: int


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Counted instructions and predicted cycles; time and energy where the board's clock and current are known.

    Attributes:
        milliseconds_interval: interval that contains 90 % of measured times, estimated from measurements on the board
            or its core; None if there were too few.
    """

    instructions: int
    cycles_predicted: int
    milliseconds_predicted: float | None = field(default=None, metadata=OPTIONAL)
    milliseconds_interval: tuple[float, float] | None = field(default=None, metadata=OPTIONAL)
    microjoules_predicted: float | None = field(default=None, metadata=OPTIONAL)
    microjoules_interval: tuple[float, float] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class LayerProfile(Predicted):
    """The profile of one layer.

    Attributes:
        memory_stalls_predicted: cycles of these that are memory stalls.
    """

    name: str
    memory_stalls_predicted: int


@dataclass(frozen=True, kw_only=True)
class ProfileEntry(Predicted):
    """One inference on zero input, in the emulated board.

    Attributes:
        cycles_interval_source: what `milliseconds_interval` comes from, or why there is none.
        functions: instructions by function.
    """

    cycles_source: str
    layers: tuple[LayerProfile, ...]
    stack_used_bytes: int | None
    functions: Mapping[str, int]
    cycles_interval_source: str = field(default="", metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class SwitchEntry(ProgramEntry):
    """A switch of a network.

    Attributes:
        constant_bytes, code_bytes: of flash.
        profile: None where it was not run.
    """

    name: str
    model: str
    simplified: Simplified
    constant_bytes: Owned
    code_bytes: Owned
    profile: ProfileEntry | None


@dataclass(frozen=True)
class NetworkEntry:
    """Sizes of all switches together.

    Attributes:
        arena_bytes: of the states and the switch that needs the most.
        constant_bytes: of all arrays; equal arrays count once.
        coded_bytes: approximate size of weights stored as code; equal code counts once.
        constant_bytes_apart, coded_bytes_apart: the same for independent firmwares, one per switch.
        float_bytes: of the weights in float32, in the switch that has the most.
    """

    arena_bytes: int
    state_bytes: int
    constant_bytes: int
    constant_bytes_apart: Mapping[str, int]
    coded_bytes: int
    coded_bytes_apart: Mapping[str, int]
    float_bytes: int


@dataclass(frozen=True)
class Named:
    """A file, and the SHA-256 of what it holds."""

    name: str
    sha256: str


@dataclass(frozen=True)
class LibraryEntry:
    """A vendor's kernels.

    Attributes:
        commit: "" where the folder is no git checkout.
        sha256: of the files that were copied.
    """

    name: str
    commit: str
    sha256: str


@dataclass(frozen=True)
class BenchmarkEntry:
    """Facts about the model for MLPerf Tiny's runner.

    Attributes:
        db_bytes: size of the buffer that inputs are loaded into; 0 if RAM has no room for one.
    """

    model: str
    input: str
    db_bytes: int


@dataclass(frozen=True, kw_only=True)
class AppEntry:
    """The wake-word application; see `WakewordApp` and `WakewordPlan`.

    Attributes:
        flash_bytes, ram_bytes: beside model and protocol; None where nothing was linked for the board.
    """

    kind: str
    wake_word: str
    cutoff: float
    switch_cutoffs: Mapping[str, float]
    sliding_window: int
    labels: tuple[str, ...]
    ignored: tuple[str, ...]
    features: Mapping[str, Any]
    listens: str | None
    frames: int
    step_frames: int
    cutoff_sums: tuple[tuple[int | None, ...], ...]
    sample_rate_hz: int
    hop_samples: int
    window_samples: int
    channels: int
    bauds: tuple[int, ...]
    flash_bytes: int | None = field(default=None, metadata=OPTIONAL)
    ram_bytes: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """The model that was built, and the version and options that built it.

    Attributes:
        model: its name in the C.
        source: the file's name.
        build_id: digest of model, options and generated C; the firmware reports it.
        version: of tinygen.
        library: None where no layer calls one.
        app: what the firmware does besides answering commands.
        io: where inputs and outputs lie.
    """

    model: str
    source: str
    source_sha256: str
    build_id: str
    version: str
    library: LibraryEntry | None
    mode: Mode
    benchmark: BenchmarkEntry
    app: AppEntry | None
    model_copy: Named
    arithmetic: Arithmetic = field(default=Arithmetic.REFERENCE, metadata=OPTIONAL)
    io: Io = field(default=Io.ARENA, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Manifest(ProgramEntry, ModelEntry, FirmwareEntry):
    """A build; what `ProgramEntry` says is of its first switch.

    Attributes:
        simplified: of the first switch.
        switches: none of a network that cannot be switched; network: None then.
        profile: of the first switch; None where it was not run.
        profile_note: why it was not, if it should have been.
        warnings: about the model: what the user should know before it is used.
        gated_layers: of all switches, how each is computed.
        files: SHA-256 of all other files in the directory that tinygen wrote; record_sha256: of the manifest's content.
            See `tinygen.builds.folder`.
    """

    simplified: Simplified
    switches: tuple[SwitchEntry, ...]
    network: NetworkEntry | None = field(default=None, metadata=OPTIONAL)
    profile: ProfileEntry | None = field(default=None, metadata=OPTIONAL)
    profile_note: str = field(default="", metadata=OPTIONAL)
    warnings: tuple[str, ...] = ()
    gated_layers: tuple[GateEntry, ...] = field(default=(), metadata=OPTIONAL)
    files: Mapping[str, str] = field(default_factory=dict)
    record_sha256: str = field(default="", metadata=OPTIONAL)

    @classmethod
    def of(
        cls,
        program: ProgramEntry,
        model: ModelEntry,
        firmware: FirmwareEntry,
        simplified: Simplified,
        switches: tuple[SwitchEntry, ...],
        network: NetworkEntry | None,
    ) -> Manifest:
        """One of its parts."""
        parts = {one.name: getattr(part, one.name) for part in (program, model, firmware) for one in fields(part)}
        return cls(simplified=simplified, switches=switches, network=network, **parts)

    @classmethod
    def from_json(cls, content: Any) -> Manifest:
        """
        Raises:
            PlainError: it is none.
        """
        return from_plain(cls, content)

    def to_json(self) -> dict[str, Any]:
        return dict(to_plain(self))

    @property
    def is_switchable(self) -> bool:
        return bool(self.switches)

    @property
    def keeps_states(self) -> bool:
        """Whether any switch of the model has states between inferences."""
        return any(entry.states for entry in self.switches or (self,))

    @property
    def default_thresholds(self) -> dict[str, int]:
        """Default codes of the thresholds of all switches, by the names that devices use."""
        return {full_name(switch, one.name): one.value for switch, ones in self._thresholds.items() for one in ones}

    def thresholds_set(self, values: Mapping[str, int]) -> dict[str, int]:
        """Thresholds as devices name them, with the codes that they are to have; see `assigned`.

        Raises:
            TinygenError: there is no such threshold, or it cannot have that code.
        """
        chosen = assigned(self._thresholds, values)
        return {full_name(switch, name): code for switch, codes in chosen.items() for name, code in codes.items()}

    @property
    def _thresholds(self) -> dict[str, tuple[ThresholdEntry, ...]]:
        return {entry.name: entry.thresholds for entry in self.switches} or {"": self.thresholds}

    @property
    def switch_names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.switches)

    def switch_index(self, switch: str) -> int:
        """The number of a switch.

        Raises:
            TinygenError: there is no switch of that name.
        """
        names = self.switch_names
        if switch not in names:
            fix = f"Switches: {', '.join(names)}." if names else "It has no switches: leave --switch out."
            raise TinygenError(f"there is no switch '{switch}'", where=self.model, fix=fix)
        return names.index(switch)

    def section(self, switch: str | int | None) -> ProgramEntry:
        """The entry of a switch, by name or number; without a name, of the first switch or of the whole.

        Raises:
            TinygenError: it has no switch of that name.
        """
        if switch is None or (switch == 0 and not self.switches):
            return self
        return self.switches[switch if isinstance(switch, int) else self.switch_index(switch)]


@dataclass(frozen=True)
class Unfinished:
    """A build directory whose manifest is not written yet."""

    folder: Path
    manifest: Manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a build directory.

    Raises:
        TinygenError: the directory is not one that `tinygen build` wrote, or the manifest is damaged, or another
            version's.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TinygenError(
            f"is not a build directory ({'a file' if folder.is_file() else 'no manifest.json'})",
            where=str(folder),
            fix="Make one with: tinygen build MODEL --board BOARD --out DIR",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise TinygenError(f"cannot be read ({error})", where=str(path), fix="Build it again.") from error
    if isinstance(content, dict) and content.get(UNFINISHED):
        raise TinygenError("is not whole: an earlier build was interrupted", where=str(folder), fix="Build it again.")
    if not isinstance(content, dict) or "model" not in content:
        raise TinygenError("is not a manifest of tinygen's", where=str(path), fix="Build it again.")
    try:
        return Manifest.from_json(content)
    except PlainError as error:
        what = f"is damaged, or of another version of tinygen ({error})"
        raise TinygenError(what, where=str(path), fix="Build it again.") from error
