"""Searches on a Dask cluster: what moves, what comes out, and what a lost worker costs."""

import json
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from skdive import DeepDIVEForecaster, Windows, sliding_windows

distributed = pytest.importorskip("distributed")
cluster = pytest.importorskip("skdive.cluster")
on_dask = cluster.on_dask
HERE = Path(__file__).parent


class Constant(RegressorMixin, BaseEstimator):
    """Forecasts one number; its score tells whether X and y share their base."""

    def __init__(self, value=0.0):
        self.value = value

    def fit(self, X, y):
        return self

    def score(self, X, y):
        assert np.asarray(X[:1]).shape == X[:1].shape
        return float(X.base is y.base)


def rows(estimator, X, y):
    """A number that depends on the windows and their order."""
    return float(X.starts @ np.arange(len(X)))


def search(estimator, grid, **options):
    folds = TimeSeriesSplit(5)
    return GridSearchCV(estimator, grid, cv=folds, refit=False, error_score="raise", **options)


@pytest.fixture(scope="module")
def client():
    options = dict(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as client:
        yield client


def count_received():
    """Count, in a worker, the bytes that its connections bring; returns those so far."""
    from distributed.comm import tcp

    if not hasattr(tcp, "received"):
        read = tcp.from_frames

        def from_frames(frames, *args, **kwargs):
            tcp.received += sum(memoryview(frame).nbytes for frame in frames)
            return read(frames, *args, **kwargs)

        tcp.received, tcp.from_frames = 0, from_frames
    return tcp.received


@pytest.fixture
def received(client):
    """Bytes that each worker has received since the start of the test."""
    before = client.run(count_received)
    return lambda: [n - before[worker] for worker, n in client.run(count_received).items()]


@pytest.fixture(scope="module")
def long():
    """Many windows over 8 MB of noise, which cannot be compressed."""
    series = np.random.default_rng(0).standard_normal((200_000, 10), dtype=np.float32)
    return sliding_windows(series, lookback=48, horizon=12)


def test_series_moves_to_each_worker_once(client, received, long):
    labels = pd.DataFrame({"hour": np.random.default_rng(0).integers(24, size=len(long))})
    with on_dask(client, long, labels):
        found = search(Constant(), {"value": [0, 1, 2, 3]}).fit(long.X, long.y)
    assert (found.cv_results_["mean_test_score"] == 1).all()  # X and y share it there as here
    once = long.X.base.nbytes + labels.size * 8
    for moved in received():
        assert once <= moved < 1.05 * once


def test_a_mapped_series_is_not_sent(client, received, long, tmp_path):
    np.save(tmp_path / "series.npy", long.X.base)
    series = np.load(tmp_path / "series.npy", mmap_mode="r")
    w = sliding_windows(series, lookback=48, horizon=12, dtype=series.dtype)
    with on_dask(client, w):
        found = search(Constant(), {"value": [0, 1]}).fit(w.X, w.y)
    assert (found.cv_results_["mean_test_score"] == 1).all()
    assert max(received()) < 0.1 * series.nbytes


def test_plain_joblib_moves_windows_once_and_not_with_each_task(client, received, long):
    with joblib.parallel_config(backend="dask"):
        search(Constant(), {"value": [0, 1, 2, 3]}).fit(long.X, long.y)
    each = long.X.base.nbytes + long.X.starts.nbytes
    for moved in received():
        assert (
            moved < 2.9 * each
        )  # X and y apart, and the folds; with each of 20 tasks it is over 10


def test_size_of_windows_counts_what_they_hold():
    base = np.zeros((1000, 10), dtype=np.float32)
    X = Windows(base, np.arange(100), 5)
    assert 40_000 + 800 <= sys.getsizeof(X) < 42_000
    view = Windows(base[:500], [0], 5)
    assert 20_000 <= sys.getsizeof(view) < 21_000


def test_workers_let_go_of_the_data(client, long):
    def held(dask_worker):
        return [name for name in dask_worker.plugins if name.startswith("skdive")]

    with on_dask(client, long):
        assert all(len(names) == 1 for names in client.run(held).values())
    assert not any(client.run(held).values())


def test_search_gives_the_same_as_here(client):
    rng = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=500, freq="h")
    noise = 0.1 * rng.standard_normal((500, 2))
    load = pd.DataFrame(np.sin(np.arange(500) * np.pi / 12)[:, None] + noise, index=index)
    w = sliding_windows(load, lookback=24, horizon=6, marginals=["hour"])
    model = DeepDIVEForecaster(hidden_dim=16, max_epochs=2, random_state=0)
    folds = TimeSeriesSplit(2, gap=w.embargo)
    grid = GridSearchCV(model, {"beta": [0.1, 1.0]}, cv=folds, error_score="raise")
    here = grid.fit(w.X, w.y, marginals=w.marginals).cv_results_["mean_test_score"]
    with on_dask(client, w):
        grid.fit(w.X, w.y, marginals=w.marginals)
    assert_allclose(grid.cv_results_["mean_test_score"], here, rtol=1e-4)
    assert grid.predict(w.X).shape == w.y.shape


