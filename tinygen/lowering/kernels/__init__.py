"""Kernels, a room for each kind of layer: which can compute it, and how each packs its constants."""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
