"""PyTorch modules, through torch.export, to graphs."""

from tinygen.frontends.torch.export import export, export_switches

__all__ = ["export", "export_switches"]
