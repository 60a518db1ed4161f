"""PyTorch modules, through torch.export, to graphs."""

from tinygen.frontends.torch.compare import compare
from tinygen.frontends.torch.export import export, export_switches

__all__ = ["compare", "export", "export_switches"]
