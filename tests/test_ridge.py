import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from skdive.batches import CHUNK, DeviceWindows, WindowBatches
from skdive.linear import LinearPath, components
from skdive.model import DeepDIVE
from skdive.ridge import MAX_ROWS, _ridge, fit_class_ridge, ridge_weights

LOOKBACK, HORIZON = 8, 3
PENALTIES = np.logspace(-2, 6, 33)


def batches_of(series, y_columns=None):
    """All windows of a series and their futures."""
    values = torch.as_tensor(series)
    starts = torch.arange(len(values) - LOOKBACK - HORIZON + 1)
    data = DeviceWindows(values.T.contiguous(), starts, LOOKBACK + HORIZON, values.device)
    codes = torch.empty(len(starts), 0, dtype=torch.long)
    x, y = data.ahead(0, LOOKBACK), data.ahead(LOOKBACK, HORIZON)
    return WindowBatches(x, y, codes, y_columns)


def pooled(batches, sources=slice(None)):
    """Regressors and targets of the ridge: all channels one below the other."""
    window, _, y, _ = batches.take(torch.arange(len(batches)))
    x = window.x.numpy()[:, sources]
    level = x[:, :, -1:]
    return (x - level).reshape(-1, LOOKBACK), (y.numpy() - level).reshape(-1, HORIZON)


def noisy_linear(noise, n, seed=0):
    """Two channels that follow one linear recursion; `noise` is relative to their innovations."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(n, 2))
    for t in range(2, n):
        series[t] += 1.2 * series[t - 1] - 0.5 * series[t - 2]
    return series + noise * rng.normal(size=(n, 2))


def coefficients(ridge):
    """Weights of scikit-learn's Ridge in the layout of `LinearPath`."""
    return np.vstack([ridge.coef_.T, ridge.intercept_])


def gcv(X, Y, penalty):
    """Generalised cross-validation by its definition, with the hat matrix written out."""
    centred = X - X.mean(0)
    hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(X.shape[1]), centred.T)
    residual = Y - Ridge(alpha=penalty).fit(X, Y).predict(X)
    return np.square(residual).sum() / (1 - np.trace(hat) / len(X)) ** 2


# A few windows of noise want a strong penalty, many clean ones a weak one.
CASES = {"clean": (0.0, 300), "noisy": (1.0, 100), "noise": (100.0, 40), "few": (0.3, 16)}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_ridge_with_the_penalty_of_generalised_cross_validation(case):
    batches = batches_of(noisy_linear(*CASES[case]))
    X, Y = pooled(batches)
    best = min(PENALTIES, key=lambda penalty: gcv(X, Y, penalty))

    expected = coefficients(Ridge(alpha=best).fit(X, Y))
    assert_allclose(ridge_weights(batches, None), expected, rtol=1e-7, atol=1e-9)


def outliers(n=400, seed=0):
    """Two channels that follow one linear recursion, and jump now and then."""
    jumps = np.random.default_rng(seed + 1).random((n, 2)) < 0.02
    return noisy_linear(0.1, n, seed) + 30 * jumps


def test_robust_weights_are_those_of_a_ridge_with_weights_of_one_over_the_size_of_errors():
    batches = batches_of(outliers())
    X, Y = pooled(batches)
    before, size = _ridge(batches, None, *_ridge(batches, None))
    errors = Y - X @ before.numpy()[:-1] - before.numpy()[-1]
    weight = 1 / (np.sqrt(np.square(errors).mean(1)) + 0.05 * size)
    weight /= weight.mean()

    found = ridge_weights(batches, None, robust=True).numpy()
    fits = [coefficients(Ridge(alpha=a).fit(X, Y, sample_weight=weight)) for a in PENALTIES]
    assert min(np.abs(found - fit).max() for fit in fits) < 1e-7


def test_robust_weights_are_nearer_to_those_without_outliers():
    expected = ridge_weights(batches_of(noisy_linear(0.1, 400)), None)
    plain, robust = (
        ridge_weights(batches_of(outliers()), None, robust) for robust in (False, True)
    )
    assert (robust - expected).norm() < 0.9 * (plain - expected).norm()


