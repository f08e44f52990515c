"""Several processes train one model, and none is left waiting."""

import multiprocessing
import pickle
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from launched_fits import data, forecaster, summary, with_noise, without_noise
from numpy.testing import assert_allclose

from skdive.batches import DeviceWindows, WindowBatches
from skdive.parallel import LaunchedProcess, launched_process

pytest.importorskip("accelerate")

SCRIPT = Path(__file__).with_name("launched_fits.py")
CPU = torch.device("cpu")


def launch(*arguments, n=2, how=("--multi_gpu",), timeout=600):
    """Run the script in n processes; returns what it printed, and how it ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", *how]
    command += ["--num_processes", str(n), "--num_machines", "1", "--main_process_port", str(port)]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", str(SCRIPT), *arguments]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen(command, **pipes) as run:
        try:
            stdout, stderr = run.communicate(timeout=timeout)
        finally:
            run.terminate()  # of a launcher that hangs; it ends its processes
    return subprocess.CompletedProcess(command, run.returncode, stdout, stderr)


@pytest.fixture(scope="module", params=[2, 3])
def launched(request, tmp_path_factory):
    """What each of several processes found."""
    out = tmp_path_factory.mktemp("launched")
    run = launch("together", str(out), n=request.param)
    assert run.returncode == 0, run.stderr
    found = [pickle.loads((out / f"{r}.pkl").read_bytes()) for r in range(request.param)]
    return found, out, run.stdout


@pytest.fixture(scope="module")
def alone():
    """The same fits, in one process."""
    return without_noise("cpu"), with_noise("cpu")[1]


def assert_same(one, other):
    """Bit by bit."""
    assert one["keys"] == other["keys"]
    assert one["history"] == other["history"]
    assert one["weights"].keys() == other["weights"].keys()
    for name, weight in one["weights"].items():
        assert np.array_equal(weight, other["weights"][name]), name


# ---------------------------------------------------------------------------------------------
# One model


@pytest.mark.slow
def test_without_noise_the_model_is_that_of_a_single_process(launched, alone):
    """Weights and losses, up to rounding in float64: gradients are means over global batches."""
    for name, expected in alone[0].items():
        found = launched[0][0]["without"][name]
        assert found["keys"] == expected["keys"]
        assert_allclose(found["history"], expected["history"], rtol=1e-8)
        for weight in expected["weights"]:
            assert_allclose(
                found["weights"][weight], expected["weights"][weight], rtol=1e-6, atol=1e-9
            )


@pytest.mark.slow
def test_with_noise_the_model_is_as_good_as_that_of_a_single_process(launched, alone):
    found, expected = launched[0][0]["with"], alone[1]
    naive = np.abs(np.diff(data()[1][520:, 0], axis=0)).mean()

    assert_allclose(found["valid"], expected["valid"], rtol=0.05)
    assert_allclose(found["test"], expected["test"], rtol=0.05)
    assert max(found["test"], expected["test"]) < 0.9 * naive


@pytest.mark.slow
def test_all_processes_have_the_same_model(launched):
    for one, other in pairwise(launched[0]):
        for name, fit in one["without"].items():
            assert_same(fit, other["without"][name])
        assert_same(one["with"], other["with"])
        assert np.array_equal(one["with"]["forecast"], other["with"]["forecast"])
    assert len(launched[0][0]["with"]["history"]) < 200  # stopped early


@pytest.mark.slow
def test_every_process_has_windows_to_compare(launched):
    for found in launched[0]:
        assert f"batch_size must be at least {2 * len(launched[0])}, 2 for" in found["few windows"]


@pytest.mark.slow
def test_all_processes_start_from_the_same_weights(launched):
    for one, other in pairwise(launched[0]):
        assert_same(one["other"], other["other"])


@pytest.mark.slow
def test_noise_is_of_each_process_its_own(launched):
    numbers = [tuple(found["noise"]) for found in launched[0]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.slow
def test_the_main_process_prints(launched):
    assert launched[2].count("train_loss_marginal") == 1


# ---------------------------------------------------------------------------------------------
# Around a fit


@pytest.mark.slow
def test_a_grid_search_is_the_same_in_all_processes(launched):
    """Even where the seed is random, and where a fit fails in all of them."""
    found = launched[0]
    for one, other in pairwise(found):
        assert one["search"] == other["search"]
        assert_same(one["best"], other["best"])
    assert found[0]["search"][1] == -9.0
    assert -9.0 not in found[0]["search"][::2]
    assert found[0]["params"]["device"] == "accelerate"


@pytest.mark.slow
def test_all_processes_stop_where_one_is_asked_to(launched):
    pytest.importorskip("sklearn.callback")
    assert [found["stopped"] for found in launched[0]] == [2] * len(launched[0])


@pytest.mark.slow
def test_other_data_in_other_processes(launched):
    for found in launched[0]:
        assert "every process must be given all the data" in found["error"]
        counts = [3001 + rank for rank in range(len(launched[0]))]
        assert f"the processes have {counts} training windows" in found["nearly"]


@pytest.mark.slow
def test_a_model_is_loaded_without_accelerate(launched):
    """In a process that has no such package, and is not one of several."""
    found, out, _ = launched
    code = f"""
