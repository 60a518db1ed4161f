"""Bayesian optimisation of how many filters of a layer to remove (section 4.3.4, J. Snoek et al., NIPS 2012)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from tinygen.errors import TinygenError


@dataclass(frozen=True)
class RatioSearch:
    """Settings, the thesis's unless changed.

    Attributes:
        highest: upper end of the ratios tried; the lowest is 0.
        kappa: of the confidence bound mu - kappa sigma, whose minimum is tried next. ((4.10) prints it with argmax,
            which would be right for a gain; the objective is a loss.)
        random, guided: number of observations without and with the bound; 0 is tried in addition, so that pruning
            nothing can win.
        seed: of the random ones.
    """

    highest: float = 0.4
    kappa: float = 2.5
    random: int = 5
    guided: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.highest < 1:
            raise TinygenError(f"a highest ratio of {self.highest}", where="RatioSearch", fix="Between 0 and 1.")
        if self.random < 1 or self.guided < 0 or self.kappa < 0:
            raise TinygenError("observations or kappa below what can be", where="RatioSearch")


@dataclass(frozen=True)
class Observation:
    """A ratio that was tried, and its loss."""

    ratio: float
    loss: float


def best_ratio(loss: Callable[[float], float], settings: RatioSearch) -> tuple[float, list[Observation]]:
    """The ratio with the lowest loss, and all observations.

    Args:
        loss: gives the loss of a ratio.

    Raises:
        TinygenError: a loss is not a number; scikit-optimize is not installed.
    """
    try:
        from skopt import Optimizer
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError as error:
        raise TinygenError("scikit-optimize is not installed", fix="pip install 'tinygen[compress]'") from error
    optimizer = Optimizer(
        [(0.0, settings.highest)],
        "GP",
        n_initial_points=settings.random + 1,
        acq_func="LCB",
        acq_optimizer="sampling",
        acq_func_kwargs={"kappa": settings.kappa},
        random_state=settings.seed,
    )
    tried = [_observe(loss, 0.0)]
    optimizer.tell([0.0], tried[0].loss)
    with warnings.catch_warnings():
        # A bound that is least at a ratio already tried gets a random one instead, and says so.
        warnings.filterwarnings("ignore", message="The objective has been evaluated", category=UserWarning)
        for _ in range(settings.random + settings.guided):
            (ratio,) = optimizer.ask()
            tried.append(_observe(loss, float(ratio)))
            with threadpool_limits(1, user_api="blas"):  # matrices of a dozen rows: threads would wait for each other
                optimizer.tell([tried[-1].ratio], tried[-1].loss)
    best = min(tried, key=lambda observation: observation.loss)
    return best.ratio, tried


def _observe(loss: Callable[[float], float], ratio: float) -> Observation:
    value = float(loss(ratio))
    if not math.isfinite(value):
        raise TinygenError(f"the loss at a ratio of {ratio:.3f} is {value}", where="best_ratio")
    return Observation(ratio, value)
