"""Calibration: the ranges of a network from a set of inputs, without training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby

import torch
from torch import Tensor, nn

from tinygen.errors import UnsupportedError
from tinygen.nn.decisions import exploring
from tinygen.nn.quantizers import FollowedRange

_CHUNK = 1 << 18
"""Values of the model's input that run at once."""


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Finds all ranges of a network anew from inputs like those it will see; weights and batch norm stay.

    A range becomes the smallest and the largest value of the whole set, in the quantized network: the set is run until
    the ranges are those of a network that computes with them, to within half a step of 8 bits (two passes if the set
    runs at once, a few more otherwise). What is observed depends neither on the order of the samples nor on the batches
    that they come in, to the last bit. Parts that the network chooses between (exits, blocks, experts) run on all
    samples. A range that the network does not reach stays: that of another switch, say.

    Args:
        network: of quantized layers; modes are restored afterwards.
        batches: inputs, each a batch of the network's shape; a few hundred samples are enough.

    Raises:
        UnsupportedError: there is no sample.
    """
    chunks = _chunks(batches)
    if not chunks:
        raise UnsupportedError("no batch to calibrate with", where="calibrate", fix="Give at least one batch.")
    ranges = [part for part in network.modules() if isinstance(part, FollowedRange)]
    with _evaluating(network), exploring(network), _observing(ranges):
        # The first range of a network is right after one pass, the second one after two, ...: it ends.
        for _ in range(len(ranges) + 1):
            for chunk in chunks:
                network(chunk)
            if not sum(part.settle() for part in ranges):
                break


def _chunks(batches: Iterable[Tensor]) -> list[Tensor]:
    """The samples in an order of their own, by shape and content, in batches of equal size.

    Sums of float32 may depend, in the last bit, on a sample's place in its batch.
    """
    rows = sorted((row for batch in batches for row in batch), key=lambda row: (tuple(row.shape), _content(row)))
    found = []
    for _, same in groupby(rows, key=lambda row: row.shape):
        whole = torch.stack(list(same))
        found += whole.split(max(_CHUNK // max(whole[0].numel(), 1), 1))
    return found


def _content(row: Tensor) -> bytes:
    return row.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _observing(ranges: Iterable[FollowedRange]) -> Iterator[None]:
    """A context in which ranges are observed; an error leaves them as they were."""
    ranges = list(ranges)
    for part in ranges:
        part.start_calibration()
    try:
        yield
    except BaseException:
        for part in ranges:
            part.drop_calibration()
        raise
    for part in ranges:
        part.end_calibration()