import pickle, sys
sys.modules["accelerate"] = None  # as if it were not installed
sys.path.append({str(SCRIPT.parent)!r})
from launched_fits import data
with open({str(out / "model.pkl")!r}, "rb") as file:
    model = pickle.load(file)
X, y, _ = data()
with open({str(out / "forecast.pkl")!r}, "wb") as file:
    pickle.dump(model.predict(X[520:]), file)
model.set_params(device="cpu").fit(X[:50], y[:50])
try:
    model.set_params(device="accelerate").fit(X, y)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "pip install 'skdive[accelerate]'" in run.stdout
    forecast = pickle.loads((out / "forecast.pkl").read_bytes())
    assert np.array_equal(forecast, found[0]["with"]["forecast"])


def test_accelerate_is_imported_where_it_is_asked_for():
    code = "import sys, skdive; assert not {'accelerate', 'torch.distributed.run'} & {*sys.modules}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------------------------------------
# Failures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("kill", "Connection closed by peer|exitcode"),
        ("interrupt", "KeyboardInterrupt"),
        ("error", "an earlier fit failed in process 1 of 2"),
    ],
)
def test_what_ends_one_process_ends_all(what, message):
    """Killed, interrupted, or by an error that the script swallows: soon, and loudly.

    Processes that wait for one another would do so for 30 minutes, longer than `launch` does.
    """
    run = launch("fail", what)

    assert run.returncode != 0
    assert "it happens" in run.stdout
    assert "nothing happened" not in run.stdout
    assert any(part in run.stderr for part in message.split("|"))


def test_processes_that_accelerate_does_not_see(monkeypatch):
    launched_process()  # from now on, accelerate knows this process as the only one
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"2 processes were launched, but accelerate sees 1"):
        forecaster("accelerate").fit(*data(50))


def test_workers_of_a_launched_process(monkeypatch):
    """They inherit its number, but are not it."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        multiprocessing.get_context("spawn").Pool(1) as pool,
        pytest.raises(RuntimeError, match=r"child of one of the processes.*Use n_jobs=1"),
    ):
        pool.apply(launched_process)


# ---------------------------------------------------------------------------------------------
# One process


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def test_a_process_alone_fits_as_ever(on_cpu):
    X, y, labels = data(60)
    one, other = (forecaster(device).fit(X, y, labels) for device in ("accelerate", "cpu"))
    assert_same(summary(one), summary(other))


@pytest.mark.slow
def test_a_launch_of_one_process_where_several_were_asked_for(tmp_path):
    """That is what the option --cpu does."""
    run = launch("together", str(tmp_path), how=("--cpu",))
    assert run.returncode == 0, run.stderr
    assert "`accelerate launch --cpu` starts one process" in run.stderr
    assert [path.name for path in tmp_path.glob("?.pkl")] == ["0.pkl"]


# ---------------------------------------------------------------------------------------------
# Shares


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
def test_every_window_is_in_one_share(size, batch_size):
    """Of as many batches in every process; a share without windows counts for none."""
    windows = DeviceWindows(torch.randn(1, 14), torch.arange(5), 10, CPU)
    data = WindowBatches(windows, None, torch.arange(5).unsqueeze(1))
    shares = [
        list(data.batches(batch_size, process=LaunchedProcess(CPU, rank, size)))
        for rank in range(size)
    ]
    n_batches = -(-5 // batch_size)
    assert [len(batches) for batches in shares] == [n_batches] * size
    seen = []
    for batches in zip(*shares, strict=True):
        counted = [len(rows) for rows in batches]
        assert max(counted) - min(counted) <= 1
        for rows in batches:
            ((batch, _),) = rows.parts()
            assert len(batch.codes) == max(1, len(rows))
            seen += batch.codes[: len(rows), 0].tolist()
    assert seen == [0, 1, 2, 3, 4]
