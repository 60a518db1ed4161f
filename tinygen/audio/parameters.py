"""What the parameters of any front end share: how they are checked, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from tinygen.errors import TinygenError

LARGEST_FFT = 4096

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}


@dataclass(frozen=True)
class FrameParameters:
    """Parameters of frames: windows of audio, one every hop.

    Attributes:
        sample_rate_hz: of the audio.
        window_ms: a frame's length. Whole samples are taken, rounded down.
        hop_ms: from one frame's begin to the next one's.
    """

    KIND: ClassVar[str]
    """What the JSON says under "kind"."""
    NAME: ClassVar[str]
    """In errors, of one."""
    PLACE: ClassVar[str]
    """In errors, before a parameter's name."""

    sample_rate_hz: int = 16000
    window_ms: int = 30
    hop_ms: int = 10

    @property
    def window_samples(self) -> int:
        return self.window_ms * self.sample_rate_hz // 1000

    @property
    def hop_samples(self) -> int:
        return self.hop_ms * self.sample_rate_hz // 1000

    @property
    def fft_size(self) -> int:
        """The window's samples rounded up to a power of two; the rest is zeros."""
        return 1 << (self.window_samples - 1).bit_length()

    def as_json(self) -> dict[str, Any]:
        """All parameters by name, and "kind"."""
        return {"kind": self.KIND, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """From `as_json`; what is not there has its default.

        Args:
            where: the file, for errors.

        Raises:
            TinygenError: a name that is unknown, or a value that is wrong.
        """
        where = where or cls.PLACE
        if values.get("kind", cls.KIND) != cls.KIND:
            raise TinygenError(f"kind is {values['kind']!r}", where=where, fix=f'It must be "{cls.KIND}".')
        rest = {name: value for name, value in values.items() if name != "kind"}
        known = {field.name for field in fields(cls)}
        for name in rest:
            if name not in known:
                fix = f"Known: {', '.join(sorted(known))}."
                raise TinygenError(f"{cls.NAME} has no parameter {name!r}", where=where, fix=fix)
        return cls(**rest)

    def _check_types(self) -> None:
        """Raises TinygenError where a value is not of its field's type."""
        for field in fields(self):
            value = getattr(self, field.name)
            types, wanted = _TYPES[str(field.type)]
            if not isinstance(value, types) or isinstance(value, bool) != (field.type == "bool"):
                raise self._wrong(field.name, value, wanted)

    def _check_time(self, shortest_window_ms: int = 1, why: str = "") -> None:
        """Raises TinygenError where window and hop are not whole samples that an FFT can take."""
        self._check("sample_rate_hz", self.sample_rate_hz, 1000, 192_000)
        self._check("hop_ms", self.hop_ms, 1, 1000)
        self._check("window_ms", self.window_ms, shortest_window_ms, 1000, why)
        self._check("window_ms", self.window_samples, 16, LARGEST_FFT, unit=" samples")
        if self.hop_samples < 1:
            raise self._wrong("hop_ms", self.hop_ms, "at least one sample")

    def _check(self, name: str, value: float, lowest: float, highest: float, why: str = "", unit: str = "") -> None:
        """Raises TinygenError unless lowest <= value <= highest; `why` explains the lowest."""
        if not lowest <= value <= highest:
            wanted = f"from {lowest:g}{f' ({why})' if why else ''} to {highest:g}{unit}"
            raise self._wrong(name, value, wanted, unit)

    def _wrong(self, name: str, value: object, wanted: str, unit: str = "") -> TinygenError:
        """The error: the value that the parameter has, and what it must be."""
        return TinygenError(f"{name} is {value!r}{unit}", where=f"{self.PLACE}: {name}", fix=f"It must be {wanted}.")