def test_the_penalty_grows_with_the_noise():
    def norm(case):
        batches = batches_of(noisy_linear(*CASES[case]))
        weak = coefficients(Ridge(alpha=PENALTIES[0]).fit(*pooled(batches)))
        return float(ridge_weights(batches, None)[:-1].norm()) / np.linalg.norm(weak[:-1])

    assert norm("clean") > 0.8
    assert norm("noise") < 0.9 * norm("clean")


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [60, 400])
def test_the_penalty_is_nearly_the_best_one_on_new_data(noise, n):
    train = batches_of(noisy_linear(noise, n))
    X, Y = pooled(batches_of(noisy_linear(noise, 4000, seed=1)))

    def error(weights):
        return np.square(X @ weights[:-1] + weights[-1] - Y).mean()

    best = min(error(coefficients(Ridge(alpha=a).fit(*pooled(train)))) for a in PENALTIES)
    assert error(ridge_weights(train, None).numpy()) < 1.05 * best


def test_a_noiseless_linear_continuation_is_recovered():
    t = np.arange(500)[:, None]
    series = np.hstack([np.sin(t), 2 * np.cos(2 * t) + 4, 0.5 * np.sin(t) - np.cos(2 * t)])
    train, test = batches_of(series[:300]), batches_of(series[300:])
    path = LinearPath(LOOKBACK, HORIZON).double()
    path.set_weights(ridge_weights(train, None))
    window, _, y, _ = test.take(torch.arange(len(test)))

    with torch.no_grad():
        assert_allclose(path(window), y, atol=0.01)


def test_each_target_is_regressed_on_the_channel_that_it_continues():
    columns = torch.tensor([2, 0])
    rng = np.random.default_rng(0)
    batches = batches_of(rng.normal(size=(100, 3)).cumsum(0), y_columns=columns)
    X, Y = pooled(batches, sources=[2, 0])

    candidates = [coefficients(Ridge(alpha=a).fit(X, Y)) for a in PENALTIES]
    weights = ridge_weights(batches, columns).numpy()
    assert min(np.abs(weights - candidate).max() for candidate in candidates) < 1e-8


def test_batches_and_single_precision_do_not_change_the_weights(monkeypatch):
    series = noisy_linear(0.5, 300)
    expected = ridge_weights(batches_of(series), None)

    single = ridge_weights(batches_of(series.astype(np.float32)), None)
    assert_allclose(single, expected, atol=1e-3)
    batches = batches_of(series)
    monkeypatch.setitem(CHUNK, "cpu", 7 * LOOKBACK * series.shape[1])
    assert batches.x.chunk == 7
    assert_allclose(ridge_weights(batches, None), expected)


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_series_that_are_forecast_without_error_give_finite_weights(slope, robust):
    line = 3.0 + slope * np.arange(50.0)
    weights = ridge_weights(batches_of(np.stack([line, line], axis=1)), None, robust)
    ahead = slope * np.arange(1, HORIZON + 1)
    x = slope * np.arange(1 - LOOKBACK, 1)
    assert_allclose(x @ weights[:-1].numpy() + weights[-1].numpy(), ahead, atol=1e-6)


def test_windows_are_sampled_evenly_however_many_there_are():
    """Also where float32 cannot count them."""
    some = batches_of(noisy_linear(0.5, 300))
    n = (1 << 24) + 4
    seen = []

    class Many(WindowBatches):
        def __len__(self):
            return n

        def take(self, index):
            seen.append(index)
            return some.take(index % len(some))

    ridge_weights(Many(some.x, some.y, some.codes), None)
    index = torch.cat(seen)
    assert len(index) == MAX_ROWS // some.x.n_channels
    assert index[0] == 0
    assert index[-1] == n - 1
    gaps = index.diff()
    assert gaps.max() - gaps.min() <= 1


# ---------------------------------------------------------------------------------------------
# Maps of classes


