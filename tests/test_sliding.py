import pickle
import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_array_equal
from sklearn.model_selection import TimeSeriesSplit

from skdive import WindowSet, sliding_windows


def numbered(n_rows, n_channels, dtype=np.float32):
    """A series in which every value is different and tells its row and channel."""
    return np.arange(n_rows * n_channels, dtype=dtype).reshape(n_rows, n_channels)


def hourly(n_rows, start="2024-01-01", **kwargs):
    index = pd.date_range(start, periods=n_rows, freq="h", **kwargs)
    return pd.DataFrame({"a": np.arange(n_rows), "b": -np.arange(n_rows)}, index=index)


def rows_of(windows):
    """The base rows that a WindowSet touches, from the first of X to the last of y."""
    span = windows.lookback + windows.gap + windows.horizon
    return set((windows.X.starts[:, None] + np.arange(span)).ravel().tolist())


sizes = {
    "lookback": st.integers(1, 5),
    "horizon": st.integers(1, 4),
    "gap": st.integers(0, 3),
    "stride": st.integers(1, 4),
}

# ---------------------------------------------------------------------------------------------
# Values


@settings(deadline=None)
@given(n_channels=st.integers(0, 3), extra=st.integers(0, 9), **sizes)
def test_values_are_those_of_sliding_window_view(n_channels, extra, lookback, horizon, gap, stride):
    span = lookback + gap + horizon
    n_rows = span + extra
    series = numbered(n_rows, n_channels or 1)
    given_series = series if n_channels else series[:, 0]
    w = sliding_windows(given_series, lookback, horizon, gap=gap, stride=stride)

    view = sliding_window_view(series, span, axis=0).swapaxes(1, 2)[::stride]
    X, y = view[:, :lookback], view[:, lookback + gap :]
    assert len(w) == len(view) == len(w.X) == len(w.y)
    assert w.X.ndim == (3 if n_channels else 2)
    assert_array_equal(np.asarray(w.X), X if n_channels else X[..., 0])
    assert_array_equal(np.asarray(w.y), y.reshape(len(y), -1))
    assert_array_equal(w.origins, np.arange(len(view)) * stride + lookback - 1)
    assert w.X.base is w.y.base
    assert np.shares_memory(w.X.base, series)


def test_x_and_y_share_their_base_after_pickling_together():
    w = sliding_windows(numbered(30, 2), 4, 2)
    again = pickle.loads(pickle.dumps(w))
    assert again.X.base is again.y.base
    X, y = pickle.loads(pickle.dumps((w.X[3:], w.y[3:])))
    assert X.base is y.base


def test_only_the_starts_are_allocated():
    series = np.ones((26304, 321), dtype=np.float32)
    tracemalloc.start()
    w = sliding_windows(series, 168, 24)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.shares_memory(w.X.base, series)
    assert w.X.nbytes > 5e9
    assert peak < 8 * w.X.starts.nbytes < series.nbytes / 10


@pytest.mark.parametrize(
    ("targets", "columns"),
    [("b", [1]), (["b", "a"], [1, 0]), (0, [0]), ([-1], [1]), (("a",), [0]), (["a", 1], [0, 1])],
)
def test_targets_by_name_and_position(targets, columns):
    w = sliding_windows(hourly(12), 4, 3, targets=targets)
    expected = sliding_window_view(w.X.base, 3, axis=0)[4:].swapaxes(1, 2)[..., columns]
    assert_array_equal(np.asarray(w.y), expected.reshape(len(w), -1))
    assert w.y.names == tuple("ab"[c] for c in columns)
    assert w.X.names == ("a", "b")


def test_names_of_columns_come_before_positions():
    frame = pd.DataFrame({1: [0.0] * 6, 0: [1.0] * 6})
    assert np.asarray(sliding_windows(frame, 2, 1, targets=0).y).min() == 1


# ---------------------------------------------------------------------------------------------
# Labels


