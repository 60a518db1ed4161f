"""The network, its training, and what boards are given: on made-up features."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from tests.support.torch_models import need
from tinygen.apps.wakeword.dataset import Scenes
from tinygen.apps.wakeword.det import Scored
from tinygen.apps.wakeword.features import ENCODING
from tinygen.apps.wakeword.scenes import Kind
from tinygen.ir.interpreter import Stream
from tinygen.project.wakeword import cutoff_sum

torch = need("torch")

from tinygen.apps.wakeword.evaluate import Network, best_of_phrases, best_sums, choose, scored, without_near_misses  # noqa: E402
from tinygen.apps.wakeword.export import PROBABILITY, int8_stream, recipe_stream, switchable_stream  # noqa: E402
from tinygen.apps.wakeword.network import HOP, Shape, float_network, window_frames  # noqa: E402
from tinygen.apps.wakeword.phrase import Phrase  # noqa: E402
from tinygen.apps.wakeword.segments import IGNORED, PHRASES, STEPS, Segments  # noqa: E402
from tinygen.apps.wakeword.train import _calibration  # noqa: E402
from tinygen.apps.wakeword.training import (  # noqa: E402
    Effort,
    _warped,
    as_tensor,
    calm,
    hard_places,
    logits_of,
    train_float,
    train_recipe,
    train_switches,
)
from tinygen.nn import Affine8  # noqa: E402

FRAMES, LENGTH = 32, 240
SMALL = Shape((6, 8), (5, 3))
PATTERN = np.random.default_rng(8).integers(-128, 128, (12, 40))


def made_up(scenes: int, seed: int) -> Scenes:
    """Noise, and in half of the scenes a pattern three times: the "phrase"."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 0, (scenes, LENGTH, 40))
    said = []
    for scene in range(scenes // 2):
        for first in (40, 110, 180):
            first += int(rng.integers(0, 20))
            codes[scene, first : first + 12] = np.maximum(codes[scene, first : first + 12], PATTERN)
            said.append((scene, Kind.PHRASE, first, first + 12))
    return Scenes(codes.astype(np.int8), np.array(said, np.int64), np.zeros(scenes))


@pytest.fixture(scope="module")
def trained():
    segments = Segments(made_up(12, 0), FRAMES)
    network = float_network(FRAMES, SMALL)
    train_float(network, segments, Effort(50, 2, 0), seed=0)
    return network, segments


@pytest.fixture(scope="module")
def windows(trained) -> np.ndarray:
    codes = trained[1].scenes.codes
    return np.concatenate([codes[:, first : first + FRAMES] for first in (20, 60, 100)])


@pytest.fixture(scope="module")
def switches(trained, windows):
    network, segments = trained
    return switchable_stream(train_switches(network, segments, Effort(1, 1, 4), seed=0), windows, name="word_switches")


def test_labels_follow_the_windows_end() -> None:
    segments = Segments(made_up(2, 1), FRAMES)
    end = int(segments.ends[0][0])
    start = end - FRAMES + 1 - 10 * HOP
    labels = segments.labels(0, max(start, 0))
    behind = max(start, 0) + FRAMES - 1 + HOP * np.arange(STEPS) - end
    near = np.abs(behind) <= 1
    assert labels[near].tolist() == [1] * near.sum()
    assert (labels[(behind < -20)] != 1).all() and IGNORED in labels
    assert (segments.labels(1, 5) == 0).all()


def test_batches_begin_with_phrases(trained) -> None:
    _, segments = trained
    (features, labels), *_ = segments.batches(1, np.random.default_rng(0))
    assert features.shape == (32, 40, segments.length, 1) and labels.shape == (32, STEPS)
    assert (labels == 1).any(1).sum() >= PHRASES and (labels[:PHRASES] == 1).any(1).all()
    assert float(features.min()) >= 0 and float(features.max()) <= 26.0 + 1e-5


def test_windows_behind_phrases_end_there() -> None:
    segments = Segments(made_up(6, 3), FRAMES)
    for scene, start in segments.behind_phrase(40, np.random.default_rng(0)):
        behind = start + FRAMES - 1 - segments.ends[scene]
        assert ((behind >= 0) & (behind < 20)).any()


def test_windows_hold_a_slow_utterance_in_whole_steps() -> None:
    """At 120 words a minute instead of 175, with 25 frames of 10 ms more."""
    frames = window_frames(Phrase("hey tree", "", 0.6, ()))
    assert (frames - Shape().kernels[0]) % HOP == 0 and 0 <= frames - (0.6 * 175 / 120 / 0.01 + 25) < HOP


def test_calibration_takes_whole_windows() -> None:
    segments = Segments(made_up(6, 3), FRAMES)
    windows = _calibration(segments, 0)
    assert windows.shape[1:] == (FRAMES, *segments.scenes.codes.shape[2:]) and len(windows) >= 100


def test_training_finds_the_phrase(trained) -> None:
    network, segments = trained
    logits = np.stack(list(logits_of(network, segments.scenes)))
    ends = FRAMES - 1 + HOP * np.arange(logits.shape[1])
    labels = np.stack([np.isin(ends // HOP, segments.ends[scene] // HOP + 1) for scene in range(len(logits))])
    assert logits[labels].mean() > logits[6:].mean() + 3


def test_nothing_is_dropped_after_training(trained) -> None:
    network, segments = trained
    assert not network.whole._forward_pre_hooks
    codes = as_tensor(segments.scenes.codes[:1, :FRAMES])
    network.train()
    features = [network.whole(torch.ones(1, 8, network.whole.kernel_size[0], 1)) for _ in range(2)]
    network.eval()
    assert torch.equal(*features) and torch.equal(network(codes), network(codes))


def test_the_same_seed_gives_the_same_weights(trained) -> None:
    networks = [float_network(FRAMES, SMALL, seed=3) for _ in range(2)]
    for network in networks:
        train_float(network, trained[1], Effort(3, 2, 0), seed=4)
    one, same = (network.state_dict().values() for network in networks)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))


def test_logits_are_calmed_and_keep_their_order(trained) -> None:
    network, segments = copy.deepcopy(trained[0]), trained[1]
    with torch.no_grad():
        network.whole.weight.mul_(50), network.whole.bias.mul_(50)
    before = np.stack(list(logits_of(network, segments.scenes)))
    calm(network, segments)
    after = np.stack(list(logits_of(network, segments.scenes)))
    factor = after[0, 0] / before[0, 0]
    assert 0 < factor < 1 and np.allclose(after, factor * before, rtol=1e-3, atol=1e-3)
    calm(network, segments)
    assert np.allclose(np.stack(list(logits_of(network, segments.scenes))), after, rtol=1e-3, atol=1e-3)


def test_warped_channels_keep_a_flat_spectrum_and_move_a_peak() -> None:
    flat = torch.full((64, 40, 3, 1), 7.0)
    assert torch.allclose(_warped(flat, np.random.default_rng(0)), flat, atol=1e-4)
    peak = torch.zeros((64, 40, 3, 1))
    peak[:, 20] = 1.0
    moved = _warped(peak, np.random.default_rng(0))[:, :, 0, 0].argmax(1)
    assert 17 <= int(moved.min()) < int(moved.max()) <= 23


def test_hard_places_are_not_the_phrase(trained) -> None:
    _, segments = trained
    everything = float_network(FRAMES, SMALL)
    torch.nn.init.constant_(everything.whole.bias, 100.0)  # takes all for the phrase
    places = hard_places(everything, segments, np.random.default_rng(0))
    assert {scene for scene, _ in places} == set(range(12))
    assert all(0 <= start <= LENGTH - segments.length for _, start in places)


def test_int8_takes_the_data_sets_codes_and_streams(trained, windows) -> None:
    network, segments = trained
    assert np.mean(np.abs(_streamed(int8_stream(network, windows, name="word").first, network, segments))) < 0.05


@pytest.mark.parametrize("recipe", ["w2a2", "xnor"])
def test_few_bits_take_the_data_sets_codes_and_stream(recipe: str, trained, windows) -> None:
    """What is trained is what runs: but for the logit's 8 bits."""
    network, segments = trained
    few = train_recipe(network, recipe, segments, Effort(1, 1, 1, 4), seed=0)
    weights = few.conv2.quantized_weight()
    assert [len(torch.unique(channel)) <= (2 if recipe == "xnor" else 4) for channel in weights] == [True] * 8
    assert isinstance(few.relu2, Affine8)  # the last layer has 8 bits
    assert np.mean(np.abs(_streamed(recipe_stream(few, windows, name="word").first, few, segments))) < 0.01


def _streamed(graph, network, segments) -> np.ndarray:
    """A graph's probabilities over a scene, once a window is heard, less the module's."""
    assert graph.tensors[graph.inputs[0]].shape == (1, HOP, 1, 40)
    assert graph.tensors[graph.inputs[0]].encoding == ENCODING
    assert graph.tensors[graph.outputs[0]].encoding == PROBABILITY
    stream, codes = Stream(graph), segments.scenes.codes[0]
    steps = [int(stream.step([codes[None, i : i + HOP, None]])[0].reshape(())) for i in range(0, LENGTH, HOP)]
    ours = (np.array(steps[(FRAMES - 1) // HOP + 1 :]) + 128) / 256
    with torch.no_grad():
        phase = [float(network(as_tensor(codes[None, e - FRAMES + 1 : e + 1]))) for e in range(35, LENGTH, HOP)]
    assert len(phase) == len(ours)
    return ours - 1 / (1 + np.exp(-np.array(phase)))


def test_switches_take_the_same_codes(switches) -> None:
    assert switches.names == ("w8a8", "w4a4", "w2a2")
    for one in switches:
        assert one.graph.tensors[one.graph.inputs[0]].encoding == ENCODING
        assert one.graph.tensors[one.graph.outputs[0]].encoding == PROBABILITY
        assert one.graph.states


def test_the_host_computes_what_the_semantics_says(switches, trained, tmp_path: Path) -> None:
    scenes = trained[1].scenes
    few = Scenes(scenes.codes[:2], scenes.said[:6], scenes.snr_db[:2])
    for one in (*int8_stream(trained[0], scenes.codes[:8, 20 : 20 + FRAMES], name="word"), switches.switches[2]):
        found = Network(one.graph, tmp_path / one.name).outputs(few)
        stream = Stream(one.graph)
        steps = few.codes.reshape(-1, HOP, 1, 40)
        expected = [int(stream.step([step[None]])[0].reshape(())) for step in steps]
        assert found.ravel().tolist() == expected


def test_scores_and_the_chosen_cutoff(trained, windows, tmp_path: Path) -> None:
    network = Network(int8_stream(trained[0], windows, name="word").first, tmp_path)
    fresh = made_up(16, 9)
    phrases = Scenes(fresh.codes[:8], fresh.said, fresh.snr_db[:8])
    air = Scenes(fresh.codes[8:], np.zeros((0, 4), np.int64), fresh.snr_db[8:])
    result = scored(network, phrases, air, size=2)
    assert len(result.best) == len(phrases.said) and result.hours == air.hours
    point = choose(result)
    assert point.cutoff >= 0.5 and point.false_accepts.value <= 0.5
    assert point == result.at(point.threshold)


def test_near_misses_are_judged_apart() -> None:
    """One from frame 30 to 60, so steps 10 to 45 do not count."""
    air = Scenes(
        np.zeros((2, 300, 40), np.int8), np.array([[0, Kind.NEAR_MISS, 30, 60], [1, Kind.OTHER, 30, 60]]), np.zeros(2)
    )
    counts = without_near_misses(air)
    assert counts.shape == (2, 100) and np.flatnonzero(~counts[0]).tolist() == list(range(10, 46))
    assert counts[1].all()


def test_the_best_sum_is_from_begin_to_shortly_after() -> None:
    sums = np.zeros((1, 300), np.int64)
    sums[0, [9, 50, 70, 71]] = [5, 6, 7, 8]
    said = np.array([[0, 30, 137], [0, 30, 138], [0, 150, 150]])
    assert best_sums(sums, said).tolist() == [7, 8, 8]


def test_a_detection_is_of_one_phrase_alone() -> None:
    """Phrases that end in steps 30, 50 and 70, a step being 30 ms: the second one is missed."""
    sums = np.zeros((2, 300), np.int64)
    sums[0, [20, 31, 42, 43, 69, 95, 96]] = [9, 5, 4, 3, 6, 7, 8]
    said = np.array([[0, 30, 90], [0, 95, 150], [0, 160, 210], [1, 0, 6]])
    assert best_of_phrases(sums, said).tolist() == [5, 3, 7, 0]


@pytest.mark.parametrize(("best", "air", "threshold"), [(1275, 1275, 1274), (900, 900, 900), (90, 0, 640)])
def test_the_chosen_cutoff_can_be_passed(best: int, air: int, threshold: int) -> None:
    """Also of networks that are always sure, that take everything for the phrase, that never detect anything."""
    validation = Scored(size=5, best=np.full(9, best), sums=np.full(1200, air), hours=0.01, pause=33)
    point = choose(validation)
    assert point.threshold == threshold
    assert cutoff_sum(point.cutoff, 5, PROBABILITY) == threshold + 1 - 5 * 128
