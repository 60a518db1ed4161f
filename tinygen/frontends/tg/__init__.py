"""tinygen's own model file, `.tg`: a Graph or Network as it is, with any encoding and operator the IR has."""

from tinygen.frontends.tg.reader import load_tg, load_tg_network, read_tg, read_tg_network
from tinygen.frontends.tg.writer import save_tg, write_tg

__all__ = ["load_tg", "load_tg_network", "read_tg", "read_tg_network", "save_tg", "write_tg"]