@pytest.mark.parametrize("tz", [None, "America/New_York"])
def test_calendar_factors_are_read_at_the_origin_in_local_time(tz):
    frame = hourly(24 * 40, "2023-12-20", tz=tz)
    factors = ["minute", "hour", "dayofweek", "day", "week", "month", "quarter", "year"]
    w = sliding_windows(frame, 24, 3, gap=2, stride=5, marginals=factors)
    assert list(w.marginals) == factors
    assert isinstance(w.marginals.index, pd.RangeIndex)
    assert len(w.marginals) == len(w)
    assert_array_equal(w.origins, frame.index[23::5][: len(w)])
    last_seen = [frame.index[int(x[-1, 0])].to_pydatetime() for x in w.X]
    for name, expected in {
        "minute": [t.minute for t in last_seen],
        "hour": [t.hour for t in last_seen],
        "dayofweek": [t.weekday() for t in last_seen],
        "day": [t.day for t in last_seen],
        "week": [t.isocalendar().week for t in last_seen],
        "month": [t.month for t in last_seen],
        "quarter": [(t.month + 2) // 3 for t in last_seen],
        "year": [t.year for t in last_seen],
    }.items():
        assert w.marginals[name].dtype == np.int64
        assert_array_equal(w.marginals[name], expected)


def test_a_column_can_be_a_label_and_comes_before_the_calendar():
    frame = hourly(20)
    frame["hour"] = pd.Categorical(["early"] * 10 + ["late"] * 10)
    frame["machine"] = [None, "m1"] * 10
    w = sliding_windows(frame, 4, 2, marginals=("machine", "hour", "day"))
    assert w.X.names == ("a", "b")
    assert w.marginals["hour"].to_list() == frame["hour"].to_list()[3:18]
    assert w.marginals["machine"].isna().to_list() == [False, True] * 7 + [False]
    assert w.marginals["hour"].dtype == "category"


# ---------------------------------------------------------------------------------------------
# Splits


@settings(deadline=None, max_examples=60)
@given(cuts=st.sets(st.integers(1, 79), min_size=1, max_size=3), panel=st.booleans(), **sizes)
def test_parts_of_split_at_share_no_time_step(cuts, panel, lookback, horizon, gap, stride):
    series = [numbered(80, 1), numbered(50, 1)] if panel else numbered(80, 1)
    w = sliding_windows(series, lookback, horizon, gap=gap, stride=stride)
    try:
        parts = w.split_at(*sorted(cuts))
    except ValueError as error:
        assert "is empty" in str(error)  # noqa: PT017
        return
    assert len(parts) == len(cuts) + 1
    edges = [0, *sorted(cuts), 80]
    for (begin, end), part in zip(pairwise(edges), parts, strict=True):
        first = w.index[part.X.starts]
        assert first.min() >= begin
        assert w.index[np.array(sorted(rows_of(part)))].max() < end
        # Every window that fits is there.
        starts = w.X.starts
        span = lookback + gap + horizon
        fits = (w.index[starts] >= begin) & (w.index[starts + span - 1] < end)
        assert_array_equal(part.X.starts, starts[fits])
    for one, other in pairwise(parts):
        assert not rows_of(one) & rows_of(other)


@pytest.mark.parametrize(
    ("tz", "cut"),
    [
        (None, "2024-01-05"),
        (None, pd.Timestamp("2024-01-05")),
        (None, np.datetime64("2024-01-05")),
        ("Asia/Tokyo", "2024-01-05"),
        ("Asia/Tokyo", "2024-01-04 15:00+00:00"),
        ("Asia/Tokyo", pd.Timestamp("2024-01-04 15:00", tz="UTC")),
    ],
)
def test_split_at_reads_time_stamps(tz, cut):
    frame = hourly(240, tz=tz)
    w = sliding_windows(frame, 24, 6, gap=2, marginals="hour")
    train, test = w.split_at(cut)
    midnight = pd.Timestamp("2024-01-05", tz=tz)
    assert len(train) == 96 - 31
    assert len(test) == 144 - 31
    assert frame.index[max(rows_of(train))] == midnight - pd.Timedelta("1h")
    assert frame.index[min(rows_of(test))] == midnight
    for part in (train, test):
        assert len(part) == len(part.X) == len(part.y) == len(part.marginals) == len(part.origins)
        assert_array_equal(part.marginals["hour"], part.origins.hour)
        assert isinstance(part.marginals.index, pd.RangeIndex)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (3, 1, 1), (8, 1, 1)])
def test_split_fractions_in_each_series(fractions):
    lengths = [200, 120]
    w = sliding_windows([hourly(n) for n in lengths], 4, 2)
    parts = w.split_fractions(*fractions)
    shares = np.array(fractions) / sum(fractions)
    for one, other in pairwise(parts):
        assert not rows_of(one) & rows_of(other)
    for part, share in zip(parts, shares, strict=True):
        assert_array_equal(np.bincount(part.X.series_of()), [round(n * share) - 5 for n in lengths])
    assert (parts[0].X.series_of() == np.sort(parts[0].X.series_of())).all()
    # A part can be split again, in proportions of its own extent.
    fit, stop = parts[0].split_fractions(1, 1)
    assert abs(len(fit) - len(stop)) <= 2


