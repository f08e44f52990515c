import copy
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.model_selection import (
    GridSearchCV,
    TimeSeriesSplit,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.utils import _safe_indexing, indexable

from skdive import Windows, sliding_windows


def numbered(n_rows, n_channels, dtype=np.float32):
    """A series in which every value is different and tells its row and channel."""
    return np.arange(n_rows * n_channels, dtype=dtype).reshape(n_rows, n_channels)


# ---------------------------------------------------------------------------------------------
# Windows


@pytest.fixture
def X():
    return Windows(numbered(20, 3), starts=[0, 5, 3, 16], length=4)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("columns", [None, [1], [2, 0]])
def test_windows_look_like_the_array_they_stand_for(flat, columns):
    base, starts = numbered(20, 3), [0, 5, 3, 16]
    channels = [0, 1, 2] if columns is None else columns
    expected = np.stack([base[s : s + 4][:, channels] for s in starts])
    if flat:
        expected = expected.reshape(4, -1)
    X = Windows(base, starts, 4, columns=columns, flat=flat)

    for attribute in ("shape", "ndim", "size", "nbytes", "dtype"):
        assert getattr(X, attribute) == getattr(expected, attribute)
    assert len(X) == 4
    assert X.n_channels == len(channels)
    assert_array_equal(np.asarray(X), expected)
    assert np.asarray(X, dtype=np.float64).dtype == np.float64
    assert_array_equal(np.stack(list(X)), expected)
    assert X.base is base
    np.testing.assert_array_equal(X[-1], expected[-1])


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(1, 3),
        slice(None, None, -2),
        [3, 0, 0],
        [],
        np.array([-1, 2]),
        np.array([True, False, True, False]),
        [False, False, False, True],
        pd.Series([True, True, False, False]),
        (slice(2), ...),
        ([1, 2], ...),
        ([1, 2], slice(None)),
        ([1, 2], slice(None), slice(None)),
        ...,
        (..., slice(None)),
        (),
    ],
    ids=repr,
)
def test_selecting_windows_shares_the_base(X, key):
    selected = X[key]
    assert isinstance(selected, Windows)
    assert selected.base is X.base
    expected = np.asarray(X)[key] if not isinstance(key, list) or key else np.asarray(X)[:0]
    assert selected.shape == expected.shape
    assert_array_equal(np.asarray(selected), expected)


@pytest.mark.parametrize("key", [0, -4, np.int64(2), np.array(1), (3, ...)], ids=repr)
def test_an_int_gives_the_values_of_one_window(X, key):
    assert type(X[key]) is np.ndarray
    assert_array_equal(X[key], np.asarray(X)[key])


@pytest.mark.parametrize(
    "key",
    [
        *[(0, 1), (slice(None), 0), (slice(None), slice(2)), (..., 0), ([0], np.array([1]))],
        *["a", None, 1.0, [0.5], True, np.zeros((2, 2), dtype=int), np.ones((4, 4), dtype=bool)],
    ],
    ids=repr,
)
def test_other_selections_are_refused_with_what_is_supported(X, key):
    with pytest.raises(IndexError, match="int, a slice, a boolean mask or a 1-D array of ints"):
        X[key]


@pytest.mark.parametrize("key", [4, -5, [0, 4], [True, False]], ids=repr)
def test_index_out_of_range(X, key):
    with pytest.raises(IndexError, match=r"out of bounds|did not match|dimension"):
        X[key]


def test_windows_are_immutable_and_copy_deep_or_shallow(X):
    with pytest.raises(AttributeError):
        X.length = 3
    assert copy.copy(X).base is X.base
    for clone in (copy.deepcopy(X), pickle.loads(pickle.dumps(X))):
        assert clone.base is not X.base
        assert_array_equal(np.asarray(clone), np.asarray(X))
    with pytest.raises(ValueError, match="no array of their own"):
        np.array(X, copy=False) if np.__version__ >= "2" else X.__array__(copy=False)


def test_repr_is_one_line():
    X = Windows(numbered(20, 3), [0, 1], 4, columns=[1], flat=True)
    assert repr(X) == "Windows(shape=(2, 4), dtype=float32, base=(20, 3))"


def test_a_memmap_stays_one(tmp_path):
    base = np.memmap(tmp_path / "base", dtype=np.float32, mode="w+", shape=(10, 1))
    X = Windows(base, [0, 2], 3)
    assert X[[1]].base is base
    assert type(np.asarray(X)) is np.ndarray


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"base": np.zeros(5)}, TypeError, r"base must be an array of shape .* \(5,\)"),
        ({"base": [[1.0], [2.0]]}, TypeError, "got list of shape None"),
        ({"length": 0}, ValueError, "length must be at least 1, got 0"),
        ({"length": 2.0}, TypeError, "length must be an int, got 2.0"),
        ({"starts": [0, 7]}, ValueError, r"length 4 over 10 rows must start in 0 ... 6, .* to 7"),
        ({"starts": [-1]}, ValueError, "starts from -1"),
        ({"starts": [0.0]}, TypeError, "starts must be a 1-D array of ints, .* float64"),
        ({"starts": [[0]]}, TypeError, r"starts must be .* \(1, 1\)"),
        ({"columns": [2]}, ValueError, r"columns must lie in 0 ... 1, got \[2\]"),
        ({"columns": []}, ValueError, "columns must lie"),
        ({"names": ["a"]}, ValueError, "names must name the 2 channels"),
        ({"bounds": [0, 5]}, ValueError, "bounds must rise from 0 to the 10 rows"),
        ({"bounds": [0, 8, 6, 10]}, ValueError, "bounds must rise"),
        ({"bounds": [0, 5, 10], "starts": [2]}, ValueError, "crosses a bound"),
    ],
)
def test_windows_check_their_parts(kwargs, error, message):
    with pytest.raises(error, match=message):
        Windows(**({"base": np.zeros((10, 2)), "starts": [0], "length": 4} | kwargs))


