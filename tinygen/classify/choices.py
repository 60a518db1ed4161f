"""The compressed networks that there are to choose from, and the folder that keeps the trained ones."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    "switchable": "eight switches in one firmware",
}
"""What each is; first and last layers have 8-bit weights in all of them."""


@dataclass(frozen=True)
class Settings:
    """What a training depends on.

    Attributes:
        seed: of initial weights and of the order of digits.
        epochs: of every training; None for those of the benchmark suites.
    """

    seed: int = 0
    epochs: int | None = None


@dataclass(frozen=True)
class Trained:
    """A network as it came out of training.

    Attributes:
        name: of the choice, or FLOAT.
        network: None for FLOAT.
        right: test digits that PyTorch classifies rightly, by the switch's name; "" where there are none.
        seconds: that the training took.
    """

    name: str
    network: Network | None
    right: Mapping[str, int]
    seconds: float


def parse_choices(text: str) -> tuple[str, ...]:
    """Names from a list with commas; "all" for all of them.

    Raises:
        TinygenError: there is no such choice, or one comes twice.
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
    """Trained networks in a folder: NAME.tg with NAME.json beside it, which says what made it.

    Args:
        folder: made when the first is kept.
        settings: of the training.
        sources: bytes of the training's code: with others, networks are trained again.
    """

    def __init__(self, folder: Path, settings: Settings, sources: Sequence[bytes]) -> None:
        self.folder = folder
        digest = hashlib.sha256(b"".join(hashlib.sha256(source).digest() for source in sources)).hexdigest()
        self._key: dict[str, Any] = {"tinygen": VERSION, "training": digest, **asdict(settings)}

    def model_file(self, name: str) -> Path:
        return self.folder / f"{name}.tg"

    def load(self, name: str) -> Trained | None:
        """What was kept under that name; None where nothing is, or it was made otherwise or is damaged."""
        try:
            entry = json.loads((self.folder / f"{name}.json").read_text())
            if entry["key"] != self._key:
                return None
            network = None
            if entry["sha256"] is not None:
                path = self.model_file(name)
                if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
                    return None
                network = load_tg_network(path)
            return Trained(name, network, dict(entry["right"]), float(entry["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, ModelError):
            return None

    def keep(self, trained: Trained) -> None:
        """
        Raises:
            TinygenError: it cannot be written.
        """
        network, digest = trained.network, None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if network is not None:
                content = write_tg(network if network.is_switchable else network.first)
                digest = hashlib.sha256(content).hexdigest()
                write_whole(self.model_file(trained.name), content)
            entry = {
                "key": self._key, "sha256": digest, "right": dict(trained.right), "seconds": trained.seconds,
            }  # fmt: skip
            write_whole(self.folder / f"{trained.name}.json", (json.dumps(entry, indent=2) + "\n").encode())
        except OSError as error:
            raise TinygenError(f"cannot be written ({error.strerror})", where=str(self.folder)) from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is either there with all of its content, or as it was."""
    with tempfile.TemporaryDirectory(prefix=".tinygen-", dir=path.parent) as temporary:
        new = Path(temporary) / path.name
        new.write_bytes(content)
        new.replace(path)
