"""Series that stay on disk: memory-mapped files and arrays of zarr."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from skorch.callbacks import Callback
from zarr.storage import LocalStore, LoggingStore

from skdive import DeepDIVEEncoder, DeepDIVEForecaster, Windows, sliding_windows, storage
from skdive.batches import DeviceWindows, DiskWindows, Standardiser, standardise

CPU = torch.device("cpu")
KINDS = ("memmap", "npy", "zarr")
SMALL = dict(max_epochs=2, hidden_dim=8, conditional_dim=2, batch_size=16, random_state=0)


@pytest.fixture
def values():
    walk = np.random.default_rng(0).normal(size=(400, 3)).cumsum(0)
    return (walk * [1, 20, 0.1] + [0, 500, 3]).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    """Store a series on disk and open it for reading."""

    def make(values, kind, **options):
        path = tmp_path / f"series.{kind}"
        if kind == "memmap":
            values.tofile(path)
            return np.memmap(path, dtype=values.dtype, mode="r", shape=values.shape)
        if kind == "npy":
            np.save(path, values)
            return np.load(path, mmap_mode="r")
        zarr.create_array(path, data=values, **({"chunks": (16, *values.shape[1:])} | options))
        return zarr.open_array(path, mode="r")

    return make


@pytest.fixture
def nothing_fits(monkeypatch):
    """Let even the smallest series stay on disk, and be read in many pieces."""
    monkeypatch.setattr(storage, "LARGE", 0)
    monkeypatch.setattr(storage, "VALUES", 50)


# ---------------------------------------------------------------------------------------------
# Windows


@pytest.mark.parametrize("kind", KINDS)
def test_windows_over_a_series_on_disk_are_those_over_an_array(values, store, kind):
    base = store(values, kind)
    for options in ({}, {"flat": True}, {"columns": [2, 0]}, {"columns": [1], "flat": True}):
        expected = Windows(values, [300, 5, 9, 5, 120], 12, **options)
        X = Windows(base, [300, 5, 9, 5, 120], 12, **options)
        assert X.base is base
        assert_array_equal(np.asarray(X), np.asarray(expected), strict=True)
        assert_array_equal(np.asarray(X[[4, 0, 4]]), np.asarray(expected)[[4, 0, 4]])
        assert_array_equal(np.asarray(X.steps(2, 5)), np.asarray(expected.steps(2, 5)))
        assert_array_equal(np.stack(list(X)), np.stack(list(expected)))
        assert_array_equal(X[-1], expected[-1], strict=True)
        assert_array_equal(X.covered(), expected.covered())
        assert np.asarray(X[[]]).shape == np.asarray(expected[[]]).shape
        assert repr(X) == repr(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_sliding_windows_keep_a_series_on_disk(values, store, kind, nothing_fits):
    base = store(values, kind)
    w = sliding_windows(base, 12, 4, stride=3, targets=[1])
    expected = sliding_windows(values, 12, 4, stride=3, targets=[1])

    assert w.X.base is base or np.shares_memory(w.X.base, base)
    assert w.y.base is w.X.base
    for part, other in zip(w.split_fractions(3, 1), expected.split_fractions(3, 1), strict=True):
        assert_array_equal(np.asarray(part.X), np.asarray(other.X))
        assert_array_equal(np.asarray(part.y), np.asarray(other.y))
        assert_array_equal(part.origins, other.origins)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_value_is_found_wherever_it_is(values, store, kind, nothing_fits):
    values[333, 1] = np.nan
    base = store(values, kind)
    with pytest.raises(ValueError, match="the series has NaN in column 1 at row 333"):
        sliding_windows(base, 12, 4)

    beside = Windows(base, [0, 50, 321, 334], 12)
    assert DeepDIVEEncoder(**SMALL).fit(beside, [0, 1, 0, 1]).n_iter_ == 2
    columns = Windows(base, [0, 50, 325, 334], 12, columns=[2, 0])
    assert DeepDIVEEncoder(**SMALL).fit(columns, [0, 1, 0, 1]).n_iter_ == 2
    across = Windows(base, [0, 50, 322, 334], 12)
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        DeepDIVEEncoder(**SMALL).fit(across)


@pytest.mark.parametrize(
    ("kind", "change", "dtype"),
    [
        ("memmap", lambda v: v, np.float64),
        ("npy", np.asfortranarray, np.float32),
        ("zarr", lambda v: v, np.float64),
        ("zarr", lambda v: v[:, 0], np.float32),
    ],
    ids=["dtype", "order", "zarr-dtype", "zarr-1d"],
)
def test_a_copy_in_memory_is_made_of_small_series_only(
    values, store, kind, change, dtype, monkeypatch
):
    base = store(change(values), kind)
    expected = sliding_windows(change(values), 12, 4, dtype=dtype)
    monkeypatch.setattr(storage, "LARGE", base.size * np.dtype(dtype).itemsize)
    w = sliding_windows(base, 12, 4, dtype=dtype)
    assert_array_equal(np.asarray(w.X), np.asarray(expected.X), strict=True)

    monkeypatch.setattr(storage, "LARGE", base.size * np.dtype(dtype).itemsize - 1)
    with pytest.raises(ValueError, match=r"the series lies on disk, as float32 .* np.array\(ser"):
        sliding_windows(base, 12, 4, dtype=dtype)
    sliding_windows(np.array(base), 12, 4, dtype=dtype)  # what the message advises


def test_a_panel_on_disk_is_copied_only_if_it_is_small(values, store, monkeypatch):
    parts = {"a": store(values, "npy"), "b": store(values, "zarr"), "c": values}
    assert len(sliding_windows(parts, 12, 4).X) == 3 * 385
    monkeypatch.setattr(storage, "LARGE", 2 * values.nbytes)
    with pytest.raises(ValueError, match="a panel lies on disk"):
        sliding_windows(parts, 12, 4)
    assert len(sliding_windows({"c": values, "d": values, "e": values}, 12, 4).X) == 3 * 385


def test_a_mapped_series_of_one_channel_is_not_copied(values, store, nothing_fits):
    base = store(values[:, 0].copy(), "memmap")
    w = sliding_windows(base, 12, 4)
    assert w.X.shape == (385, 12)
    assert np.shares_memory(w.X.base, base)


# ---------------------------------------------------------------------------------------------
# Reading


@given(
    starts=st.lists(st.integers(0, 90), min_size=1, max_size=20),
    length=st.integers(1, 10),
    pieces=st.integers(1, 60),
)
def test_chunks_have_every_covered_row_once_in_order(starts, length, pieces):
    base = np.arange(200.0).reshape(100, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "VALUES", pieces)
        read = list(storage.chunks(base, *storage.runs(np.array(starts), length)))

    assert_array_equal(np.concatenate(read), base[Windows(base, starts, length).covered()])
    assert max(chunk.size for chunk in read) <= max(2, pieces)


@pytest.fixture
def counted(values, tmp_path):
    """An array of zarr with 25 chunks, and what was asked of its store."""
    store = LoggingStore(LocalStore(tmp_path / "counted"), log_level="CRITICAL")
    base = zarr.create_array(store, data=values, chunks=(16, 3))
    store.counter.clear()
    return base, store.counter


def test_overlapping_windows_read_each_chunk_of_zarr_once(counted, values):
    base, counter = counted
    X = Windows(base, np.arange(50, 110), 10)
    assert_array_equal(np.asarray(X), np.asarray(Windows(values, X.starts, 10)))
    chunks = 118 // 16 - 50 // 16 + 1
    assert chunks <= counter["get"] <= chunks + 3  # and the metadata


def test_a_window_and_its_future_are_read_together(counted, nothing_fits, monkeypatch):
    base, counter = counted
    monkeypatch.setattr(storage, "VALUES", 1 << 20)
    whole = Windows(base, np.arange(0, 380, 10), 16)
    data = standardise(whole, Standardiser(np.zeros(3), np.ones(3)), torch.float32, CPU)
    x, y = data.ahead(0, 12), data.ahead(12, 4)
    counter.clear()
    index = torch.tensor([7, 30, 3])
    both = torch.cat([x.take(index), y.take(index)], dim=2)

    assert counter["get"] <= 5 + 3  # chunks, and the metadata
    assert_array_equal(both, np.asarray(whole[index.numpy()]).swapaxes(1, 2))
    other = torch.tensor([1, 2, 3])
    assert_array_equal(x.take(other), np.asarray(whole[[1, 2, 3]])[:, :12].swapaxes(1, 2))


def test_a_large_chunk_of_zarr_is_not_read_for_every_piece(values, tmp_path, monkeypatch):
    store = LoggingStore(LocalStore(tmp_path / "wide"), log_level="CRITICAL")
    base = zarr.create_array(store, data=values, chunks=(200, 3))
    monkeypatch.setattr(storage, "VALUES", 30)
    store.counter.clear()
    pieces = list(storage.chunks(base, [0], [400]))
    assert {len(piece) for piece in pieces} == {10}
    assert_array_equal(np.concatenate(pieces), values)
    assert store.counter["get"] <= 2 * (1 + 3)


# ---------------------------------------------------------------------------------------------
# Fitting


def test_large_series_stay_on_disk_and_others_are_uploaded(values, store, monkeypatch):
    def kind_of(base):
        windows = Windows(base, np.arange(0, 300, 50), 10)  # 60 rows
        return type(standardise(windows, Standardiser.of(windows), torch.float32, CPU))

    on_disk = [store(values, kind) for kind in KINDS]
    assert {kind_of(base) for base in on_disk} == {DeviceWindows}
    monkeypatch.setattr(storage, "LARGE", 60 * 3 * 4)
    assert {kind_of(base) for base in on_disk} == {DeviceWindows}
    monkeypatch.setattr(storage, "LARGE", 60 * 3 * 4 - 1)
    assert {kind_of(base) for base in on_disk} == {DiskWindows}
    assert kind_of(on_disk[0][1:, :]) is DiskWindows  # a view of mapped memory
    assert kind_of(np.asarray(on_disk[1])) is DiskWindows
    assert kind_of(values) is kind_of(np.array(on_disk[0])) is DeviceWindows


@pytest.mark.parametrize("targets", [None, [2, 0]], ids=["all", "some"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_forecaster_from_disk_is_bitwise_that_from_memory(
    values, store, kind, targets, nothing_fits
):
    def answers(base):
        w = sliding_windows(base, 12, 4, targets=targets)
        train, test = w.split_at(350)
        hours = pd.DataFrame({"hour": np.arange(len(w)) % 3})
        model = DeepDIVEForecaster(**SMALL).fit(train.X, train.y, hours[: len(train)])
        terms = model.score_samples(test.X, test.y, return_terms=True)
        pair = model.score_samples(test.X[[7, 2]], test.y[[7, 2]])
        np.testing.assert_allclose(pair, terms["elbo"][[7, 2]], rtol=1e-4)
        history = [model.net_.history[:, f"{part}_loss"] for part in ("train", "valid")]
        found = [model.predict(test.X), model.predict(test.X, hours[: len(test)]), *history]
        found += [model.transform(test.X), model.reconstruct(test.X), *terms.values()]
        return [*found, *model.predict_marginals_proba(test.X)]

    for found, expected in zip(answers(store(values, kind)), answers(values), strict=True):
        assert_array_equal(found, expected, strict=True)


def test_an_encoder_and_futures_from_elsewhere(values, store, nothing_fits):
    """Where futures are not those of the same series, both are read from disk by themselves."""

    def answers(base, other):
        X = Windows(base, np.arange(0, 380, 4), 16, columns=[0, 1])
        y = Windows(other, np.arange(0, 380, 4), 3, columns=[1, 0])
        labels = np.arange(len(X)) % 4
        encoder = DeepDIVEEncoder(horizon=4, **SMALL).fit(X, labels)
        forecaster = DeepDIVEForecaster(**SMALL).fit(X, y, labels)
        found = [encoder.transform(X), encoder.reconstruct(X), encoder.score_samples(X)]
        return [*found, forecaster.predict(X), forecaster.score_samples(X, y)]

    found = answers(store(values, "zarr"), store(values[::-1].copy(), "npy"))
    for one, expected in zip(found, answers(values, values[::-1].copy()), strict=True):
        assert_array_equal(one, expected, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_cross_validation_in_other_processes(values, store, kind):
    def scores(base, n_jobs):
        w = sliding_windows(base, 12, 4)
        folds = TimeSeriesSplit(2, gap=w.embargo, test_size=50)
        model = DeepDIVEForecaster(**SMALL | {"max_epochs": 1})
        return cross_val_score(model, w.X, w.y, cv=folds, n_jobs=n_jobs, error_score="raise")

    np.testing.assert_allclose(scores(store(values, kind), 2), scores(values, 1), rtol=1e-5)


# ---------------------------------------------------------------------------------------------
# What goes wrong


class AfterEpoch(Callback):
    """Does something to the series after the first epoch."""

    def __init__(self, act):
        self.act = act

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 1:
            self.act()


def fit_while(base, act, **options):
    w = sliding_windows(base, 12, 4)
    model = DeepDIVEForecaster(callbacks=[AfterEpoch(act)], **SMALL | options)
    return model.fit(w.X, w.y)


def test_a_zarr_array_that_vanishes_is_not_taken_for_zeros(values, store, tmp_path, nothing_fits):
    base = store(values, "zarr")
    X = Windows(base, [0, 100], 5)
    with pytest.raises(OSError, match=r"zarr array file:.*series.zarr is not there any more"):
        fit_while(base, lambda: shutil.rmtree(tmp_path / "series.zarr"))
    assert not base[:].any()  # what zarr itself says
    for read in (lambda: np.asarray(X), lambda: X[0], lambda: sliding_windows(base, 12, 4)):
        with pytest.raises(OSError, match="is not there any more"):
            read()


def test_an_array_in_the_format_of_zarr_2(values, store, tmp_path, nothing_fits):
    base = store(values, "zarr", zarr_format=2)
    assert np.array_equal(np.asarray(Windows(base, [0, 100], 5)[1]), values[100:105])
    with pytest.raises(OSError, match="is not there any more"):
        fit_while(base, lambda: shutil.rmtree(tmp_path / "series.zarr"))


def test_a_zarr_array_that_lost_rows(values, store, tmp_path, nothing_fits):
    base = store(values, "zarr")
    writer = zarr.open_array(tmp_path / "series.zarr", mode="r+")
    with pytest.raises(OSError, match=r"changed its shape from \(400, 3\) to \(380, 3\)"):
        fit_while(base, lambda: writer.resize((380, 3)))
    writer.resize((500, 3))  # grown: the rows in use are there
    assert np.asarray(Windows(base, [0], 5)).shape == (1, 5, 3)


def test_a_lost_chunk_of_zarr_is_seen_where_it_is_filled_with_nan(
    values, store, tmp_path, nothing_fits
):
    base = store(values, "zarr", fill_value=np.nan)
    (chunk,) = (tmp_path / "series.zarr").glob("c/3/0")
    with pytest.raises(OSError, match="NaN or infinity where it had none"):
        fit_while(base, chunk.unlink)


SHRINKS = """
import os, sys
import numpy as np
from skdive import storage
sys.path.insert(0, {tests!r})
from test_disk import fit_while
storage.LARGE = 0
values = np.load({path!r})
for open_series in (
    lambda path: np.load(path, mmap_mode="r"),
    lambda path: np.memmap(path, np.float32, "r", offset=8192, shape=(200, 3)),
    lambda path: np.asarray(np.load(path, mmap_mode="r"))[5:],
):
    np.save({path!r}, values)
    os.truncate({path!r}, 8192 + 200 * 3 * 4)
    base = open_series({path!r})
    try:
        fit_while(base, lambda: os.truncate({path!r}, 8192))
    except OSError as error:
        print("OSError:", error)
