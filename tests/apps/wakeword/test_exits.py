"""A streaming network with an exit: what is trained, what boards get, and what an hour of it takes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.torch_models import need
from tinygen.apps.wakeword.dataset import Scenes
from tinygen.ir.branch import branches_of
from tinygen.ir.interpreter import Stream, evaluate

torch = need("torch")

from tinygen.apps.wakeword.exits import ExitNetwork, OneWindow, int8_exit  # noqa: E402
from tinygen.apps.wakeword.export import spanning  # noqa: E402
from tinygen.apps.wakeword.listening import STEPS_PER_HOUR, ExitPoint, exit_code, goes_on, hours_of  # noqa: E402
from tinygen.apps.wakeword.network import HOP  # noqa: E402
from tinygen.apps.wakeword.training import as_tensor  # noqa: E402

FRAMES, STEPS = 80, 10


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (4, FRAMES + HOP * (STEPS - 1), 40)).astype(np.int8)


@pytest.fixture(scope="module")
def found(codes):
    network = ExitNetwork(FRAMES).eval()
    return int8_exit(network, as_tensor(spanning(codes[:, :FRAMES])), name="word")


@pytest.mark.parametrize("frames", [62, 80, 83, 86, 89, 92, 95, 140])
def test_strides_give_what_dilations_gave(frames: int) -> None:
    """Of whatever window: the answer is of all of it, the last frame included."""
    network = ExitNetwork(frames, seed=1).eval()
    features = torch.rand(2, 40, frames + 2 * HOP, 1) * 26
    exits, answers = network.both(features)
    window = OneWindow(network).eval()
    assert exits.shape == answers.shape == (2, 1, 3, 1)
    for step in range(3):
        leave, answer = window(features[:, :, HOP * step : HOP * step + frames])
        assert torch.allclose(leave[:, 0], exits[:, 0, step, 0], atol=1e-5)
        assert torch.allclose(answer[:, 0], answers[:, 0, step, 0].sigmoid(), atol=1e-5)
    changed = features[:, :, :frames].clone()
    changed[:, :, -1] += 5
    assert not torch.equal(window(changed)[1], window(features[:, :, :frames])[1])


def test_steps_that_leave_have_the_lowest_answer(found, codes) -> None:
    """Those that go on have the whole network's, code for code."""
    windows = [codes[:1, HOP * step : HOP * step + FRAMES, None] for step in range(STEPS)]
    exits, answers = np.array([evaluate(found.window, [window]) for window in windows])[:, :, 0, 0].T.tolist()
    code = sorted(exits)[STEPS // 2]
    assert len({one >= code for one in exits}) == 2
    graph = found.stream(code).first
    (branch,) = branches_of(graph)
    leave, rest = branch.branches
    assert not leave.ops and len(rest.ops) > 3
    stream, gate = Stream(graph), Stream(found.gate())
    # Steps and windows end with the same frames; so the stream has not heard the first ones of the first window.
    steps = [codes[:1, at : at + HOP, None] for at in range(FRAMES % HOP, codes.shape[1], HOP)]
    given = [(int(stream.step([one])[0].item()), int(gate.step([one])[0].item())) for one in steps]
    expected = [(answer if leave >= code else -128, leave) for leave, answer in zip(exits, answers, strict=True)]
    assert given[1 - STEPS :] == expected[1:]


def test_the_exit_keeps_five_steps_of_all_but_a_few_phrases() -> None:
    codes = np.full((1, 300), -100, np.int8)
    said = np.array([[0, HOP * first, HOP * (first + 10)] for first in (20, 120, 220)])
    for (_, _, end), high in zip(said, (50, 30, 10), strict=True):
        codes[0, end // HOP : end // HOP + 5] = high
    assert [exit_code(codes, said, lost) for lost in (0.0, 0.34, 0.67)] == [10, 30, 50]
    codes[0, 230 + 4] = -100  # four steps are not enough
    assert exit_code(codes, said, 0.0) == -100


def test_shares_of_silence_and_of_speech() -> None:
    air = Scenes(np.zeros((2, 3, 40), np.int8), np.zeros((0, 4), np.int64), np.array([np.nan, 10.0]))
    codes = np.array([[0, 1, 2, 3], [5, 5, 5, 0]], np.int8)
    assert goes_on(codes, air, 3) == (0.25, 0.75)


def test_an_hour_is_front_end_and_what_runs() -> None:
    """Joules of an hour at the board's current: 120,000 steps."""
    costs = SimpleNamespace(best=SimpleNamespace(cycles=1_000), worst=SimpleNamespace(cycles=11_000))
    static = SimpleNamespace(profile=SimpleNamespace(cycles_predicted=5_000), costs=None)
    manifests = {"model": static, "exit": SimpleNamespace(profile=static.profile, costs=costs)}
    point = ExitPoint(0.005, 3, SimpleNamespace(name="exit, 0.5 %"), noise=0.0, speech=0.1)
    model, exits = hours_of(manifests, 2_000.0, [point], "f746zg")
    assert (model.noise, model.speech, model.worst) == (5_000, 5_000, 5_000)
    assert (exits.noise, exits.speech, exits.worst) == (1_000, 2_000, 11_000)
    assert STEPS_PER_HOUR == 120_000
    # boards/f746zg.yaml: 102 mA at 3.3 V, 216 MHz
    assert model.joules_noise == pytest.approx(120_000 * 7_000 / 216e6 * 0.102 * 3.3, rel=1e-4)
    assert exits.joules_speech == pytest.approx(120_000 * 4_000 / 216e6 * 0.102 * 3.3, rel=1e-4)
    assert replace(model, joules_noise=None).as_json()["joules_noise"] is None
