"""Scores of forecasts, against scikit-learn, NumPy and closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import config_context
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_validate

from skdive import DeepDIVEForecaster, Windows, sliding_windows
from skdive.metrics import (
    corr,
    corr_scorer,
    interval_coverage,
    mase,
    mean_quantile_loss,
    neg_rrse_scorer,
    rrse,
)

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(50, 4, 3)) * [1, 10, 100] + [0, 50, -7]
GUESS = Y + RNG.normal(size=Y.shape) * [1, 5, 20]
FLAT, FLAT_GUESS = Y.reshape(50, -1), GUESS.reshape(50, -1)
SQUARES = np.square(np.arange(27.0)).reshape(9, 3)
EVERY = {
    "rrse": rrse,
    "corr": corr,
    "mase": lambda y, guess: mase(y, guess, y_train=SQUARES[:, : np.asarray(y).size // len(y)]),
    "mean_quantile_loss": lambda y, guess: mean_quantile_loss(y, [guess], [0.3]),
    "interval_coverage": lambda y, guess: interval_coverage(y, guess, np.asarray(guess) + 10),
}

# ---------------------------------------------------------------------------------------------
# Values


def test_rrse_is_what_r2_leaves():
    r2 = r2_score(FLAT, FLAT_GUESS, multioutput="variance_weighted")
    assert rrse(Y, GUESS) == pytest.approx(np.sqrt(1 - r2))
    assert rrse(Y, np.broadcast_to(Y.mean(axis=0), Y.shape)) == pytest.approx(1)
    assert rrse(Y, Y) == 0


def test_rrse_to_the_global_mean_is_that_of_one_long_column():
    r2 = r2_score(Y.ravel(), GUESS.ravel())
    assert rrse(Y, GUESS, mean="global") == pytest.approx(np.sqrt(1 - r2))
    assert rrse(Y, GUESS, mean="global") < rrse(Y, GUESS)
    # columns that are constant, but differ, have a global spread
    assert rrse([[0, 2], [0, 2]], [[1, 2], [0, 2]], mean="global") == pytest.approx(0.5)


def test_corr_is_the_mean_correlation_of_columns():
    expected = [np.corrcoef(FLAT[:, j], FLAT_GUESS[:, j])[0, 1] for j in range(12)]
    assert corr(Y, GUESS) == pytest.approx(np.mean(expected))
    assert corr(Y, 3 * Y - 5) == pytest.approx(1)
    assert corr(Y, -Y) == pytest.approx(-1)


def test_corr_skips_constant_columns_and_counts_constant_forecasts_as_0():
    truth, guess = FLAT[:, :3].copy(), FLAT_GUESS[:, :3].copy()
    truth[:, 1] = 0.1  # whose mean rounds
    expected = np.mean([np.corrcoef(truth[:, j], guess[:, j])[0, 1] for j in (0, 2)])
    assert corr(truth, guess) == pytest.approx(expected)
    guess[:, 0] = 0.1
    expected = np.corrcoef(truth[:, 2], guess[:, 2])[0, 1] / 2
    assert corr(truth, guess) == pytest.approx(expected)


@pytest.mark.parametrize("seasonality", [1, 5])
def test_mase_of_several_targets(seasonality):
    series = RNG.normal(size=(60, 3)).cumsum(axis=0)
    expected = []
    for c in range(3):
        scale = [abs(series[t, c] - series[t - seasonality, c]) for t in range(seasonality, 60)]
        expected.append(np.abs(Y[:, :, c] - GUESS[:, :, c]).mean() / np.mean(scale))
    for y_train in (series, pd.DataFrame(series)):
        result = mase(FLAT, FLAT_GUESS, y_train=y_train, seasonality=seasonality)
        assert result == pytest.approx(np.mean(expected))


def test_mase_of_the_naive_forecast_in_training_is_1():
    series = RNG.normal(size=40).cumsum()
    assert mase(series[3:], series[:-3], y_train=series, seasonality=3) == pytest.approx(1)


def test_mase_scales_by_the_time_steps_that_training_windows_cover():
    a, b = RNG.normal(size=(2, 60, 2)).cumsum(axis=1) * [[[1, 5]], [[2, 3]]]
    w = sliding_windows({"a": a, "b": b}, 10, 4, targets=[1])
    train = w.y[np.flatnonzero(w.y.starts < 30)]  # of series a, which steps 10 to 32 are of
    scale = np.abs(np.diff(a[10:33, 1])).mean()
    y = np.asarray(w.y)
    assert mase(w.y, y + 2, y_train=train) == pytest.approx(2 / scale)
    # of both series: no difference is taken from the one, which ends at step 60, to the other
    both = np.abs(np.concatenate([s[22:, 1] - s[10:-12, 1] for s in (a, b)])).mean()
    assert mase(w.y, y + 2, y_train=w.y, seasonality=12) == pytest.approx(2 / both)


def test_mase_takes_no_difference_across_the_series_of_a_frame():
    index = pd.MultiIndex.from_product([["a", "b"], range(5)])
    frame = pd.DataFrame({"load": [0, 1, 2, 3, 4, 1000, 1001, 1002, 1003, 1004]}, index)
    assert mase([[7, 8]], [[8, 9]], y_train=frame) == 1
    assert mase([[7, 8]], [[8, 9]], y_train=frame, seasonality=4) == 0.25


def test_mase_reads_a_long_series_in_parts(monkeypatch):
    series = RNG.normal(size=(100, 3)).cumsum(axis=0)
    whole = mase(Y, GUESS, y_train=series, seasonality=2)
    monkeypatch.setattr("skdive.metrics.forecasts.VALUES", 21)
    assert mase(Y, GUESS, y_train=series, seasonality=2) == pytest.approx(whole)


def test_quantile_loss_of_one_quantile_is_that_of_scikit_learn():
    for level in (0.1, 0.5, 0.9):
        expected = mean_pinball_loss(FLAT, FLAT_GUESS, alpha=level)
        assert mean_quantile_loss(Y, [GUESS], [level]) == pytest.approx(expected)


def test_quantile_loss_of_a_normal_forecast_approaches_half_its_crps():
    levels = (np.arange(2000) + 0.5) / 2000
    z = np.array([-1.0, 0.3, 2.0])
    crps = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)  # closed form
    loss = mean_quantile_loss(z, np.tile(norm.ppf(levels)[:, None], 3), levels)
    assert 2 * loss == pytest.approx(crps.mean(), rel=1e-3)


def test_coverage_of_the_intervals_of_a_normal_forecast():
    y = np.random.default_rng(1).normal(size=(20_000, 2))
    ends = [np.full(y.shape, norm.ppf(q)) for q in (0.1, 0.9)]
    assert interval_coverage(y, *ends) == pytest.approx(0.8, abs=0.01)
    assert interval_coverage(y, y, y) == 1  # the ends belong to the interval


# ---------------------------------------------------------------------------------------------
# Forms and errors


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_forms_of_futures(metric):
    expected = metric(FLAT, FLAT_GUESS)
    index = pd.date_range("2024", periods=50)
    windows = Windows.from_array(Y)
    for y, guess in [
        (Y, GUESS),
        (FLAT.tolist(), FLAT_GUESS.tolist()),
        (pd.DataFrame(FLAT, index), pd.DataFrame(FLAT_GUESS, index)),
        (windows, FLAT_GUESS),
        (windows, GUESS),
        (Windows.from_array(FLAT, 3), GUESS),
    ]:
        assert metric(y, guess) == pytest.approx(expected)
    assert isinstance(expected, float)
    assert metric(Y[:, 0, 0], GUESS[:, 0, 0]) == pytest.approx(metric(Y[:, :1, 0], GUESS[:, :1, 0]))


def test_sums_are_of_double_precision():
    y = (1e4 + RNG.normal(size=(1000, 2))).astype(np.float32)
    guess = y + RNG.normal(size=y.shape).astype(np.float32)
    expected = rrse(y.astype(np.float64), guess.astype(np.float64))
    assert rrse(y, guess) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("metric", EVERY.values(), ids=EVERY)
def test_arrays_that_do_not_match(metric):
    for guess in (GUESS[:40], GUESS[:, :3], GUESS[..., 0], GUESS.swapaxes(1, 2)):
        with pytest.raises(ValueError, match=r"as many values in each, got shapes \(50, 4, 3\)"):
            metric(Y, guess)
    holes = GUESS.copy()
    holes[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        metric(Y, holes)
    with pytest.raises(ValueError, match="y_true contains NaN"):
        metric(holes, GUESS)
    with pytest.raises(ValueError, match=r"y_true must have shape .* got \(50, 4, 3, 1\)"):
        metric(Y[..., None], GUESS)


SERIES = np.arange(9.0) ** 2
ERRORS = {
    "mean": (lambda: rrse(Y, GUESS, mean="row"), "mean must be 'columns' or 'global', got 'row'"),
    "one window": (lambda: rrse(Y[:1], GUESS[:1]), "y_true is constant over its 1 windows"),
    "constant": (lambda: rrse(np.ones((9, 2)) * 0.1, Y[:9, 0, :2]), "y_true is constant"),
    "constant, corr": (lambda: corr(np.ones((9, 2)) * 0.1, Y[:9, 0, :2]), "every column of y_true"),
    "lower > upper": (lambda: interval_coverage(Y, Y + 1, Y), "above y_upper in 600 of 600"),
    "levels": (lambda: mean_quantile_loss(Y, [GUESS], [1.5]), "levels from 0 to 1, got"),
    "no level": (lambda: mean_quantile_loss(Y, [], []), "levels from 0 to 1, got"),
    "other levels": (
        lambda: mean_quantile_loss(Y, [GUESS], [0.1, 0.9]),
        r"with 2 quantiles, got \(1, 50, 4, 3\)",
    ),
    "targets": (
        lambda: mase(FLAT, FLAT_GUESS, y_train=np.ones((30, 5)).cumsum(0)),
        "12 columns, but y_train has 5 targets",
    ),
    "other targets": (lambda: mase(Y, GUESS, y_train=SERIES), "3 targets, but y_train has 1"),
    "targets of windows": (
        lambda: mase(Windows.from_array(Y), FLAT_GUESS, y_train=np.ones((30, 4)).cumsum(0)),
        "3 targets, but y_train has 4",
    ),
    "repeats but for rounding": (
        lambda: mase(FLAT, FLAT_GUESS, y_train=np.sin(np.arange(99) * np.pi / 12), seasonality=24),
        "target 0 of y_train repeats itself after 24 steps",
    ),
    "short": (lambda: mase(FLAT, FLAT_GUESS, y_train=SERIES, seasonality=9), "seasonality=9 apart"),
    "repeats": (
        lambda: mase(FLAT, FLAT_GUESS, y_train=np.ones(9)),
        "target 0 of y_train repeats itself",
    ),
    "3-D": (lambda: mase(Y, GUESS, y_train=Y), "y_train must be the training series"),
    "NaN": (lambda: mase(FLAT, FLAT_GUESS, y_train=SERIES * np.nan), "y_train contains NaN"),
    "NaN in windows": (
        lambda: mase(Y, GUESS, y_train=Windows.from_array(SERIES[None] * np.nan)),
        "y_train holds NaN",
    ),
    "seasonality": (lambda: mase(Y, GUESS, y_train=SERIES, seasonality=0), "at least 1, got 0"),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------------
# Scorers


@pytest.fixture(scope="module")
def w():
    t = np.arange(260)[:, None]
    series = np.sin(2 * np.pi * (t / 12 + [0, 0.3])) * [1, 20]
    return sliding_windows(series + RNG.normal(0, 0.1, (260, 2)) * [1, 20], 16, 4)


def test_scorers_of_a_linear_model(w):
    X, y = np.asarray(w.X).reshape(len(w), -1), np.asarray(w.y)
    model = LinearRegression().fit(X, y)
    assert neg_rrse_scorer(model, X, w.y) == pytest.approx(-rrse(y, model.predict(X)))
    assert corr_scorer(model, X, w.y) == pytest.approx(corr(y, model.predict(X)))


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_scorers_in_a_grid_search_over_windows(w, output):
    model = DeepDIVEForecaster(hidden_dim=8, conditional_dim=4, max_epochs=2, random_state=0)
    search = GridSearchCV(
        model.set_output(transform=output),
        {"lr": [1e-6, 1e-2], "linear_path": [False]},
        scoring={"rrse": neg_rrse_scorer, "corr": corr_scorer},
        refit="rrse",
        cv=TimeSeriesSplit(2, gap=w.embargo),
        error_score="raise",
    )
    search.fit(w.X, w.y)
    errors = -search.cv_results_["mean_test_rrse"]
    assert search.best_params_["lr"] == [1e-6, 1e-2][errors.argmin()]
    train, test = list(search.cv.split(w.X))[-1]
    best = DeepDIVEForecaster(**search.best_estimator_.get_params()).fit(w.X[train], w.y[train])
    expected = rrse(np.asarray(w.y)[test], best.predict(w.X[test]))
    last = search.cv_results_["split1_test_rrse"][search.best_index_]
    assert last == pytest.approx(-expected)


def test_scorers_in_a_cross_validation_with_metadata_routing(w):
    model = DeepDIVEForecaster(hidden_dim=8, conditional_dim=4, max_epochs=1, random_state=0)
    cv = TimeSeriesSplit(2, gap=w.embargo)
    with config_context(enable_metadata_routing=True):
        found = cross_validate(model, w.X, w.y, scoring=neg_rrse_scorer, cv=cv, error_score="raise")
    assert (found["test_score"] < 0).all()
