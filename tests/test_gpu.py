"""What differs on a GPU; skipped where there is none. ``make test-gpu`` runs these alone."""

import gc
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback
from torch.testing import assert_close

from skdive import (
    BetaTCVAEForecaster,
    DeepDIVEEncoder,
    DeepDIVEForecaster,
    VAEForecaster,
    Windows,
    sliding_windows,
)
from skdive.batches import Batch, DeviceWindows, Standardiser
from skdive.layers import norm_windows
from skdive.objective import Objective

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module")
def windows():
    t = np.arange(1500)[:, None]
    noise = np.random.default_rng(0).normal(size=(1500, 3))
    series = np.sin(t * 2 * np.pi / 24 + [0, 1, 2]) + 0.3 * noise
    return sliding_windows(series, lookback=48, horizon=12)


def hours(w):
    return (w.X.starts + 47) % 24


def forecaster(**options):
    small = dict(hidden_dim=32, max_epochs=3, random_state=0, device="cuda")
    return DeepDIVEForecaster(**{**small, **options})


@parametrize_with_checks(
    [
        Estimator(device="cuda")
        for Estimator in (DeepDIVEForecaster, DeepDIVEEncoder, VAEForecaster, BetaTCVAEForecaster)
    ]
)
@pytest.mark.filterwarnings("ignore:classes of factor:UserWarning")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("phase", ["marginal", "conditional", "joint"])
def test_losses_and_gradients_agree_with_the_cpu(make_module, phase):
    module, x, y = make_module(), torch.randn(64, 2, 10), torch.randn(64, 2, 4)
    codes = torch.randint(-1, 2, (64, 2))
    found = {}
    for device in ("cpu", "cuda"):
        module = module.to(device)
        module.zero_grad()
        batch = Batch(norm_windows(x.to(device)), codes.to(device), y.to(device))
        losses = Objective()(module, batch, phase)
        assert losses.total.device.type == device
        if phase != "marginal":
            losses.terms["forecast"].backward()
        gradients = [p.grad for p in module.conditional.parameters() if p.grad is not None]
        found[device] = [t.detach().cpu() for t in (losses.total, *losses.terms.values())]
        found[device] += [g.cpu() for g in gradients]
    assert_close(found["cuda"], found["cpu"], rtol=1e-4, atol=1e-5)


def test_a_fit_is_as_good_as_on_the_cpu_and_repeatable(windows):
    fits = [
        forecaster(device=device, max_epochs=8).fit(windows.X, windows.y, hours(windows))
        for device in ("cpu", "cuda", "cuda")
    ]
    errors = [min(model.net_.history[:, "valid_forecast"]) for model in fits]
    assert errors[1] == pytest.approx(errors[0], rel=0.05, abs=0.02)
    assert_allclose(fits[1].predict(windows.X), fits[2].predict(windows.X))


@pytest.mark.parametrize("option", ["autocast", "compile"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of what torch.compile imports
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # are not asked for
def test_faster_arithmetic_is_as_good(windows, option):
    plain, fast = (
        forecaster(max_epochs=8, **given).fit(windows.X, windows.y, hours(windows))
        for given in ({}, {option: True})
    )
    errors = [min(model.net_.history[:, "valid_forecast"]) for model in (plain, fast)]
    assert errors[1] == pytest.approx(errors[0], rel=0.05, abs=0.03)
    assert pickle.loads(pickle.dumps(fast)).predict(windows.X[:5]).shape == (5, 36)


class NoSynchronisation(Callback):
    """Fails where a step waits for the GPU; the first one may, while things are set up."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if training and net.steps_["conditional"] > 0:
            torch.cuda.set_sync_debug_mode("error")

    def on_batch_end(self, net, **kwargs):
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype:UserWarning")
def test_no_step_waits_for_the_gpu(windows, labelled):
    labels = hours(windows) if labelled else None
    try:
        forecaster(callbacks=[NoSynchronisation()]).fit(windows.X, windows.y, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_model_of_a_gpu_loads_without_one(windows, tmp_path):
    model = forecaster().fit(windows.X, windows.y)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", np.asarray(windows.X[:20]).reshape(20, -1))
    code = (
        "import pickle, numpy as np, warnings; warnings.simplefilter('ignore')\n"
        "model = pickle.load(open('model.pkl', 'rb'))\n"
        "model.n_channels = 3\n"
        "np.save('y.npy', model.predict(np.load('X.npy').reshape(20, 48, 3)))"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    found = np.load(tmp_path / "y.npy")
    assert_allclose(found, model.predict(windows.X[:20]), rtol=1e-3, atol=1e-4)


def test_a_model_of_another_gpu_loads_where_there_are_fewer(windows):
    model = forecaster().fit(windows.X, windows.y)
    expected = model.predict(windows.X[:20])
    model.net_.device = f"cuda:{torch.cuda.device_count()}"
    copy = pickle.loads(pickle.dumps(model))
    assert copy.net_.device == "cuda"
    assert_allclose(copy.predict(windows.X[:20]), expected)


def test_a_series_that_does_not_fit_stays_on_the_host():
    device = torch.device("cuda")
    # 64 MB: for less than 20 MB, torch may have room in what it has already taken from the device.
    series = np.random.default_rng(0).standard_normal((1 << 22, 4), dtype=np.float32)
    windows = Windows(series, np.arange(len(series) - 48), 48)
    scale = Standardiser.of(windows)
    expected = DeviceWindows.upload(windows, scale, torch.float32, device)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-7)
    try:
        with pytest.warns(UserWarning, match="does not fit on cuda"):
            found = DeviceWindows.upload(windows, scale, torch.float32, device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    index = torch.arange(10, device=device)
    assert found.values.device.type == "cpu"
    assert found.take(index).device.type == "cuda"
    assert_close(found.take(index), expected.take(index))


def test_a_search_leaves_no_memory_behind(windows):
    def search():
        grid = GridSearchCV(
            forecaster(max_epochs=1), {"lr": [1e-3, 2e-3]}, cv=TimeSeriesSplit(3, gap=60), n_jobs=1
        )
        grid.fit(windows.X, windows.y).predict(windows.X[:3])

    search()  # what CUDA's libraries keep for themselves is there from now on
    gc.collect()
    before = torch.cuda.memory_allocated()
    search()
    gc.collect()
    assert torch.cuda.memory_allocated() <= before


def test_a_clone_fits_on_the_device_asked_for(windows):
    model = clone(forecaster(device="cuda:0")).fit(windows.X, windows.y)
    assert next(model.net_.module_.parameters()).device == torch.device("cuda:0")