def test_from_array_views_both_layouts_without_a_copy():
    cube = np.arange(24.0).reshape(4, 3, 2)
    for array in (cube, cube.reshape(4, 6)):
        X = Windows.from_array(array, n_channels=2)
        assert X.shape == array.shape
        assert X.n_channels == 2
        assert np.shares_memory(X.base, array)
        assert_array_equal(np.asarray(X), array)
        assert_array_equal(np.asarray(Windows.from_array(array, 2, flat=False)), cube)
        assert_array_equal(np.asarray(Windows.from_array(array, 2, flat=True)), array.reshape(4, 6))
    assert Windows.from_array(cube).n_channels == 2
    assert Windows.from_array(cube.reshape(4, 6)).n_channels == 1
    assert Windows.from_array(np.empty((0, 6)), 2).shape == (0, 6)


@pytest.mark.parametrize(
    ("shape", "n_channels", "message"),
    [
        ((4, 7), 2, "7 features, which is not a multiple of n_channels=2"),
        ((4, 0), 1, "0 features"),
        ((4,), 1, r"got \(4,\)"),
        ((4, 3, 2), 3, r"n_channels=3, but X has shape \(4, 3, 2\)"),
        ((4, 7), 0, "n_channels must be at least 1"),
    ],
)
def test_from_array_errors(shape, n_channels, message):
    with pytest.raises(ValueError, match=message):
        Windows.from_array(np.zeros(shape), n_channels)


@given(
    starts=st.lists(st.integers(0, 9), max_size=8),
    length=st.integers(1, 3),
)
def test_covered_and_series_of_agree_with_a_loop(starts, length):
    bounds = np.array([0, 4, 4, 12])
    starts = [s for s in starts if s + length <= bounds[bounds > s][0]]
    X = Windows(np.zeros((12, 1)), np.array(starts, dtype=int), length, bounds=bounds)
    covered = np.zeros(12, dtype=bool)
    for s in starts:
        covered[s : s + length] = True
    assert_array_equal(X.covered(), covered)
    assert_array_equal(X.series_of(), [0 if s < 4 else 2 for s in starts])


# ---------------------------------------------------------------------------------------------
# scikit-learn


class LazyWindows(Windows):
    """Windows that may be selected, but never materialised."""

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the windows were materialised")


class LastValue(RegressorMixin, BaseEstimator):
    """Forecasts the last value plus the mean step to the future, reading batches of windows."""

    def __init__(self, shrink=1.0, batch_size=64):
        self.shrink = shrink
        self.batch_size = batch_size

    def batches(self, windows):
        for i in range(0, len(windows), self.batch_size):
            yield np.stack(list(windows[i : i + self.batch_size]))

    def fit(self, X, y):
        assert isinstance(X, LazyWindows)
        assert X.base is y.base or isinstance(X.base, np.memmap)
        steps = [
            yb.reshape(len(yb), -1) - xb.reshape(len(xb), -1)[:, -1:]
            for xb, yb in zip(self.batches(X), self.batches(y), strict=True)
        ]
        self.step_ = self.shrink * np.concatenate(steps).mean(axis=0)
        self.pickled_size_ = len(pickle.dumps((X, y)))
        return self

    def predict(self, X):
        last = np.concatenate([xb.reshape(len(xb), -1)[:, -1:] for xb in self.batches(X)])
        return last + self.step_

    def score(self, X, y):
        truth = np.concatenate(list(self.batches(y)))
        return -float(np.abs(self.predict(X) - truth).mean())


class Passthrough(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


@pytest.fixture
def lazy():
    w = sliding_windows(np.arange(2000, dtype=np.float32), 168, 24)
    return tuple(
        LazyWindows(v.base, v.starts, v.length, bounds=v.bounds, flat=True) for v in (w.X, w.y)
    )


def test_selection_by_scikit_learn_is_lazy(lazy):
    X, y = lazy
    assert indexable(X, y)[0] is X
    for key in ([0, 5], np.array([3]), slice(2), np.arange(len(X)) > 7):
        assert _safe_indexing(X, key).base is X.base
    train, test = train_test_split(X, shuffle=False)
    assert type(train) is LazyWindows
    assert len(train) + len(test) == len(X)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_search_never_materialises_and_sends_the_base_once(lazy, n_jobs):
    X, y = lazy
    model = make_pipeline(Passthrough(), LastValue())
    search = GridSearchCV(
        model,
        {"lastvalue__shrink": [0.5, 1.0]},
        cv=TimeSeriesSplit(3, gap=191),
        n_jobs=n_jobs,
        error_score="raise",
    ).fit(X, y)
    # On a ramp the future is the last value plus 1 ... 24.
    assert search.best_params_ == {"lastvalue__shrink": 1.0}
    assert search.best_score_ == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(search.best_estimator_[-1].step_, np.arange(1, 25), rtol=1e-5)
    assert search.best_estimator_[-1].pickled_size_ < X.nbytes / 20


def test_memory_of_cross_validation_stays_far_below_the_windows(lazy):
    X, y = lazy
    tracemalloc.start()
    results = cross_validate(
        LastValue(), X, y, cv=TimeSeriesSplit(3), n_jobs=1, return_estimator=True
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(results["test_score"]).all()
    assert peak < X.nbytes / 2
    sizes = [model.pickled_size_ for model in results["estimator"]]
    assert max(sizes) < X.base.nbytes + 3 * X.starts.nbytes