"""


@pytest.mark.slow
def test_a_mapped_file_that_shrinks_does_not_end_the_process(tmp_path):
    path = str(tmp_path / "series.npy")
    np.save(path, np.random.default_rng(0).normal(size=(865, 3)).astype(np.float32))
    script = SHRINKS.format(tests=str(Path(__file__).parent), path=path)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)  # -7 is SIGBUS
    assert done.stdout.count(f"OSError: {path} has shrunk to 8192 bytes") == 3


def test_mapped_memory_of_no_file_is_memory(values):
    import mmap

    memory = mmap.mmap(-1, values.nbytes)
    base = np.frombuffer(memory, np.float32).reshape(values.shape)
    assert not storage.stays_on_disk(base, 1 << 40)
    assert Windows(base, [0], 5)[0].shape == (5, 3)


# ---------------------------------------------------------------------------------------------
# Pickles


@pytest.mark.parametrize("kind", ["memmap", "npy"])
def test_a_mapped_series_is_pickled_by_its_path(values, store, kind):
    X = Windows(store(values, kind), [300, 5], 12, columns=[1, 2], names=["a", "b"])
    pickled = pickle.dumps(X)
    loaded, other = pickle.loads(pickle.dumps((X, X.steps(0, 5))))

    assert other.base is loaded.base  # so that futures are known to be those of the windows
    assert len(pickled) < values.nbytes / 2
    assert isinstance(loaded.base, np.memmap)
    assert loaded.base.mode == "r"
    assert loaded.names == ("a", "b")
    assert_array_equal(np.asarray(loaded), np.asarray(X), strict=True)
    assert_array_equal(np.asarray(sliding_windows(loaded.base, 12, 4).X)[300, :, 1:], loaded[0])
    assert_array_equal(np.asarray(pickle.loads(pickle.dumps(loaded))), np.asarray(X))


def test_an_array_of_zarr_is_pickled_by_its_store(values, store):
    X = Windows(store(values, "zarr"), [300, 5], 12)
    assert len(pickle.dumps(X)) < values.nbytes / 2
    assert_array_equal(np.asarray(pickle.loads(pickle.dumps(X))), np.asarray(X))


def test_windows_of_sliding_windows_are_pickled_by_path_too(values, store):
    for base in (store(values, "npy"), store(values[:, 0].copy(), "memmap")):
        w = sliding_windows(base, 12, 4, stride=50)
        assert len(pickle.dumps(w.X)) < 1200 < base.nbytes


@pytest.mark.parametrize("case", ["rows", "writable", "copy-on-write", "deleted", "replaced"])
def test_other_mapped_arrays_are_pickled_with_their_values(values, store, tmp_path, case):
    base, path = store(values, "memmap"), tmp_path / "series.memmap"
    if case == "rows":
        base = base[100:]
    elif case == "deleted":
        path.unlink()
    elif case == "replaced":
        path.rename(tmp_path / "old")
        values[:50].tofile(path)
    else:
        mode = {"writable": "r+", "copy-on-write": "c"}[case]
        base = np.memmap(path, dtype=np.float32, mode=mode, shape=values.shape)
        if case == "copy-on-write":
            base[0] = -1
    X = Windows(base, [0, 200], 12)
    pickled = pickle.dumps(X)
    path.unlink(missing_ok=True)
    assert_array_equal(np.asarray(pickle.loads(pickled)), np.asarray(X), strict=True)


@pytest.mark.parametrize("change", [os.remove, lambda path: os.truncate(path, 100)])
def test_a_pickle_whose_file_is_gone_or_cut_says_so(values, store, tmp_path, change):
    pickled = pickle.dumps(Windows(store(values, "npy"), [0], 12))
    change(tmp_path / "series.npy")
    with pytest.raises(OSError, match=r"pickled with the path .*series.npy, but .* Restore"):
        pickle.loads(pickled)


def test_what_joblib_maps_for_its_workers_is_not_pickled_by_path(values):
    """The file is deleted when the workers are done."""
    w = sliding_windows(values, 12, 4, stride=50)
    jobs = joblib.Parallel(n_jobs=2, max_nbytes=100)
    returned = jobs(joblib.delayed(pickle.dumps)(w.X) for _ in range(2))
    assert_array_equal(np.asarray(pickle.loads(returned[0])), np.asarray(w.X))


# ---------------------------------------------------------------------------------------------
# Memory

FIT = """
import resource, sys
import numpy as np, zarr
from skdive import DeepDIVEForecaster, sliding_windows, storage

