"""The copy of its model that a build directory keeps."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from tinygen.builds.folder import sha256_of
from tinygen.builds.manifest import MODEL_COPY, Manifest, Named
from tinygen.errors import TinygenError
from tinygen.frontends.tg import read_tg_network
from tinygen.frontends.tg.writer import write_tg
from tinygen.ir.network import Network


def keep_model(source: Network, folder: Path) -> Named:
    """Writes the model into a build directory; gives its entry in the manifest."""
    content = write_tg(source if source.is_switchable else source.first)
    (folder / MODEL_COPY).write_bytes(content)
    return Named(MODEL_COPY, sha256_of(content))


def read_kept_model(folder: Path, manifest: Manifest) -> Network:
    """Reads the model that a build directory was made from.

    Raises:
        TinygenError: the directory's copy of the model has been changed.
    """
    path = folder / MODEL_COPY
    if not path.is_file():
        raise TinygenError(f"holds no copy of its model ({MODEL_COPY})", where=str(folder), fix="Build it again.")
    content = path.read_bytes()
    if sha256_of(content) != manifest.model_copy.sha256:
        raise TinygenError("is not the model of this build", where=str(path), fix="Build it again.")
    return _network(content)


@lru_cache(maxsize=2)
def _network(content: bytes) -> Network:
    """Cached: every switch of a network is compared with the model, and reading takes longer the more switches there
    are.
    """
    return read_tg_network(content, where=MODEL_COPY)
