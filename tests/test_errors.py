"""Bad input ends in one clear error: what came, what was expected, what to do."""

import numpy as np
import pandas as pd
import pytest

from skdive import (
    BetaTCVAEForecaster,
    DeepDIVEEncoder,
    DeepDIVEForecaster,
    VAEForecaster,
    Windows,
    sliding_windows,
)

ESTIMATORS = [DeepDIVEForecaster, DeepDIVEEncoder, VAEForecaster, BetaTCVAEForecaster]

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 8)), RNG.normal(size=(30, 2))
LABELS = np.arange(30) % 3


def with_value(array, value):
    array = array.copy()
    array[3, 1] = value
    return array


BAD_DATA = {
    "NaN in X": ({"X": with_value(X, np.nan)}, "contains NaN"),
    "inf in X": ({"X": with_value(X, np.inf)}, "contains infinity"),
    "NaN in y": ({"y": with_value(Y, np.nan)}, "y contains NaN"),
    "no windows": ({"X": X[:0], "y": Y[:0]}, "0 sample"),
    "1-D X": ({"X": X[:, 0]}, "Expected 2D array"),
    "words": ({"X": np.full((30, 8), "a")}, "could not convert string"),
    "objects": ({"X": np.full((30, 8), object())}, "number"),
    "y is None": ({"y": None}, "requires y to be passed"),
    "y too short": ({"y": Y[:20]}, r"inconsistent numbers of samples: \[30, 20\]"),
    "horizon 0": ({"y": np.empty((30, 0))}, "horizon|0 feature"),
    "4-D y": ({"y": np.zeros((30, 1, 1, 1))}, r"\(n, horizon, n_targets\), got"),
    "one class": ({"marginals": np.zeros(30, int)}, "1 class"),
    "-1 and 1": ({"marginals": np.resize([-1, 1], 30)}, "different missing_label"),
    "no label": ({"marginals": np.full(30, -1)}, "no label at all"),
    "continuous label": ({"marginals": X[:, 0]}, "KBinsDiscretizer"),
    "labels too short": ({"marginals": LABELS[:9]}, "9 rows, but there are 30"),
    "X_val alone": ({"X_val": X}, "X_val needs y_val"),
    "marginals_val alone": ({"marginals_val": LABELS}, "marginals_val belongs to X_val"),
    "marginals_val without marginals": (
        {"X_val": X, "y_val": Y, "marginals_val": LABELS},
        "marginals were given, but this DeepDIVEForecaster was fitted without any",
    ),
    "y_val alone": ({"y_val": Y}, "belongs to X_val"),
    "other horizon": ({"X_val": X, "y_val": Y[:, :1]}, "1 steps of 1 targets, but 2 steps"),
}