def switching(n=3000, seed=0, labels=None):
    """Two channels and a label; what each channel does next depends on the label and the other."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 2, n // 20).repeat(20)
    labels = drawn if labels is None else labels
    series = 0.3 * rng.normal(size=(n, 2))
    for t in range(1, n):
        series[t] += (0.9, -0.9, 0.8, -0.8)[labels[t - 1]] * series[t - 1, ::-1]
    return series, labels


class Told(DeepDIVE):
    """A network that repeats the last step, and to which the labels are told."""

    def infer(self, window, codes=None):
        return window.x[:, :0, :1], window.x[:, 0, :0]

    def fuse(self, b, a):
        return b.new_zeros(len(b), 2, 16)

    def classes(self, b):
        return self.labels[: len(b)]


def fitted(series, labels, shuffle="", robust=False, n_series=1):
    """Maps of classes, and the data that they were fitted to and chosen on.

    Shuffled are all labels, or only those that the network is told. With several series, they are
    of one length, one after the other.
    """
    parts, half = [], len(series) // 2
    for rows in (slice(0, half), slice(half, None)):
        batches = batches_of(series[rows])
        known = torch.as_tensor(labels[rows])[LOOKBACK - 1 :][: len(batches)]
        known = known.reshape(len(known), -1)
        batches.codes = known[torch.randperm(len(known))] if shuffle == "all" else known
        parts.append(batches)
    train, valid = parts
    train.progress = n_series * train.progress % 1
    n_classes = 1 + labels.max()
    priors = [[1 / n_classes] * n_classes] * valid.codes.shape[1]
    module = Told(LOOKBACK, 2, priors, HORIZON, (0, 1), width=16).double().eval()
    told = torch.randperm(len(valid)) if shuffle == "told" else slice(None)
    module.labels = valid.codes[told]
    start = LinearPath(LOOKBACK, HORIZON).double()
    start.set_weights(ridge_weights(train, None))
    return fit_class_ridge(module, start, train, valid, robust), train, valid


@pytest.mark.parametrize("n_unknown", [0, 500])
def test_maps_are_ridge_regressions_of_what_comes_before_on_the_windows_of_a_class(n_unknown):
    series, labels = switching()
    labels[:n_unknown] = -1
    ridge, train, _ = fitted(series, labels)
    window, codes, y, _ = train.take(torch.arange(len(train)))
    features = ridge.read(window).numpy()
    ridge_of_all = ridge.add(0, ridge.read(window), torch.zeros(len(y), dtype=torch.long))
    with torch.no_grad():
        left = ridge.condense(y - ridge.start(window)) - ridge_of_all

    assert (ridge.maps(1) != 0).any()
    for k in (0, 1):
        rows = codes[:, 0].numpy() == k
        candidates = [
            Ridge(alpha=a, fit_intercept=False).fit(features[rows], left.numpy()[rows]).coef_.T
            for a in np.logspace(0, 7, 22)
        ]
        distances = [np.abs(ridge.maps(1)[k].numpy() - c).max() for c in candidates]
        assert min(distances) < 1e-6
        assert max(distances) > 1e-3


def test_maps_of_classes_forecast_what_depends_on_them():
    ridge, _, valid = fitted(*switching())
    window, codes, y, _ = valid.take(torch.arange(len(valid)))
    with torch.no_grad():
        error = (y - ridge(window, window, codes)).abs()[:, :, 0].mean()
        without = (y - ridge.start(window)).abs()[:, :, 0].mean()
        wrong = (y - ridge(window, window, 1 - codes)).abs()[:, :, 0].mean()
    assert error < 0.9 * without < 0.7 * wrong


@pytest.mark.parametrize("shuffle", ["all", "told"])
def test_maps_of_classes_that_say_nothing_or_cannot_be_told_are_zero(shuffle):
    ridge, *_ = fitted(*switching(), shuffle=shuffle)
    assert (ridge.maps(1) == 0).all()


def test_a_factor_has_maps_if_it_adds_to_those_before():
    series, labels = switching()
    mostly = np.arange(len(labels)) % 5 < 3
    first, second = np.where(mostly, labels, -1), np.where(mostly, -1, labels)
    ridge, *_ = fitted(series, np.column_stack([first, second, first]))
    assert [bool(ridge.maps(f).any()) for f in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize("at_most", [None, 50])
def test_principal_components_are_those_of_all_windows_or_evenly_spaced_ones(monkeypatch, at_most):
    if at_most:
        monkeypatch.setattr("skdive.ridge.MAX_COMPONENTS", at_most)
    ridge, train, _ = fitted(*switching())
    n, n_used = len(train), at_most or len(train)
    window, _, y, _ = train.take(torch.arange(n_used) * (n - 1) // (n_used - 1))
    level = window.level.unsqueeze(2)
    found = [ridge.channels, ridge.steps, ridge.future_channels, ridge.future_steps]
    for axes, expected in zip(
        found, components([window.x - level]) + components([y - level]), strict=True
    ):
        assert_close((axes.T @ expected).abs(), torch.eye(len(axes)).double())


def test_the_values_that_penalties_are_chosen_on_are_bounded(monkeypatch):
    monkeypatch.setattr("skdive.ridge.MAX_HELD_OUT", 3000)
    infer, seen = Told.infer, []

    def watched(self, window, *codes):
        seen.append(len(window.x))
        return infer(self, window, *codes)

    monkeypatch.setattr(Told, "infer", watched)
    fitted(*switching())
    assert 0 < HORIZON * 2 * sum(seen) <= 3000


def test_robust_maps_forecast_better_where_there_are_outliers():
    series, labels = switching()
    jumps = 5.0 * (np.random.default_rng(1).random(series.shape) < 0.01)
    _, _, valid = fitted(series, labels)
    window, codes, y, _ = valid.take(torch.arange(len(valid)))
    errors = []
    for robust in (False, True):
        ridge, *_ = fitted(series + jumps, labels, robust=robust)
        assert (ridge.maps(1) != 0).any()
        with torch.no_grad():
            errors.append((y - ridge(window, window, codes)).abs()[:, :, 0].mean())
    assert errors[1] < 0.98 * errors[0]


@pytest.mark.parametrize("seen", ["always", "lately"])
def test_what_held_for_a_part_of_the_training_time_only_is_no_rule(seen):
    """Although it held for the held-out windows, which follow that part."""
    series, labels = switching()
    mixed, _ = switching(seed=1)
    if seen == "lately":
        series[:1125] = mixed[:1125]  # of 1,500 for training: other effects of these labels
    ridge, *_ = fitted(series, labels)
    assert bool(ridge.maps(1).any()) == (seen == "always")


@pytest.mark.parametrize("n_series", [1, 4])
def test_a_rule_may_hold_for_some_series_of_a_panel_only(n_series):
    """Four labels, each of a series of its own, of which no quarter of the panel has two."""
    n = 1500 - LOOKBACK - HORIZON + 1
    quarter = 4 * (np.arange(1500) - LOOKBACK + 1) // n  # of the windows that end here
    labels = np.tile(quarter.clip(0, 3), 2)
    ridge, *_ = fitted(*switching(labels=labels), n_series=n_series)
    assert bool(ridge.maps(1).any()) == (n_series == 4)


@pytest.mark.parametrize(("knows", "share"), [("nothing", 0.5), ("the future", 0.0)])
def test_the_weight_of_the_second_forecast_is_chosen_on_held_out_windows(monkeypatch, knows, share):
    """A half, unless the network is far better, here for a series that no linear map continues."""

    def forecast(self, window, b, fused):
        steps = [window.x[:, :, -1]]
        for _ in range(HORIZON):
            steps.append(1 - 2 * steps[-1] ** 2 if knows == "the future" else steps[-1])
        return torch.stack(steps[1:], dim=2)

    monkeypatch.setattr(Told, "forecast", forecast)
    series = np.full((1000, 2), [0.3, 0.4])
    for t in range(1, len(series)):
        series[t] = 1 - 2 * series[t - 1] ** 2
    ridge, *_ = fitted(series, np.zeros(len(series), dtype=int))
    assert ridge.share == share
