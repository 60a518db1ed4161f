"""Conditional geometric mutual information from a minimum spanning tree (MINT's estimator).

S. Yasaei Sekeh, A. Hero, "Geometric Estimation of Multivariate Dependency", Entropy 2019; Ganesh 2022, section 3.2.4,
Algorithms 2 and 3:

    I(X; Y | Z) = E_Z [1 - 2 int int f_XY|Z f_X|Z f_Y|Z / (f_XY|Z + f_X|Z f_Y|Z)]    (3.4, 3.5; p = 1/2)

from 0 (independent) to 1. Samples are split in three. The first part stands for the joint density; from the second and
the third, a nearest-neighbour bootstrap draws samples that are independent given Z: x and z of a sample of the second
part, and y of the sample of the third whose z is nearest. A Euclidean minimum spanning tree over both has R edges from
one kind to the other (Friedman and Rafsky), and 1 - R / n estimates I. (Algorithm 2's last line is garbled in the text;
this is Friedman and Rafsky's for two samples of n.) It can be slightly below 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from tinygen.errors import ModelError


def balanced(values: np.ndarray) -> np.ndarray:
    """Columns of [N, d] with mean 0 and standard deviation 1, divided by sqrt(d); constant columns are 0.

    Ours: mutual information does not depend on it, but Euclidean distances do. If Z is a hundred filters and X and Y
    are one each, distances of unscaled values depend on Z alone.
    """
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, np.inf) / np.sqrt(max(values.shape[1], 1))


def geometric_information(x: np.ndarray, y: np.ndarray, z: np.ndarray, seed: int = 0, splits: int = 1) -> float:
    """The estimate of I(X; Y | Z); values are taken as they are, see `balanced`.

    Args:
        x, y, z: [N, d_x], [N, d_y], [N, d_z]; d_z may be 0 (no condition).
        seed: of the splits.
        splits: that the estimate is the mean of.

    Raises:
        ModelError: fewer than 6 samples, or not as many of each; no split.
    """
    return geometric_informations([x], y, z, seed, splits)[0]


def geometric_informations(
    xs: Sequence[np.ndarray], y: np.ndarray, z: np.ndarray, seed: int = 0, splits: int = 1
) -> list[float]:
    """`geometric_information` for several X beside the same Y and Z: neighbours and most distances are shared."""
    if splits < 1:
        raise ModelError(f"{splits} splits", where="geometric_information", fix="Give at least one.")
    generator = np.random.default_rng(seed)
    return np.mean([_of_split(xs, y, z, generator) for _ in range(splits)], axis=0).tolist()


def _of_split(xs: Sequence[np.ndarray], y: np.ndarray, z: np.ndarray, generator: np.random.Generator) -> list[float]:
    count = len(y) // 3
    if count < 2 or len(y) != len(z) or any(len(x) != len(y) for x in xs):
        what = f"{' and '.join(str(n) for n in sorted({len(values) for values in (*xs, y, z)}))} samples"
        raise ModelError(what, where="geometric_information", fix="Give as many of each variable, 6 at least.")
    order = generator.permutation(len(y))
    joint, second, third = order[:count], order[count : 2 * count], order[2 * count : 3 * count]
    # Of a sample that is independent by construction x and z come from the second part, y from the third.
    own, other = np.concatenate((joint, second)), np.concatenate((joint, third[_nearest(z[second], z[third])]))
    shared = _squared(z[own]) + _squared(y[other])
    return [1.0 - _crossings(shared + _squared(x[own]), count) / count for x in xs]


def _nearest(points: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The index of the nearest of `among` for each point; with 0 dimensions, the one at the same index."""
    if not points.shape[1]:
        return np.arange(len(points))
    return NearestNeighbors(n_neighbors=1, algorithm="brute").fit(among).kneighbors(points, return_distance=False)[:, 0]


def _squared(values: np.ndarray) -> np.ndarray:
    """Squared distances between all samples [N, d], [N, N]."""
    if not values.shape[1]:
        return np.zeros((len(values), len(values)))
    return cdist(values, values, "sqeuclidean")


def _crossings(squared: np.ndarray, count: int) -> int:
    """Edges of the minimum spanning tree that join one of the first `count` samples with one of the others.

    A tree is minimal for distances and for their squares alike. Prim's algorithm on all distances: SciPy's tree would
    sort them first, which takes twenty times as long for 2,000 samples, and takes distances of 0 for no edge.
    """
    total = len(squared)
    first = np.arange(total) < count
    nearest = np.zeros(total, np.int64)
    distance, outside = squared[0].copy(), np.ones(total, bool)
    distance[0], outside[0] = np.inf, False
    crossings = 0
    for _ in range(total - 1):
        added = int(distance.argmin())
        crossings += int(first[added] != first[nearest[added]])
        distance[added], outside[added] = np.inf, False
        closer = (squared[added] < distance) & outside
        np.putmask(distance, closer, squared[added])
        np.putmask(nearest, closer, added)
    return crossings
