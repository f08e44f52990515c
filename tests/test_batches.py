import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skdive import Windows
from skdive.batches import (
    CHUNK,
    DeviceWindows,
    Standardiser,
    WindowBatches,
    continued_channels,
)

CPU = torch.device("cpu")


@pytest.fixture
def series():
    return np.random.default_rng(0).normal([5, -3, 0], [2, 0.1, 30], size=(60, 3))


@pytest.fixture
def windows(series):
    return Windows(series, starts=[7, 30, 4, 41, 8], length=6)


def upload(windows, dtype=torch.float64):
    return DeviceWindows.upload(windows, Standardiser.of(windows), dtype, CPU)


def standardised(windows):
    """Windows as (batch, channel, length), by numpy."""
    return Standardiser.of(windows).apply(np.asarray(windows)).swapaxes(1, 2)


# ---------------------------------------------------------------------------------------------
# Standardiser


@pytest.mark.parametrize("columns", [None, [1], [2, 0]])
def test_moments_count_each_covered_row_once(series, columns):
    windows = Windows(series, starts=[7, 30, 4, 41, 8], length=6, columns=columns)
    rows = np.unique(np.add.outer(windows.starts, np.arange(6)))
    covered = series[rows] if columns is None else series[rows][:, columns]
    scale = Standardiser.of(windows)

    assert_allclose(scale.mean, covered.mean(0))
    assert_allclose(scale.std, covered.std(0))
    assert_allclose(scale.undo(scale.apply(covered)), covered)
    assert_allclose(scale.apply(covered).std(0), 1)


def test_moments_of_more_rows_than_are_converted_at_a_time(series, monkeypatch):
    monkeypatch.setattr("skdive.storage.VALUES", 7 * 3)
    windows = Windows(series, np.arange(50), 10)
    scale = Standardiser.of(windows)

    assert_allclose(scale.mean, series[:59].mean(0))
    assert_allclose(scale.std, series[:59].std(0))
    assert_allclose(upload(windows).values, scale.apply(series[:59]).T)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_channel_is_only_centred(value, dtype):
    series = np.full((1000, 1), value, dtype=dtype)
    scale = Standardiser.of(Windows(series, np.arange(991), 10))

    assert_array_equal(scale.std, 1)
    assert_allclose(scale.apply(series), 0, atol=1e-6 * abs(value))


def test_a_large_offset_does_not_cost_the_variation():
    wave = np.random.default_rng(0).normal(size=(1000, 1))
    windows = Windows(1e6 + wave, np.arange(991), 10)
    scale = Standardiser.of(windows)

    assert_allclose(scale.std, wave.std(0), rtol=1e-6)
    assert_allclose(upload(windows, torch.float32).values.std(1, correction=0), 1, rtol=1e-6)


# ---------------------------------------------------------------------------------------------
# Windows and batches on the device


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [None, [1], [2, 0]])
def test_gathered_windows_are_those_of_numpy_standardised(series, dtype, columns):
    windows = Windows(series, starts=[7, 30, 4, 41, 8], length=6, columns=columns)
    index = [3, 0, 3, 2]
    taken = upload(windows, dtype).take(torch.tensor(index))

    assert taken.dtype == dtype
    assert taken.is_contiguous()
    assert_allclose(taken, standardised(windows)[index], rtol=1e-5, atol=1e-6)


def test_only_what_the_windows_cover_is_uploaded(windows):
    assert upload(windows).values.shape == (3, 22)  # rows 4 to 13, 30 to 35, 41 to 46
    assert len(upload(windows)) == 5


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (4, 2), (2, 1)])
def test_windows_ahead_begin_later_over_the_same_values(windows, offset, length):
    data = upload(windows)
    ahead = data.ahead(offset, length)

    assert ahead.values is data.values
    expected = standardised(windows)[:, :, offset : offset + length]
    assert_allclose(ahead.take(torch.arange(5)), expected)


def test_evaluation_batches_hold_a_bounded_number_of_values(windows):
    data = upload(windows)
    assert 0 < data.chunk * 6 * 3 <= CHUNK["cpu"]
    assert DeviceWindows(torch.zeros(1 << 20, 2), torch.tensor([0]), 2, CPU).chunk == 1


def test_a_series_that_does_not_fit_stays_on_the_host(windows, monkeypatch):
    to = torch.Tensor.to

    def full(self, *args, **kwargs):
        if self.ndim == 2:  # the series; its windows and their starts have other dimensions
            raise torch.OutOfMemoryError("CUDA out of memory")
        return to(self, *args, **kwargs)

    expected = upload(windows).take(torch.arange(5))
    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.warns(UserWarning, match=r"does not fit on cpu; it stays on the host"):
        data = upload(windows)

    assert torch.equal(data.take(torch.arange(5)), expected)
    assert torch.equal(data.ahead(2, 3).take(torch.arange(5)), expected[:, :, 2:5])


