"""A search on a cluster whose workers are killed while they fit; run by test_dask.py.

Usage: python lose_workers.py CASE FOLDER
"""

import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import dask
import numpy as np
from distributed import Client, LocalCluster
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from skdive import sliding_windows
from skdive.cluster import on_dask


class Slow(RegressorMixin, BaseEstimator):
    """Notes that it began in a file, takes a while, and forecasts the mean of its windows."""

    def __init__(self, folder=None, shift=0.0, deadly=False):
        self.folder, self.shift, self.deadly = folder, shift, deadly

    def fit(self, X, y):
        if self.folder is not None:
            (Path(self.folder) / f"{os.getpid()}-{uuid4().hex}").touch()
            time.sleep(0.3)
        if self.deadly and self.shift == 1:  # as a fit that takes too much memory
            os.kill(os.getpid(), signal.SIGKILL)
        self.mean_ = np.asarray(y).mean(0) + self.shift
        return self

    def predict(self, X):
        return np.tile(self.mean_, (len(X), 1))


def begun(folder):
    """Numbers of fits begun, by process."""
    pids = [name.partition("-")[0] for name in os.listdir(folder)]
    return {pid: pids.count(pid) for pid in set(pids)}


def kill(folder, n):
    """Kill n workers once both are in their second fit."""
    while sum(count > 1 for count in begun(folder).values()) < 2:
        time.sleep(0.02)
    for pid in sorted(begun(folder))[:n]:
        os.kill(int(pid), signal.SIGKILL)
        killed.append(pid)


if __name__ == "__main__":
    case, folder = sys.argv[1:]
    faulthandler.dump_traceback_later(300, exit=True)  # where a search hangs
    series = np.random.default_rng(0).standard_normal((20_000, 5), dtype=np.float32)
    w = sliding_windows(series, lookback=48, horizon=12)
    killed = []
    count = {"both": 2, "one, without nannies": 1, "each that runs one task": 0}[case]
    if count == 0:
        dask.config.set({"distributed.scheduler.allowed-failures": 1})  # ends it sooner
    with ExitStack() as stack:
        nannies = "without nannies" not in case
        cluster = stack.enter_context(
            LocalCluster(n_workers=2 * nannies, threads_per_worker=1, dashboard_address=":0")
        )
        client = stack.enter_context(Client(cluster))
        if not nannies:
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny"]
            worker += ["--nthreads=1", "--no-dashboard", cluster.scheduler_address]
            for _ in range(2):
                process = subprocess.Popen(worker, stderr=subprocess.DEVNULL)
                stack.callback(process.kill)
            client.wait_for_workers(2, timeout=120)
        threading.Thread(target=kill, args=(folder, count), daemon=True).start()
        options = dict(
            param_grid={"shift": [0.0, 1.0]},
            cv=TimeSeriesSplit(5),
            refit=False,
            error_score="raise",
        )
        alone = GridSearchCV(Slow(), **options).fit(w.X, w.y)
        search = GridSearchCV(Slow(folder, deadly=count == 0), **options)
        with on_dask(client, w):
            search.fit(w.X, w.y)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)  # as it ends
        scores = [s.cv_results_["mean_test_score"].tolist() for s in (search, alone)]
        result = {"scores": scores[0], "expected": scores[1], "killed": len(killed)}
        print(json.dumps({**result, "begun": sum(begun(folder).values())}))
