"""PyTorch modules, through torch.export, to graphs."""

from tinygen.frontends.torch.export import export

__all__ = ["export"]
