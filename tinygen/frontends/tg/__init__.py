"""tinygen's own model file, `.tg`: a Graph as it is, with any encoding and operator the IR has."""

from tinygen.frontends.tg.reader import load_tg, read_tg
from tinygen.frontends.tg.writer import save_tg, write_tg

__all__ = ["load_tg", "read_tg", "save_tg", "write_tg"]
