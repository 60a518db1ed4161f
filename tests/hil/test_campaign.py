"""A slice of the campaign, see tests/hil/campaign.py; and that it notices harnesses that believe too much."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import ANY

import pytest

from tests.hil.campaign import KINDS, NEVER, RIGHT, WRONG, Talk, counted, hold
from tests.hil.campaign_boards import Rigs
from tinygen.hil.client import DeviceClient
from tinygen.hil.exchange import Exchange


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    yield Rigs(tmp_path_factory.mktemp("campaign"))


def test_no_wrong_result_is_called_right(rigs: Rigs) -> None:
    found = counted(hold(rigs, 1, range(12)))
    assert found["never"] == [] and found["outcomes"][RIGHT] > 2 and found["faults"] > 25


@pytest.mark.long
def test_nor_in_hundreds(rigs: Rigs) -> None:
    found = counted(hold(rigs, 2, range(300), emulated_every=50))
    assert found["never"] == [] and found["faults"] > 1000
    assert {name for name in found["networks"] if "emulated" not in name} == set(KINDS)


def test_it_notices_a_harness_that_believes_too_much(rigs: Rigs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither seals nor evidence: that is what the faults need to get through."""
    monkeypatch.setattr(Exchange, "_is_answer", lambda self, reply, text: True)
    monkeypatch.setattr(DeviceClient, "_ran", lambda self, *loaded: ANY)
    monkeypatch.setattr("tinygen.hil.client._sums", lambda data: ANY)
    outcomes = {talk.run().outcome for number in range(120) if (talk := Talk(rigs, 3, number)).kind == "farm"}
    assert outcomes & set(NEVER) and WRONG in outcomes
