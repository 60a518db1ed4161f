"""SNACS: limits, sensitivity, scores and the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn, optim

from tests.support.torch_models import need

need("sklearn")

from tests.compress.test_mint import wired  # noqa: E402
from tests.compress.test_observe import images, network  # noqa: E402
from tests.nn.test_convert import digits  # noqa: E402
from tinygen.compress.blocks import Grid, slices  # noqa: E402
from tinygen.compress.masking import apply_masks, masks_of, sparsity  # noqa: E402
from tinygen.compress.mint import Connectivity  # noqa: E402
from tinygen.compress.observe import Observed, Observer  # noqa: E402
from tinygen.compress.pruning_limits import Probe, shared_limits  # noqa: E402
from tinygen.compress.sensitivity import downstream, most_sensitive, sensitivity  # noqa: E402
from tinygen.compress.snacs import PHI, Estimator, _best, _phi, connectivity, lowest_removed, snacs  # noqa: E402
from tinygen.errors import ModelError, UnsupportedError  # noqa: E402

torch.set_num_threads(1)

CURVES = {
    "a": {0.25: 1.0, 0.5: 0.8, 0.75: 0.9, 0.99: 0.2},
    "b": {0.25: 0.95, 0.5: 0.95, 0.75: 0.6, 0.99: 0.6},
}
SIZES = {"a": 100, "b": 300, "rest": 400}


def test_limits_take_the_last_crossing_of_a_common_threshold() -> None:
    """At 0.8 layer a goes on to 0.75, though 0.5 is not above it."""
    found = shared_limits(CURVES, SIZES, 0.25)
    assert found.shares == {"a": 0.75, "b": 0.5}
    assert 0.899 < found.threshold < 0.9 and found.total == pytest.approx((75 + 150) / 800)
    assert shared_limits(CURVES, SIZES, 0.03).shares == {"a": 0.25, "b": 0.0}
    assert shared_limits(CURVES, SIZES, 0.3).shares == {"a": 0.75, "b": 0.99}
    assert shared_limits(CURVES, SIZES, 0.0).shares == {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize("total", [0.02, 0.1, 0.25, 0.3, 0.495])
def test_exact_limits_add_up(total: float) -> None:
    found = shared_limits(CURVES, SIZES, total, exact=True)
    assert found.total == pytest.approx(total)
    assert sum(SIZES[name] * share for name, share in found.shares.items()) == pytest.approx(800 * total)
    most = shared_limits(CURVES, SIZES, total).shares
    assert all(share <= most[name] for name, share in found.shares.items())


def test_limits_that_cannot_be_reached() -> None:
    with pytest.raises(UnsupportedError, match=r"remove 60.0% of the weights: 49.5% is all .*\nAsk for less"):
        shared_limits(CURVES, SIZES, 0.6)
    with pytest.raises(UnsupportedError, match="share -1"):
        shared_limits(CURVES, SIZES, -1)


@pytest.mark.parametrize("shape", [(5, 7, 3, 3), (10, 64), (1, 4, 1, 1)])
@pytest.mark.parametrize("absolute", [False, True])
def test_sensitivities_add_up_to_the_readers(shape: tuple[int, ...], absolute: bool) -> None:
    for seed in range(20):
        weights = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        values = sensitivity(weights, absolute=absolute)
        assert len(values) == shape[1]
        assert float(values.sum()) == pytest.approx(shape[0], rel=1e-6)
        assert bool((values >= 0).all()) or not absolute


def test_signed_sensitivities_cancel() -> None:
    """(4.10) by hand: 2 / 0.5, -1 / 0.5, -0.5 / 0.5; of sizes 2, 1 and 0.5 of 3.5."""
    weights = torch.tensor([[[[1.0, 3.0]], [[-2.0, 0.0]], [[-0.5, -0.5]]]])
    torch.testing.assert_close(sensitivity(weights), torch.tensor([4.0, -2.0, -1.0]).double())
    torch.testing.assert_close(sensitivity(weights, absolute=True), torch.tensor([4.0, 2.0, 1.0]).double() / 7)


def test_a_sum_of_zero_has_no_shares_to_give() -> None:
    weights = torch.tensor([[1.0, -1.0], [3.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(sensitivity(weights), torch.tensor([0.75, 0.25]).double())


def test_the_most_sensitive() -> None:
    values = torch.tensor([0.1, 3.0, -9.0, 3.0])
    assert most_sensitive(values, 0.0).tolist() == [False] * 4
    assert most_sensitive(values, 0.25).tolist() == [False, True, False, False]
    assert most_sensitive(values, 0.3).tolist() == [False, True, False, True]


def test_readers_of_a_residual_network() -> None:
    net = network().eval()
    observer = Observer(net, images())
    first = downstream(observer, "first")
    assert first is not None and first.shape == (16, 4)
    torch.testing.assert_close(first[:8], net.second.weight.detach().double().mean((2, 3)))
    last = downstream(observer, "third")
    torch.testing.assert_close(last, net.head.weight.detach().double().reshape(3, 8, 9).mean(2))
    assert downstream(observer, "head") is None


def test_phi_is_as_printed() -> None:
    net, x, _, _ = wired()
    layer = net[2]
    torch.nn.init.normal_(layer.weight)
    seen = Observer(net, x).observed("2")
    parts = slices(8, 8)
    w = layer.weight.detach().abs().squeeze() / layer.weight.detach().abs().max()
    default = np.array(_phi("exp(-w2/2)", seen, layer, parts, parts), float)
    np.testing.assert_allclose(default, np.exp(-(w.double().numpy() ** 2) / 2), rtol=1e-6)
    assert default.min() == pytest.approx(0.6065, abs=1e-4), "it falls with the weight"
    act = np.array(_phi("act", seen, layer, parts, parts))
    assert act.shape == (8, 8, 300) and act.max() == 1.0
    pair = np.hypot(seen.outputs[:, 2].numpy(), seen.inputs[:, 5].numpy())
    np.testing.assert_allclose(act[2, 5] / act[2, 5].max(), pair / pair.max(), rtol=1e-5)
    both = np.array(_phi("exp(-w2 act2/2)", seen, layer, parts, parts))
    np.testing.assert_allclose(both[2, 5], np.exp(-(float(w[2, 5]) ** 2) * act[2, 5] ** 2 / 2), rtol=1e-5)


@pytest.mark.parametrize("form", ["bounded", "literal"])
def test_real_connections_score_highest(form: str) -> None:
    net, x, _, connected = wired()
    for phi in PHI[:1] if form == "literal" else ("1", "act"):
        scores = connectivity(Observer(net, x).observed("2"), net[2], Grid(8, 8), Estimator(phi, form)).scores
        real, cut = scores[connected.numpy()], scores[~connected.numpy()]
        assert (real[:, None] > cut).mean() > 0.97, phi


@pytest.mark.parametrize("channels", [32, 64])
def test_scores_do_not_collapse_at_a_layer_s_real_width(channels: int) -> None:
    """Filter i copies channel i, behind as many others as a convolution has; 500 samples."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, channels, generator=generator)
    layer = nn.Linear(channels, 4)
    scores = connectivity(Observed(inputs, inputs[:, :4]), layer, Grid(4, channels), Estimator("1")).scores
    same, others = np.diag(scores), scores[~np.eye(4, channels, dtype=bool)]
    assert same.min() > 0.2 and others.max() < 0.1 and same.min() > 5 * others.mean()


