"""The available compressed networks, and the folder of trained ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinygen.builds.folder import FILES, Folder, Record, sha256_of
from tinygen.errors import ModelError, TinygenError
from tinygen.frontends.tg import load_tg_network, write_tg
from tinygen.ir.network import Network
from tinygen.version import VERSION

FLOAT = "float"
"""The network that all choices but the switchable one start from, trained on for as long; no board runs it."""
CHOICES: Mapping[str, str] = {
    "int8": "8-bit weights and activations",
    "w4": "4-bit weights and activations",
    "xnor": "1-bit weights and activations",
    "pruned": "half of the filters, then 8 bits",
    "gated": "half of the filters, those that each digit needs, 8 bits",
    "switchable": "eight switches in one firmware",
}
"""What each is; first and last layers have 8-bit weights in all of them."""


@dataclass(frozen=True)
class Settings:
    """Settings of a training.

    Attributes:
        seed: of the initial weights and the order of digits.
        epochs: of every training; None for the epochs of the benchmark suites.
    """

    seed: int = 0
    epochs: int | None = None


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        name: of the choice, or FLOAT.
        network: None for FLOAT.
        wrong: indices of the test digits that PyTorch misclassifies, by switch; by "" if the network has no switches.
        seconds: duration of the training.
    """

    name: str
    network: Network | None
    wrong: Mapping[str, Sequence[int]]
    seconds: float

    def right(self, count: int) -> dict[str, int]:
        """Number of the first `count` test digits that PyTorch classifies correctly, by the switch's name."""
        return {switch: count - sum(digit < count for digit in digits) for switch, digits in self.wrong.items()}


def parse_choices(text: str) -> tuple[str, ...]:
    """Names from a comma-separated list; "all" for all choices.

    Raises:
        TinygenError: a choice is unknown or listed twice.
    """
    if text == "all":
        return tuple(CHOICES)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in CHOICES]
    if unknown or not names:
        what = f"there is no choice '{unknown[0]}'" if unknown else "no choice is named"
        raise TinygenError(what, where="--choices", fix=f"Choices: {', '.join(CHOICES)}.")
    if len(set(names)) < len(names):
        raise TinygenError("names a choice twice", where="--choices")
    return names


class Store:
    """Trained networks in a folder: NAME.tg, and NAME.json with the settings and sources of the training.

    Args:
        folder: made when the first network is kept.
        settings: of the training.
        sources: bytes of the training's code: if they change, networks are trained again.
        force: whether to replace networks that were changed since they were kept.
    """

    def __init__(self, folder: Path, settings: Settings, sources: Sequence[bytes], *, force: bool = False) -> None:
        self.folder, self.force = folder, force
        digest = hashlib.sha256(b"".join(hashlib.sha256(source).digest() for source in sources)).hexdigest()
        self._key: dict[str, Any] = {"tinygen": VERSION, "training": digest, **asdict(settings)}

    def model_file(self, name: str) -> Path:
        return self.folder / f"{name}.tg"

    def load(self, name: str) -> Trained | None:
        """The network kept under that name; None if there is none, it is damaged, or settings or sources changed."""
        try:
            entry = json.loads((self.folder / f"{name}.json").read_text())
            if entry["key"] != self._key:
                return None
            network = None
            path = self.model_file(name)
            if path.name in entry[FILES]:
                if sha256_of(path.read_bytes()) != entry[FILES][path.name]:
                    return None
                network = load_tg_network(path)
            wrong = {switch: [int(digit) for digit in digits] for switch, digits in entry["wrong"].items()}
            return Trained(name, network, wrong, float(entry["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelError):
            return None

    def check(self, name: str) -> None:
        """Checks that a network can be kept under that name.

        Raises:
            TinygenError: files of that name are foreign or were changed, or the folder is not writable.
        """
        place = self._place(name)
        place.check()
        place.check_free([self.model_file(name).name, place.record.name])

    def keep(self, trained: Trained) -> None:
        """
        Raises:
            TinygenError: see `check`.
        """
        network = trained.network
        files = {}
        if network is not None:
            model = write_tg(network if network.is_switchable else network.first)
            files[self.model_file(trained.name).name] = model
        wrong = {switch: list(digits) for switch, digits in trained.wrong.items()}
        entry = {"key": self._key, "wrong": wrong, "seconds": trained.seconds}
        self._place(trained.name).write(entry, files)

    def _place(self, name: str) -> Folder:
        return Folder(self.folder, Record(f"{name}.json", "trained network", shares=True), force=self.force)
