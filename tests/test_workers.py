"""Workers of a search, processes or threads, do not get in each other's way."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone

from skdive import DeepDIVEForecaster

LOKY = """
import torch
from joblib import Parallel, delayed
print(Parallel(n_jobs=2)(delayed(torch.get_num_threads)() for _ in "ab"))
"""
DASK = """
import torch
from distributed import Client, LocalCluster
if __name__ == "__main__":
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        print(list(client.run(torch.get_num_threads).values()))
"""


def threads(script, tmp_path):
    """What a script prints that runs without the limits under which these tests may run."""
    environ = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, tmp_path / "script.py"]
    return subprocess.check_output(command, env=environ, text=True, timeout=300).strip()


def test_loky_divides_the_cores(tmp_path):
    assert threads(LOKY, tmp_path) == str(2 * [max(1, joblib.cpu_count() // 2)])


def test_dask_gives_each_worker_one_core(tmp_path):
    pytest.importorskip("distributed")
    assert threads(DASK, tmp_path) == "[1, 1]"


def test_fits_in_threads_are_those_of_fits_alone():
    """One after the other, because torch has one source of random numbers for all threads."""
    rows = np.lib.stride_tricks.sliding_window_view(np.sin(np.arange(300) / 5), 20)
    model = DeepDIVEForecaster(hidden_dim=16, max_epochs=3, random_state=0)

    def forecast():
        return clone(model).fit(rows[:, :16], rows[:, 16:]).predict(rows[:5, :16])

    state = torch.get_rng_state()
    together = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(forecast)() for _ in range(4)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for found in together:
        assert_array_equal(found, forecast())