def test_lowest_blocks_go_but_for_protected_rows() -> None:
    found = Connectivity(np.array([[0.1, 0.2], [0.3, 0.4]]), Grid(2, 2), (4, 2))
    assert lowest_removed(found, 0.5).tolist() == [[False, False]] * 2 + [[True, True]] * 2
    protected = np.array([True, False])
    assert lowest_removed(found, 0.25, protected).tolist() == [[True, True]] * 2 + [[False, True]] * 2
    assert lowest_removed(found, 0.9, protected).tolist() == [[True, True]] * 2 + [[False, False]] * 2


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    x, y = digits()
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    optimizer = optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(6):
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


LEVELS = tuple(level / 100 for level in range(4, 100, 5))


def test_probes_lose_accuracy_with_the_layer(trained: nn.Sequential) -> None:
    x, y = (values[:300] for values in digits())
    probe = Probe(Observer(trained, x), "4", y)
    whole, none = (probe.accuracy(torch.full((16, 16), kept)) for kept in (True, False))
    assert whole > 0.85 and none < 0.3, (whole, none)


def test_the_share_is_reached_and_nothing_is_changed(trained: nn.Sequential) -> None:
    x, y = digits()
    before = [p.detach().clone() for p in trained.parameters()]
    found = snacs(trained, x, y, 0.5, per_label=20, exclude=["8"], levels=LEVELS, exact=True)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True)) and not masks_of(trained)
    assert set(found.masks) == set(found.scores) == {"2", "4"}
    assert not any(rows.any() for rows in found.protected.values())
    again = snacs(trained, x, y, 0.5, per_label=20, exclude=["8"], levels=LEVELS, exact=True)
    assert all(torch.equal(found.masks[name], again.masks[name]) for name in found.masks)
    net = nn.Sequential(*trained)
    apply_masks(net, found.masks)
    try:
        assert sparsity(net).total == pytest.approx(0.5, abs=0.01)
        for name, share in found.limits.shares.items():
            assert sparsity(net).layers[name] == pytest.approx(share, abs=1 / found.scores[name].scores.size)
    finally:
        apply_masks(net, {name: torch.ones_like(mask) for name, mask in found.masks.items()})


