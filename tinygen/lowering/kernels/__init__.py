"""Kernels, one file per operator: which kernels can compute it, and how each packs its constants."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