@pytest.mark.parametrize(
    ("frame", "cuts", "error", "message"),
    [
        (hourly(50), (), ValueError, "at least one cut"),
        (hourly(50), ("2024-01-02", "2024-01-01"), ValueError, "must increase, got 2024-01-02, 2"),
        (
            hourly(50),
            ("2024-01-01 03:00",),
            ValueError,
            r"part 1 of 2 is empty: the cuts .* = 6 st",
        ),
        (hourly(50), ("2024-02-01",), ValueError, r"part 2 of 2 .* 2024-01-01 .* to 2024-01-03 01"),
        (hourly(50), (20,), TypeError, "cut 20 must be a time stamp"),
        (hourly(50), (pd.Timestamp("2024-01-02", tz="UTC"),), ValueError, "cut .* has a time zone"),
        (numbered(50, 1), ("2024-01-02",), TypeError, "cut '2024-01-02' must be an int"),
        (numbered(50, 1), (0.8,), TypeError, "cut 0.8 must be an int"),
        (numbered(50, 1), (10, 12, 40), ValueError, "part 2 of 4 is empty"),
    ],
)
def test_split_at_errors(frame, cuts, error, message):
    with pytest.raises(error, match=message):
        sliding_windows(frame, 4, 2).split_at(*cuts)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [((1,), "two or more"), ((0.5, 0), "positive"), ((1, np.inf), "positive"), ((99, 1), "part 2")],
)
def test_split_fractions_errors(fractions, message):
    w = sliding_windows(numbered(50, 1), 4, 2)
    with pytest.raises(ValueError, match=message):
        w.split_fractions(*fractions)
    with pytest.raises(ValueError, match="no windows to split"):
        w[:0].split_fractions(1, 1)


@settings(deadline=None, max_examples=60)
@given(**sizes)
def test_embargo_makes_time_series_split_leak_free_and_is_the_smallest(
    lookback, horizon, gap, stride
):
    w = sliding_windows(numbered(120, 1), lookback, horizon, gap=gap, stride=stride)
    n_splits = 3

    def leaks(embargo):
        folds = TimeSeriesSplit(n_splits, test_size=2, gap=embargo).split(w.X)
        return [bool(rows_of(w[train]) & rows_of(w[test])) for train, test in folds]

    assert not any(leaks(w.embargo))
    if w.embargo:
        assert all(leaks(w.embargo - 1))


@pytest.mark.parametrize(
    "panel",
    [
        {"a": np.ones(9), "b": np.ones(9)},
        [np.ones(9), np.ones(9)],
        pd.concat({"a": hourly(9), "b": hourly(9)}),
    ],
    ids=["dict", "list", "frame"],
)
def test_a_panel_has_no_embargo(panel):
    w = sliding_windows(panel, 4, 2)
    with pytest.raises(ValueError, match=r"no embargo: .* Use split_at or split_fractions"):
        w.embargo  # noqa: B018


def test_a_window_set_is_selected_like_an_array():
    w = sliding_windows(hourly(40), 4, 2, marginals="hour")
    for key in (slice(3, 9), [5, 1], np.arange(len(w)) % 2 == 0, np.array([7])):
        part = w[key]
        assert isinstance(part, WindowSet)
        assert_array_equal(np.asarray(part.X), np.asarray(w.X)[key])
        assert_array_equal(np.asarray(part.y), np.asarray(w.y)[key])
        assert_array_equal(part.marginals["hour"], part.origins.hour)
        assert part.marginals.index.equals(pd.RangeIndex(len(part)))
        assert part.X.base is w.X.base
        assert part.index is w.index
    with pytest.raises(IndexError, match=r"w\[\[3\]\]"):
        w[3]
    assert repr(w).startswith("WindowSet(n=35, X=(35, 4, 2), y=(35, 4), marginals=['hour'], ")


# ---------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize(
    ("series", "kwargs", "error", "message"),
    [
        (hourly(10), {"lookback": 0}, ValueError, "lookback must be at least 1, got 0"),
        (hourly(10), {"lookback": 2.5}, TypeError, "lookback must be an int, got 2.5"),
        (hourly(10), {"lookback": True}, TypeError, "lookback must be an int, got True"),
        (hourly(10), {"horizon": 0}, ValueError, "horizon must be at least 1, got 0"),
        (hourly(10), {"stride": 0}, ValueError, "stride must be at least 1"),
        (hourly(10), {"gap": -1}, ValueError, "gap must be at least 0, got -1"),
        (hourly(10), {"dtype": int}, ValueError, "dtype must be a real floating type .* int64"),
        (hourly(10), {"dtype": complex}, ValueError, "dtype must be a real floating type"),
        (hourly(10), {"marginals": "zone"}, ValueError, r"'zone'; available are \['a', 'b', 'min"),
        (hourly(10), {"marginals": "series"}, ValueError, "unknown marginal 'series'"),
        (hourly(10), {"marginals": ["day", "day"]}, ValueError, "names a factor twice"),
        (numbered(10, 2), {"marginals": "hour"}, ValueError, "'hour' .* has no DatetimeIndex"),
        ([np.ones(9)], {"marginals": "x"}, ValueError, r"available are \['series'\]"),
        (hourly(10), {"targets": "c"}, ValueError, r"target 'c'; the channels are \['a', 'b'\]"),
        (hourly(10), {"targets": 2}, ValueError, "unknown target 2"),
        (hourly(10), {"targets": []}, ValueError, "targets is empty"),
        (hourly(10), {"targets": "a", "marginals": "a"}, ValueError, r"'a'; .* are \['b'\]"),
    ],
)
def test_wrong_parameters_say_what_came_and_what_to_do(series, kwargs, error, message):
    with pytest.raises(error, match=message):
        sliding_windows(series, **({"lookback": 4, "horizon": 2} | kwargs))
