"""Automatic pruning of quantized networks (L. E. Guerra Fernandez, thesis, Monash, 2024, chapter 4).

Filters are ranked by the distance between the kernels that read them and the quantized values of these kernels.
Bayesian optimisation of accuracy, parameters and bits finds how many filters of each layer to remove.
"""

from tinygen.compress.automatic.distance import METRICS, filter_closeness, interactions, kernel_closeness
from tinygen.compress.automatic.prune import AutomaticResult, AutomaticSettings, Pruned, prune_automatically
from tinygen.compress.automatic.search import RatioSearch, best_ratio

__all__ = [
    "METRICS",
    "AutomaticResult",
    "AutomaticSettings",
    "Pruned",
    "RatioSearch",
    "best_ratio",
    "filter_closeness",
    "interactions",
    "kernel_closeness",
    "prune_automatically",
]