kind, path = sys.argv[1:]

def fit(series):
    w = sliding_windows(series, lookback=500, horizon=100, stride=750)
    model = DeepDIVEForecaster(max_epochs=1, hidden_dim=8, conditional_dim=2, batch_size=16)
    return model.fit(w.X, w.y).score_samples(w.X[:100], w.y[:100])

series = zarr.open_array(path, mode="r") if kind == "zarr" else np.load(path, mmap_mode="r")
fit(np.array(series[:30_000]))  # starts the threads, and imports what is imported late
used = [line.split() for line in open("/proc/self/status") if line.startswith("VmData")]
limit = int(used[0][1]) * 1024 + (260 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

if kind == "uploaded":
    storage.LARGE = 1 << 40
print("finite:", np.isfinite(fit(np.array(series) if kind == "loaded" else series)).all())
"""


@pytest.fixture(scope="module")
def larger_than_memory(tmp_path_factory):
    """400 MB, of which every block of rows is another, as .npy and as an array of zarr."""
    folder, shape = tmp_path_factory.mktemp("large"), (400_000, 256)
    block = np.random.default_rng(0).normal(size=(10_000, 256)).astype(np.float32)
    mapped = np.lib.format.open_memmap(folder / "series.npy", "w+", np.float32, shape)
    array = zarr.create_array(
        folder / "series.zarr", shape=shape, chunks=(2000, 256), dtype="f4", compressors=None
    )
    for i in range(0, len(mapped), 10_000):
        mapped[i : i + 10_000] = array[i : i + 10_000] = block + i / 100_000
    del mapped
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory the way of Linux")
@pytest.mark.parametrize("kind", ["memmap", "zarr", "loaded", "uploaded"])
def test_a_series_larger_than_memory(larger_than_memory, kind):
    path = larger_than_memory / ("series.zarr" if kind == "zarr" else "series.npy")
    arguments = [sys.executable, "-c", FIT, kind, str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if kind in ("loaded", "uploaded"):  # the limit is real
        assert done.returncode != 0
        assert "MemoryError" in done.stderr or "can't allocate memory" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "finite: True" in done.stdout
