"""Adaptive conditional mutual information from hashed samples (SNACS's estimator).

Ganesh 2022, section 4.2.3. With g(t) = (t - 1)^2 / (2 (t + 1)), in all (4.4)

    I_phi(X; Y | Z) = E_{P_Z P_X|Z P_Y|Z} [phi g(dP_XY|Z / dP_X|Z dP_Y|Z)]

Each variable is cut into cells of width epsilon (H_1) and the cells are hashed to c_H N numbers (H_2). From the shares
r of samples per cell, a = r_ik r_jk / r_k being what independence would give, two forms:

- "literal", the printed (4.7): sum of phi a g(r_ijk / a) over cells that hold samples. Cells that independence would
  fill and that are empty add g(0) = 1/2 each in (4.4) and nothing here: with phi = 1 it stays below 1/2.
- "bounded": those cells included, which for phi = 1 is 1 - 2 sum of r a / (r + a), from 0 to 1. Where phi differs from
  cell to cell, empty cells count with its mean.

The curse of dimension: where every sample has a cell of Z for itself, r = a and every score is 0 but for collisions.
`cell_width` widens the cells until they hold samples enough.
"""

from __future__ import annotations

import numpy as np

from tinygen.compress.ranking import chosen
from tinygen.errors import ModelError

FORMS = ("bounded", "literal")
SAMPLES_PER_CELL = 60
"""Of Z, on average: several for each pair of cells of X and Y. Ours; the thesis gives no epsilon."""
COLLISIONS = 4
"""c_H: hashes per sample. Ours too."""
HASH_BITS = 21
"""Of a hash: three of them are one int64."""


class Hash:
    """One draw of H = H_2(H_1): b and the coefficients of a vector multiply-shift hash for a number of columns.

    Contributions of columns add up, so that hashes of all columns but one cost a subtraction.

    Args:
        values: [N, d], of comparable spread.
        width: epsilon, above 0.
        samples: N, for c_H N hashes.
        generator: of b and the coefficients.

    Raises:
        ModelError: so many samples that three hashes do not fit in one number.
    """

    def __init__(self, values: np.ndarray, width: float, generator: np.random.Generator) -> None:
        self.buckets = COLLISIONS * len(values)
        if self.buckets > 1 << HASH_BITS:
            fix = f"Give at most {(1 << HASH_BITS) // COLLISIONS:,}."
            raise ModelError(f"{len(values):,} samples", where="hash estimator", fix=fix)
        self.parts = _mixed(cells_of(values, width, generator), generator)
        self.total = self.parts.sum(1, dtype=np.uint64)

    def of(self, columns: slice) -> np.ndarray:
        """Hashes of these columns, [N] int64."""
        return self._fold(self.parts[:, columns].sum(1, dtype=np.uint64))

    def without(self, columns: slice) -> np.ndarray:
        """Hashes of all others."""
        return self._fold(self.total - self.parts[:, columns].sum(1, dtype=np.uint64))

    def _fold(self, sums: np.ndarray) -> np.ndarray:
        return ((sums >> np.uint64(32)) * np.uint64(self.buckets) >> np.uint64(32)).astype(np.int64)


def cells_of(values: np.ndarray, width: float, generator: np.random.Generator) -> np.ndarray:
    """H_1: floor((x + b) / epsilon) of each column, b uniform in [0, epsilon]; int64 [N, d]."""
    return np.floor((values + generator.uniform(0.0, width, values.shape[1])) / width).astype(np.int64)


def _mixed(cells: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Cells times random odd numbers, modulo 2^64: sums over columns are the same for equal cells, else by chance."""
    factors = generator.integers(0, 2**64, cells.shape[1], dtype=np.uint64) | np.uint64(1)
    return cells.astype(np.uint64) * factors


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and standard deviation 1; constant ones are 0."""
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, np.inf)


def cell_width(values: np.ndarray, samples_per_cell: float = SAMPLES_PER_CELL, smallest: float = 1.0) -> float:
    """The smallest of epsilon = smallest * 2^(k/4) at which cells that hold samples hold this many on average.

    It grows with the dimension, and with fewer samples.

    Args:
        values: [N, d], standardised.
    """
    wanted = len(values) / min(samples_per_cell, len(values))
    width = smallest
    while values.shape[1] and _occupied(values, width) > wanted:
        width *= 2**0.25
    return width


def _occupied(values: np.ndarray, width: float) -> int:
    generator = np.random.default_rng(0)
    return len(np.unique(_mixed(cells_of(values, width, generator), generator).sum(1, dtype=np.uint64)))


def hashed_information(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, phi: np.ndarray | float = 1.0, form: str = "bounded"
) -> float:
    """The estimate from hashes of N samples.

    Args:
        x, y, z: [N], non-negative integers below 2^21.
        phi: at least 0; one for all, or of each sample [N] (a cell has the mean of its samples).
        form: "bounded" or "literal".
    """
    chosen("form", form, FORMS)
    count = len(x)
    _, first, cell, joint = np.unique(
        (x << 2 * HASH_BITS) | (y << HASH_BITS) | z, return_index=True, return_inverse=True, return_counts=True
    )
    with_x, with_y, alone = (_sizes(key)[first] for key in ((x << HASH_BITS) | z, (y << HASH_BITS) | z, z))
    r, a = joint / count, with_x * with_y / alone / count
    weight = np.bincount(cell, np.broadcast_to(phi, count)) / joint
    if form == "literal":
        return float((weight * (r - a) ** 2 / (2 * (r + a))).sum())
    mean = float((weight * r).sum())
    expected = float((weight * a).sum()) + mean * (1.0 - float(a.sum()))
    return 0.5 * (mean + expected) - 2.0 * float((weight * r * a / (r + a)).sum())


def _sizes(key: np.ndarray) -> np.ndarray:
    """How many samples share each sample's key."""
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    return counts[inverse]


def adaptive_information(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, *, phi: np.ndarray | float = 1.0, form: str = "bounded",
    widths: tuple[float, float, float] | None = None, seed: int = 0,
) -> float:  # fmt: skip
    """The estimate of I_phi(X; Y | Z) from samples.

    Args:
        x, y, z: [N, d_x], [N, d_y], [N, d_z], standardised.
        widths: epsilon of X, Y and Z; by `cell_width` unless given (X and Y: with a tenth of the samples per cell).
        seed: of the hashes.

    Raises:
        ModelError: not as many samples of each, or none.
    """
    if not len(x) == len(y) == len(z) or not len(x):
        what = f"{len(x)}, {len(y)} and {len(z)} samples"
        raise ModelError(what, where="adaptive_information", fix="Give as many of each.")
    generator = np.random.default_rng(seed)
    if widths is None:
        widths = (cell_width(x, len(x) / 10), cell_width(y, len(y) / 10), cell_width(z))
    of_x, of_y, of_z = (Hash(v, w, generator).of(slice(None)) for v, w in zip((x, y, z), widths, strict=True))
    return hashed_information(of_x, of_y, of_z, phi, form)