@pytest.mark.parametrize(("data", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_data(data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        DeepDIVEForecaster(max_epochs=1).fit(**{"X": X, "y": Y, **data})


@pytest.mark.parametrize(
    ("data", "message"),
    [case for case in BAD_DATA.values() if not any("marginals" in name for name in case[0])],
)
def test_data_of_a_baseline(data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        VAEForecaster(max_epochs=1).fit(**{"X": X, "y": Y, **data})


BAD_PARAMETERS = [
    ("marginal_dim", 0, "marginal_dim must be at least 1, got 0"),
    ("conditional_dim", -1, "conditional_dim must be at least 0"),
    ("latent_dim", 0, "latent_dim must be at least 1, got 0"),
    ("latent_dim", 2.5, "latent_dim must be an int, got 2.5"),
    ("hidden_dim", 30, "multiple of 4"),
    ("max_epochs", 1.5, "max_epochs must be an int, got 1.5"),
    ("batch_size", True, "batch_size must be an int"),
    ("n_iter_no_change", 0, "n_iter_no_change must be at least 1"),
    ("dropout", 1.0, r"dropout must be in \[0, 1\)"),
    ("beta", -0.1, "beta must be finite and at least 0"),
    ("beta", np.inf, "beta must be finite and at least 0, got inf"),
    ("lr", 0, "lr must be finite and greater than 0"),
    ("lr", np.inf, "lr must be finite and greater than 0, got inf"),
    ("lr", "fast", "lr must be a number"),
    ("validation_fraction", 1, r"validation_fraction must be in \(0, 1\)"),
    ("fusion", "sum", "fusion must be one of"),
    ("likelihood", "poisson", "likelihood must be one of"),
    ("device", "cuda:7", "not there"),
    ("device", "tpu", "device must be"),
    ("device", "mps", "'mps' is not there: skdive computes on CPUs and CUDA devices"),
    ("n_channels", 3, "not a multiple of n_channels=3"),
    ("callbacks", "log", "callbacks must be a list of callbacks of skorch, got 'log'"),
    ("missing_label", [-1], r"missing_label must be one label or None, got \[-1\]"),
]


@pytest.mark.parametrize(
    ("Estimator", "name", "value", "message"),
    [(E, *bad) for E in ESTIMATORS for bad in BAD_PARAMETERS if bad[0] in E().get_params()],
)
def test_parameters(Estimator, name, value, message):
    y = LABELS if Estimator is DeepDIVEEncoder else Y
    with pytest.raises((ValueError, TypeError), match=message):
        Estimator(**{name: value}).fit(X, y)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_fit_that_fails_leaves_the_model_as_it_was(Estimator):
    y = LABELS if Estimator is DeepDIVEEncoder else Y
    model = Estimator(max_epochs=1, random_state=0).fit(X, y)
    before = model.transform(X)
    bad = np.full((30, 2), -1) if Estimator is DeepDIVEEncoder else np.full((30, 3), np.nan)
    with pytest.raises(ValueError, match=r"no label at all|NaN"):
        model.fit(X[:, :4], bad)
    np.testing.assert_array_equal(model.transform(X), before)
    assert model.n_features_in_ == 8


def test_a_window_set_is_not_windows():
    w = sliding_windows(RNG.normal(size=(40, 2)), 8, 2)
    with pytest.raises(TypeError, match=r"got a WindowSet: pass w\.X"):
        DeepDIVEForecaster().fit(w, w.y)
    with pytest.raises(TypeError, match=r"no sequence of windows: pass w\.X"):
        _x, _y = w


def test_nothing_to_encode():
    with pytest.raises(ValueError, match="nothing to encode"):
        DeepDIVEForecaster(conditional_dim=0).fit(X, Y)


def test_windows_with_a_hole():
    base = with_value(RNG.normal(size=(50, 2)), np.nan)
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        DeepDIVEForecaster().fit(Windows(base, np.arange(30), 8), Y)


def test_other_windows_than_in_fit():
    model = DeepDIVEForecaster(max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match="7 features, but DeepDIVEForecaster is expecting 8"):
        model.predict(X[:, :7])
    with pytest.raises(ValueError, match="4 features, but"):
        model.predict(X.reshape(30, 4, 2))
    with pytest.raises(ValueError, match="8 steps and 2 channels"):
        model.predict(sliding_windows(RNG.normal(size=(40, 2)), 8, 2).X)
    with pytest.raises(ValueError, match="without any"):
        model.predict(X, marginals=LABELS)
    with pytest.raises(ValueError, match="Z must have shape"):
        model.inverse_transform(X)
    two = np.column_stack([LABELS, LABELS // 2])
    model = DeepDIVEForecaster(max_epochs=1).fit(X, Y, marginals=two)
    with pytest.raises(ValueError, match=r"has 1 factors, but 2 .* as missing_label where"):
        model.predict(X, marginals=LABELS)


def test_other_channels_than_in_fit():
    frame = pd.DataFrame(RNG.normal(size=(60, 3)), columns=["a", "b", "c"])
    w = sliding_windows(frame[["a", "b"]], 8, 2)
    model = DeepDIVEForecaster(max_epochs=1).fit(w.X, w.y)
    other = sliding_windows(frame[["b", "a"]], 8, 2)
    for wrong in (other, sliding_windows(frame[["a", "c"]], 8, 2)):
        for call in (model.predict, model.transform, lambda X: model.fit(w.X, w.y, None, X, w.y)):
            with pytest.raises(ValueError, match=r"X shows .*, but \['a', 'b'\] were fitted"):
                call(wrong.X)
    with pytest.raises(ValueError, match=r"y shows the channels \['b', 'a'\], but \['a'"):
        model.score(w.X, other.y)
    array = sliding_windows(frame[["b", "a"]].to_numpy(), 8, 2)
    assert model.predict(array.X).shape == (51, 4)  # has no names to compare

    encoder = DeepDIVEEncoder(max_epochs=1).fit(w.X)
    with pytest.raises(ValueError, match="X shows the channels"):
        encoder.transform(other.X)
    one, another = (sliding_windows(frame[[name]], 8, 2) for name in "ab")
    DeepDIVEForecaster(max_epochs=1).fit(one.X, one.y).score(another.X, another.y)  # transfer


@pytest.mark.parametrize(
    "late",
    [
        lambda: DeepDIVEForecaster(max_epochs=1).fit(X, Y, np.where(np.arange(30) < 28, LABELS, 7)),
        lambda: DeepDIVEForecaster(max_epochs=1, autocast=True).fit(X, Y),
        lambda: DeepDIVEForecaster(max_epochs=1).fit(X, Y, LABELS).predict(X, LABELS + 7),
        lambda: sliding_windows([RNG.normal(size=(40, 2)), RNG.normal(size=(4, 2))], 8, 2),
    ],
)
def test_warnings_point_at_the_line_of_the_user(late):
    with pytest.warns(UserWarning, match=r"classes|float64|too short") as found:
        late()
    assert {warning.filename for warning in found} == {__file__}


def test_a_class_that_only_validation_windows_have():
    labels = np.where(np.arange(30) < 28, LABELS, 7)
    with pytest.warns(UserWarning, match=r"no training window has: \[7\]"):
        DeepDIVEForecaster(max_epochs=1).fit(X, Y, marginals=labels)
