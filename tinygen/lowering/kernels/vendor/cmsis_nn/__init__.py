"""Kernels that are calls of Arm's CMSIS-NN library (family "cmsis-nn"), one file per operator."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