@pytest.fixture
def batches(windows):
    data = upload(windows)
    codes = torch.tensor([[0, 4], [1, 3], [2, 2], [3, 1], [4, 0]])
    return WindowBatches(data.ahead(0, 4), data.ahead(4, 2), codes)


def test_a_batch_keeps_window_future_and_labels_together(batches, windows):
    index = torch.tensor([4, 1])
    window, codes, y, _ = batches[index]
    expected = standardised(windows)[[4, 1]]

    assert_allclose(window.x, expected[:, :, :4])
    assert_allclose(y, expected[:, :, 4:])
    assert codes.tolist() == [[4, 0], [1, 3]]


def test_a_batch_knows_the_share_of_labels_in_all_of_the_data(batches):
    """A factor that has none counts as one that has all: it adds nothing to the loss."""
    codes = torch.tensor([[0, -1], [1, -1], [2, -1], [-1, -1], [-1, -1]])
    batch = WindowBatches(batches.x, None, codes)[torch.tensor([4])]
    assert_allclose(batch.labelled, [0.6, 1.0])


def test_targets_may_be_some_of_the_channels(batches, windows):
    batches.y_columns = torch.tensor([2, 0])
    y = batches.take(torch.arange(5)).y
    assert_allclose(y, standardised(windows)[:, [2, 0], 4:])


def test_a_batch_without_future(batches):
    assert WindowBatches(batches.x, None, batches.codes).take(torch.tensor([0])).y is None


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_an_epoch_has_every_window_once(batches, batch_size, shuffle):
    epoch = list(batches.batches(batch_size, shuffle=shuffle))
    seen = torch.cat([part.codes[:, 0] for rows in epoch for part, _ in rows.parts()]).tolist()

    assert len(batches) == 5
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert shuffle or seen == [0, 1, 2, 3, 4]
    assert {len(rows) for rows in epoch[:-1]} <= {batch_size}


@pytest.mark.parametrize(("fit_at_once", "size"), [(1, 1), (4, 1), (8, 2), (10, 5)])
def test_a_large_batch_comes_in_parts(batches, monkeypatch, fit_at_once, size):
    monkeypatch.setitem(CHUNK, "cpu", fit_at_once * 4 * 3)
    (rows,) = batches.batches(5)

    assert len(rows) == 5
    for _ in range(2):  # as often as they are asked for
        parts, shares = zip(*rows.parts(), strict=True)
        assert sum(shares) == pytest.approx(1)
        assert max(len(part.codes) for part in parts) == size
        together = torch.cat([part.window.x for part in parts])
        assert torch.equal(together, batches.take(torch.arange(5)).window.x)


def test_the_order_of_an_epoch_follows_the_seed():
    data = DeviceWindows(torch.randn(1, 110), torch.arange(100), 10, CPU)
    batches = WindowBatches(data, None, torch.arange(100).unsqueeze(1))

    def order(seed=None):
        if seed is not None:
            torch.manual_seed(seed)
        (rows,) = batches.batches(100, shuffle=True)
        ((batch, _),) = rows.parts()
        return batch.codes.squeeze(1).tolist()

    assert order(seed=1) == order(seed=1)
    assert order(seed=1) != order()  # another in the next epoch
    assert order(seed=1) != order(seed=2)


def test_as_many_targets_as_channels_keep_their_order(series):
    x, y = Windows(series, np.arange(40), 10), Windows(series[:, ::-1], np.arange(10, 50), 4)
    assert continued_channels(x, y) == (0, 1, 2)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("targets", [[0], [2], [2, 1]])
def test_fewer_targets_continue_the_channel_that_they_follow_from(targets, flat):
    walk = np.random.default_rng(0).normal(size=(200, 3)).cumsum(0) * [1, 10, 0.1] + [0, 50, 0]
    x = Windows(walk, np.arange(150), 10, flat=flat)
    y = Windows(-2 * walk[:, targets] + 7, np.arange(10, 160), 4)  # the sign is no matter
    assert continued_channels(x, y) == tuple(targets)


def test_more_targets_than_channels_of_one_series(series):
    x = Windows(series[:, :1], np.arange(40), 10)
    assert continued_channels(x, Windows(series, np.arange(40), 4)) == (0, 0, 0)


def test_a_constant_channel_is_never_continued_by_chance(series):
    walk = np.random.default_rng(0).normal(size=(200, 1)).cumsum(0)
    x = Windows(np.hstack([np.full((200, 2), 3.0), walk]), np.arange(150), 10)
    assert continued_channels(x, Windows(walk, np.arange(10, 160), 4)) == (2,)