def test_protected_filters_keep_all_connections(trained: nn.Sequential) -> None:
    x, y = digits()
    options = {"per_label": 20, "exclude": ["8"], "levels": LEVELS, "groups": {"2": (16, 8), "4": (8, 8)}}
    found = snacs(trained, x, y, 0.4, protect=0.25, **options)
    ranks = sensitivity(trained[8].weight).reshape(8, 2).sum(1)
    assert found.protected["4"].tolist() == most_sensitive(ranks, 0.25).repeat_interleave(2).tolist()
    for name, rows in found.protected.items():
        assert int(rows.sum()) == 4 and bool(found.masks[name][rows].all())
        assert not found.masks[name][~rows].all()


class Leans:
    """In the place of a Probe: as accurate as filter 3 has connections."""

    def accuracy(self, mask: torch.Tensor) -> float:
        return float(mask[3].double().mean())


def test_protection_is_probed_at_the_same_pruning() -> None:
    scores = np.arange(16.0).reshape(4, 4)[::-1].copy()  # filter 3 is the first to go
    found = Connectivity(scores, Grid(4, 4), (4, 4))
    rows = [np.array([bit == "1" for bit in bits]) for bits in ("0001", "0011", "1111")]
    mask, protected = _best(Leans(), found, 0.5, rows, True)  # type: ignore[arg-type]
    assert protected.tolist() == [False, False, False, True] and int(mask.sum()) == 8 and bool(mask[3].all())
    mask, protected = _best(Leans(), found, 0.8, rows, True)  # type: ignore[arg-type]
    # 13 of 16 blocks have to go, and 12 are left beside one protected filter: that would only be less pruning.
    assert not protected.any() and int(mask.sum()) == 3
    mask, protected = _best(Leans(), found, 0.1, rows[2:], True)  # type: ignore[arg-type]
    assert not protected.any(), "all filters protected leave nothing to prune"
    assert _best(Leans(), found, 0.5, rows[1:], False)[1].tolist() == [False, False, True, True]  # type: ignore[arg-type]


def test_probing_leaves_shares_as_they_are(trained: nn.Sequential) -> None:
    x, y = digits()
    options = {"per_label": 20, "exclude": ["8"], "levels": LEVELS, "absolute": True}
    plain, probed = (snacs(trained, x, y, 0.6, protect=protect, **options) for protect in (0.0, "probe"))
    assert plain.limits == probed.limits
    for name, rows in probed.protected.items():
        assert probed.masks[name].sum() == plain.masks[name].sum() and bool(probed.masks[name][rows].all())
        assert bool(rows.any()) or torch.equal(probed.masks[name], plain.masks[name])


def test_bad_input(trained: nn.Sequential) -> None:
    x, y = (values[:50] for values in digits())
    with pytest.raises(UnsupportedError, match=r"phi 'x'\nUse one of 1, w, w2, exp"):
        snacs(trained, x, y, 0.5, phi="x")
    with pytest.raises(UnsupportedError, match="protect 'all'"):
        snacs(trained, x, y, 0.5, protect="all")
    with pytest.raises(UnsupportedError, match="protected share 2"):
        snacs(trained, x, y, 0.5, protect=2)
    with pytest.raises(ModelError, match="no layer with connections"):
        snacs(nn.Sequential(nn.Conv2d(1, 2, 3)), x, y, 0.5)