def test_parts_of_windows_and_uneven_folds(client, received, long):
    part = long[:150_000]
    folds = [(np.random.default_rng(0).permutation(1000), np.array([5, 6, 3, 9000, 100]))]
    grid = GridSearchCV(Constant(), {"value": [0]}, cv=folds, scoring=rows, refit=False)
    with on_dask(client, long):  # of which only a part is searched
        grid.fit(part.X, part.y)
    assert max(received()) < 1.5 * long.X.base.nbytes
    (score,) = grid.cv_results_["mean_test_score"]
    assert score == part.X[folds[0][1]].starts @ np.arange(5)


HOUR = 3_600_000_000_000  # nanoseconds


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(8760) * HOUR + pd.Timestamp("2024-01-01").as_unit("ns").value,
        np.array([0, 2**63 - 1]),
        np.array([-(2**63), 2**63 - 1]),
        np.array([2**62, 0, -(2**62)]),
        np.array([7, 7, 7]),
    ],
    ids=["hours", "far apart", "further than an int64", "falling", "equal"],
)
def test_evenly_spaced_numbers_arrive_as_they_are(client, numbers):
    with on_dask(client):
        (arrived,) = joblib.Parallel()([joblib.delayed(np.copy)(numbers)])
    assert arrived.dtype == np.int64
    assert np.array_equal(arrived, numbers)


def test_errors_of_tasks_arrive(client, long):
    class Broken(Constant):
        def fit(self, X, y):
            raise ZeroDivisionError("in the worker")

    with on_dask(client, long), pytest.raises(ZeroDivisionError, match="in the worker"):
        search(Broken(), {"value": [0]}).fit(long.X, long.y)


def test_bad_input(client, long, monkeypatch):
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client, got str"):
        on_dask("scheduler:8786", long).__enter__()
    monkeypatch.setattr(cluster, "LIMIT", 1000)
    with pytest.raises(ValueError, match=r"the data takes .* GiB, but Dask sends"):
        on_dask(client, long).__enter__()


def test_skdive_does_without_dask():
    code = (
        "import sys, skdive; assert not {'dask', 'distributed'} & set(sys.modules)\n"
        "sys.modules['distributed'] = None; import skdive.cluster"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert "ImportError: skdive.cluster needs Dask: pip install 'skdive[dask]'" in run.stderr


def lose_workers(case, folder):
    """Search in a process of its own, which ends even if the search hangs, and says where."""
    command = [sys.executable, HERE / "lose_workers.py", case, folder]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["both", "one, without nannies"])
def test_search_survives_the_loss_of_workers(case, tmp_path):
    run = lose_workers(case, tmp_path)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["killed"] == (2 if case == "both" else 1)
    assert found["begun"] > 10  # tasks, the interrupted ones more than once
    assert np.isfinite(found["expected"]).all()
    assert found["scores"] == found["expected"]


@pytest.mark.slow
def test_task_that_kills_each_worker_ends_the_search(tmp_path):
    run = lose_workers("each that runs one task", tmp_path)
    assert run.returncode == 1
    assert "KilledWorker: Attempted to run task" in run.stderr
