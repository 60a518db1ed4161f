"""Modules of dynamic networks: early exits, skipped blocks, mixtures of experts."""

from tinygen.nn.decisions.base import Deciding, decisions, exploring
from tinygen.nn.decisions.exits import EarlyExit, WidestLogits, early_exits, every_exit, exits_of
from tinygen.nn.decisions.experts import MixtureOfExperts, load_balance, mixtures
from tinygen.nn.decisions.skip import SkipBlock, gate_cost, reinforce, skip_blocks

__all__ = [
    "Deciding",
    "EarlyExit",
    "MixtureOfExperts",
    "SkipBlock",
    "WidestLogits",
    "decisions",
    "early_exits",
    "every_exit",
    "exits_of",
    "exploring",
    "gate_cost",
    "load_balance",
    "mixtures",
    "reinforce",
    "skip_blocks",
]
