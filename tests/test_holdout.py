"""Where windows lie in time, and which of them are held out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skdive import Windows
from skdive.holdout import newest_tail, progress_of, row_positions


@pytest.fixture
def series():
    return np.random.default_rng(0).normal([5, -3, 0], [2, 0.1, 30], size=(60, 3))


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("flat", [False, True])
def test_rows_that_overlap_are_recognised(series, stride, flat):
    cut = np.asarray(Windows(series, np.arange(0, 50, stride), 6))
    rows = Windows.from_array(cut.reshape(len(cut), -1) if flat else cut, n_channels=3)
    assert_array_equal(row_positions(rows, 4), np.arange(0, 50, stride))


def test_rows_that_do_not_overlap_come_one_after_the_other(series):
    rows = Windows.from_array(np.random.default_rng(0).normal(size=(4, 6)))
    assert_array_equal(row_positions(rows, 4), [0, 10, 20, 30])
    assert_array_equal(row_positions(rows[:1], 4), [0])


def test_rows_of_which_only_some_overlap_are_not_one_series(series):
    cut = np.asarray(Windows(series, [0, 1, 30, 40], 6))
    assert_array_equal(row_positions(Windows.from_array(cut), 4), [0, 10, 20, 30])


def test_progress_is_the_share_of_earlier_windows_of_a_series():
    positions, series = np.array([30, 10, 20, 0, 5, 7]), np.array([1, 1, 1, 1, 0, 0])
    assert progress_of(positions, series).tolist() == [0.75, 0.25, 0.5, 0, 0, 0.5]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=1, max_size=80),
    st.integers(1, 15),
    st.floats(0.01, 0.9),
)
def test_the_newest_windows_are_held_out_and_no_training_window_overlaps_them(
    windows, span, fraction
):
    positions, series = np.array(windows).T
    train, valid = newest_tail(positions, series, span, fraction)

    assert not set(train) & set(valid)
    assert len(set(train)) == len(train)
    assert len(set(valid)) == len(valid)
    for s in set(series):
        every = positions[series == s]
        held_out, kept = positions[valid[series[valid] == s]], positions[train[series[train] == s]]
        cut = np.sort(every)[-max(1, round(fraction * len(every)))]
        if not len(held_out):
            assert len(kept) == len(every)
            assert 2 * (every + span <= cut).sum() < (every < cut).sum()
            continue
        assert (kept + span <= cut).all()
        # Nothing newer than the cut is missing, nothing is dropped without need.
        assert len(held_out) == (every >= cut).sum()
        assert len(kept) == (every + span <= cut).sum()


def test_a_tail_of_an_hourly_series():
    train, valid = newest_tail(np.arange(100), np.zeros(100), span=10, fraction=0.2)
    assert_array_equal(valid, np.arange(80, 100))
    assert_array_equal(train, np.arange(71))  # the last covers steps 70 to 79


def test_each_series_has_its_own_tail():
    positions = np.array([0, 10, 20, 30, 1000, 1010])
    train, valid = newest_tail(positions, np.array([0, 0, 0, 0, 1, 1]), span=5, fraction=0.5)
    assert_array_equal(valid, [2, 3, 5])
    assert_array_equal(train, [0, 1, 4])


def test_a_series_of_which_little_would_be_left_is_not_split():
    positions = np.concatenate([np.arange(24), np.arange(100)])
    series = np.repeat([0, 1], [24, 100])
    train, valid = newest_tail(positions, series, span=13, fraction=0.1)
    assert_array_equal(train[:24], np.arange(24))  # 10 of 22 would be left
    assert_array_equal(valid, 24 + np.arange(90, 100))
    train, valid = newest_tail(positions[:24], series[:24], span=12, fraction=0.1)
    assert (len(train), len(valid)) == (11, 2)
