"""How raw series are read, seen through `sliding_windows`."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_array_equal
from sklearn.utils import Bunch

from skdive import sliding_windows


def numbered(n_rows, n_channels, dtype=np.float32):
    """A series in which every value is different and tells its row and channel."""
    return np.arange(n_rows * n_channels, dtype=dtype).reshape(n_rows, n_channels)


def hourly(n_rows, start="2024-01-01", **kwargs):
    index = pd.date_range(start, periods=n_rows, freq="h", **kwargs)
    return pd.DataFrame({"a": np.arange(n_rows), "b": -np.arange(n_rows)}, index=index)


sizes = {
    "lookback": st.integers(1, 5),
    "horizon": st.integers(1, 4),
    "gap": st.integers(0, 3),
    "stride": st.integers(1, 4),
}

# ---------------------------------------------------------------------------------------------
# Values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_layout_of_the_base(dtype):
    for series in (numbered(10, 2, np.int64), np.asfortranarray(numbered(10, 2)), hourly(10)):
        w = sliding_windows(series, 3, 1, dtype=dtype)
        assert w.X.dtype == w.y.dtype == dtype
        assert w.X.base.flags.c_contiguous
        assert_array_equal(w.X.base, np.asarray(series))


def test_one_column_is_two_dimensional_and_a_series_is_not():
    frame = hourly(10)[["a"]]
    assert sliding_windows(frame, 4, 2).X.shape == (5, 4, 1)
    assert sliding_windows(frame["a"], 4, 2).X.shape == (5, 4)
    assert sliding_windows(frame["a"], 4, 2, targets="a").y.names == ("a",)
    assert sliding_windows(frame["a"].to_list(), 4, 2).X.shape == (5, 4)


# ---------------------------------------------------------------------------------------------
# Time: holes and clocks


def contiguous(w, step):
    """Whether all steps of every window follow each other by `step`."""
    span = w.lookback + w.gap + w.horizon
    stamps = [w.index[s : s + span] for s in w.X.starts]
    return all(((t[1:] - t[:-1]) == step).all() for t in stamps)


@pytest.mark.filterwarnings("ignore:.* holes in the time stamps leave")
@settings(deadline=None, max_examples=50)
@given(dropped=st.sets(st.integers(0, 59), max_size=6), **sizes)
def test_windows_never_cross_a_hole_and_none_is_missed(dropped, lookback, horizon, gap, stride):
    frame = hourly(60).drop(index=hourly(60).index[sorted(dropped)])
    w = sliding_windows(frame, lookback, horizon, gap=gap, stride=stride)
    assert contiguous(w, pd.Timedelta("1h"))
    span = lookback + gap + horizon
    ends = [-1, *sorted(dropped), 60]
    expected = sum(len(range(a + 1, b - span + 1, stride)) for a, b in pairwise(ends))
    assert len(w) == expected


@pytest.mark.parametrize("freq", ["MS", "ME", "QS", "B", "YS", "W-WED", "15min", "2D"])
def test_regular_steps_of_uneven_length_are_no_holes(freq):
    index = pd.date_range("2020-01-01", periods=40, freq=freq)
    index.freq = None
    w = sliding_windows(pd.Series(range(40), index=index), 5, 2)
    assert len(w) == 34


def test_a_period_index_states_its_step():
    series = pd.Series(range(40), index=pd.period_range("2020-01", periods=40, freq="M"))
    assert len(sliding_windows(series, 5, 2)) == 34
    w = sliding_windows(series.drop(series.index[20]), 5, 2, marginals="month")
    assert len(w) == 20 - 6 + 19 - 6
    assert w.origins[0] == pd.Timestamp("2020-05-01")
    assert w.marginals["month"][0] == 5


@pytest.mark.parametrize("drop_freq", [False, True])
@pytest.mark.parametrize("month", ["03", "10"])
def test_a_change_of_the_clock_is_no_hole(month, drop_freq):
    frame = hourly(24 * 7, f"2024-{month}-25", tz="Europe/Berlin")
    if drop_freq:
        frame.index.freq = None
    assert len(sliding_windows(frame, 5, 2)) == 24 * 7 - 6
    # An hour that is really absent, next to the change, is one.
    offset = frame.index.map(lambda stamp: stamp.utcoffset())
    change = int(np.flatnonzero(offset[1:] != offset[:-1])[0])
    hole = change + 1
    w = sliding_windows(frame.drop(index=frame.index[hole]), 5, 2)
    assert contiguous(w, pd.Timedelta("1h"))
    assert len(w) == 24 * 7 - 1 - 2 * 6


def test_holes_that_cost_many_windows_are_told():
    index = pd.bdate_range("2024-01-01", periods=60)
    series = pd.Series(np.arange(60.0), index)
    sliding_windows(series, 5, 1)
    with pytest.warns(UserWarning, match=r"11 holes in the time stamps leave 23 of 56"):
        sliding_windows(series.drop(index[20]), 3, 1)


def test_days_are_regular_on_the_calendar():
    index = pd.date_range("2024-03-01", periods=60, freq="D", tz="Europe/Berlin")
    series = pd.Series(range(60), index=index).drop(index[10])
    assert len(sliding_windows(series, 5, 2)) == (10 - 6) + (49 - 6)


def test_rows_without_time_stamps_are_equidistant():
    frame = hourly(20).set_axis([10 * i for i in range(10)] + list(range(500, 510)))
    w = sliding_windows(frame, 5, 2)
    assert len(w) == 14
    assert_array_equal(w.origins, np.arange(4, 18))
    assert len(sliding_windows(frame.set_axis(list("abcdefghijabcdefghij")), 5, 2)) == 14


# ---------------------------------------------------------------------------------------------
# Panels


def as_panel(kind, lengths):
    series = {f"s{i}": hourly(n) + 1000 * i for i, n in enumerate(lengths)}
    if kind == "list":
        return list(series.values())
    if kind == "frame":
        return pd.concat(series, names=["zone", "stamp"])
    if kind == "interleaved":
        return pd.concat(series).sort_index(level=1, kind="stable")
    if kind == "arrays":
        return {name: frame.to_numpy() for name, frame in series.items()}
    return series


@pytest.mark.parametrize("kind", ["dict", "list", "frame", "interleaved", "arrays"])
def test_windows_of_a_panel_stay_in_their_series(kind):
    lengths = [10, 7, 12]
    w = sliding_windows(as_panel(kind, lengths), 4, 2, marginals="series")
    n_windows = [n - 5 for n in lengths]
    names = [0, 1, 2] if kind == "list" else ["s0", "s1", "s2"]
    assert_array_equal(w.marginals["series"], np.repeat(names, n_windows))
    assert_array_equal(w.X.series_of(), np.repeat([0, 1, 2], n_windows))
    assert_array_equal(w.X.bounds, [0, 10, 17, 29])
    expected = [
        sliding_window_view(np.asarray(hourly(n)) + 1000 * i, 6, axis=0).swapaxes(1, 2)
        for i, n in enumerate(lengths)
    ]
    expected = np.concatenate(expected)
    assert_array_equal(np.asarray(w.X), expected[:, :4])
    assert_array_equal(np.asarray(w.y), expected[:, 4:].reshape(len(w), -1))
    assert isinstance(w.origins, pd.MultiIndex)
    assert list(w.origins.names) == (["zone", "stamp"] if kind == "frame" else ["series", "time"])
    first = 3 if kind == "arrays" else pd.Timestamp("2024-01-01 03:00")
    assert w.origins[5] == (names[1], first)


def test_the_series_of_a_frame_keep_their_order():
    frame = pd.concat({"z": hourly(8), "a": hourly(8)})
    assert sliding_windows(frame, 4, 2).series.to_list() == ["z", "a"]


def test_a_panel_of_one_dimensional_series():
    frame = hourly(10)
    w = sliding_windows({name: frame[name] for name in frame}, 4, 2)
    assert w.X.shape == (10, 4)
    assert w.X.names is None
    stacked = frame.stack().swaplevel()
    assert_array_equal(np.asarray(sliding_windows(stacked, 4, 2).X), np.asarray(w.X))


def test_series_of_different_steps_are_warned_of():
    slow = hourly(40).resample("2h").mean()
    with pytest.warns(
        UserWarning, match=r"0 days 01:00:00 in series 'x', 0 days 02:00:00 in .* 'y'"
    ):
        sliding_windows({"x": hourly(40), "y": slow}, lookback=3, horizon=2)
    months = pd.date_range("2024-01-31", periods=12, freq="ME")
    days = {"x": months, "y": months.shift(1)}  # of 28 to 31 days
    series = {name: pd.Series(np.arange(12.0), index=index) for name, index in days.items()}
    sliding_windows(series, lookback=3, horizon=2)


def test_series_that_are_too_short_are_named_and_left_out():
    panel = as_panel("dict", [10, 3, 8, 2])
    with pytest.warns(
        UserWarning, match=r"2 series too short and left out: 's1', 's3'; one wind"
    ) as record:
        w = sliding_windows(panel, 4, 2, marginals="series")
    assert record[0].filename == __file__
    assert w.marginals["series"].unique().tolist() == ["s0", "s2"]
    assert len(w.X.base) == 18
    with pytest.raises(ValueError, match=r"each of the 2 series is too short: .* = 6 steps .* 3 "):
        sliding_windows(as_panel("dict", [3, 2]), 4, 2)


# ---------------------------------------------------------------------------------------------
# Errors


def broken(frame, row, column, value):
    frame = frame.astype(float)
    frame.iloc[row, column] = value
    return frame


swapped = hourly(10).iloc[[0, 1, 3, 2, 4, 5, 6, 7, 8, 9]]
doubled = hourly(10).iloc[[0, 1, 2, 2, 3, 4, 5, 6, 7, 8]]
text = hourly(10).assign(site=list("xxxxxyyyyy"), when=pd.Timestamp("2024-01-01"))


@pytest.mark.parametrize(
    ("series", "kwargs", "error", "message"),
    [
        (hourly(5), {}, ValueError, r"series is too short: .* = 6 steps .* 5 \(of 5 rows\)"),
        (hourly(12).drop(hourly(12).index[5]), {"lookback": 5}, ValueError, r"6 \(of 11 rows\)"),
        (
            broken(hourly(10), 7, 1, np.nan),
            {},
            ValueError,
            r"NaN in column 'b' .* 7 \(2024-01-01 07",
        ),
        (broken(hourly(10), 2, 0, -np.inf), {}, ValueError, "infinity for float32 in column 'a'"),
        (broken(hourly(10), 2, 0, 1e300), {}, ValueError, "infinity for float32 .* at row 2"),
        (np.array([1e300] * 9), {}, ValueError, "infinity for float32 in column 0 at row 0"),
        (
            {"x": np.ones(9), "y": np.array([1.0] * 8 + [np.nan])},
            {},
            ValueError,
            "'y' has NaN .* 8",
        ),
        (text, {}, ValueError, r"\['site', 'when'\] of dtype .* Name them in `marginals`"),
        (
            text.reset_index(drop=True),
            {"marginals": ["site"]},
            ValueError,
            r"\['when'\] of .*set_index\('when'\)",
        ),
        (hourly(10) * 1j, {}, ValueError, r"not real numbers: \['a', 'b'\].* 'complex128'"),
        (np.ones(10) * 1j, {}, ValueError, "must be real numbers, .* complex128"),
        (np.ones(10, dtype=object), {}, ValueError, "must be real numbers, .* dtype object"),
        (["a", "b"], {}, ValueError, "must be real numbers"),
        (
            np.ones((3, 3, 3)),
            {},
            ValueError,
            r"must have shape \(T,\) or \(T, C\), got \(3, 3, 3\)",
        ),
        (5.0, {}, ValueError, r"must have shape \(T,\)"),
        (swapped, {}, ValueError, r"2024-01-01 02:00:00 \(row 3\) follows 2024-01-01 03:00:00"),
        (doubled, {}, ValueError, r"2024-01-01 02:00:00 \(row 3\) follows 2024-01-01 02:00:00"),
        (doubled.reset_index(drop=True).set_axis([0, 1] * 5), {}, ValueError, r"but 0 \(row 2\)"),
        (hourly(3).set_axis(pd.DatetimeIndex([None] * 3)), {}, ValueError, "follows NaT"),
        ([], {}, ValueError, "empty"),
        ({}, {}, ValueError, "series is empty"),
        (np.empty((0, 3)), {}, ValueError, r"empty: it has shape \(0, 3\)"),
        (hourly(10).iloc[:0], {}, ValueError, "empty: 0 rows and 2 channels"),
        (pd.Series([]), {}, ValueError, "empty: 0 rows"),
        (hourly(10), {"marginals": ["a", "b"]}, ValueError, "10 rows and 0 channels"),
        (pd.concat([hourly(9)] * 2, axis=1), {}, ValueError, r"same name: \['a', 'b', 'a', 'b'\]"),
        (
            [hourly(9), hourly(9)[["a"]]],
            {},
            ValueError,
            r"channels, but .*'b'\] and series 1 .*'a'\]",
        ),
        ([np.ones(9), np.ones((9, 1))], {}, ValueError, r"\(1-D\) and series 1 has 1 channels"),
        ([hourly(9), hourly(9, tz="UTC")], {}, ValueError, "same index, .* zone None .* zone UTC"),
        ({"x": hourly(9), "y": hourly(9).reset_index(drop=True)}, {}, ValueError, "no time stamps"),
        ([text, hourly(10)], {"marginals": ["site", "when"]}, ValueError, r"and labels \['site', "),
        ([pd.concat({"x": hourly(9)})], {}, ValueError, "series 0 must have an index of one level"),
        (pd.concat({1: pd.concat({"x": hourly(9)})}), {}, ValueError, "index levels"),
    ],
)
def test_wrong_input_says_what_came_and_what_to_do(series, kwargs, error, message):
    with pytest.raises(error, match=message):
        sliding_windows(series, **({"lookback": 4, "horizon": 2} | kwargs))


def test_polars_is_refused_with_the_way_out():
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match="polars DataFrame; pass pandas or numpy"):
        sliding_windows(polars.DataFrame({"a": [1.0] * 9}), 4, 2)


@pytest.mark.parametrize(
    "data",
    [
        Bunch(frame=hourly(10)),
        Bunch(frame=hourly(10), data=hourly(10), DESCR="Hourly load"),
        {"frame": hourly(10), "DESCR": "Hourly load"},
    ],
    ids=["bunch", "described bunch", "described dict"],
)
def test_a_data_set_is_refused_with_the_way_out(data):
    with pytest.raises(TypeError, match=rf"a {type(data).__name__} .* data set; pass \.frame"):
        sliding_windows(data, 4, 2)


def test_a_data_set_without_its_table_is_to_be_loaded_with_it():
    data = Bunch(frame=None, data=np.zeros((10, 1)))
    with pytest.raises(TypeError, match=r"with as_frame=True and pass \.frame"):
        sliding_windows(data, 4, 2)


def test_a_series_of_a_panel_may_be_called_frame():
    w = sliding_windows({"frame": hourly(10), "other": hourly(10)}, 4, 2)
    assert w.series.to_list() == ["frame", "other"]
