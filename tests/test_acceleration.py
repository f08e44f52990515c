"""Lower precision and compilation, where there are no GPUs."""

import pickle
import sys
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skdive import DeepDIVEForecaster
from skdive.objective import Objective


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    series = np.sin(np.arange(400) / 4)[:, None] + 0.1 * rng.normal(size=(400, 2))
    rows = np.lib.stride_tricks.sliding_window_view(series, 20, axis=0).swapaxes(1, 2)
    return rows[:, :16].copy(), rows[:, 16:].copy(), np.arange(381) % 3


def fit(data, **options):
    small = dict(hidden_dim=16, max_epochs=2, random_state=0, device="cpu")
    X, y, labels = data
    return DeepDIVEForecaster(**small | options).fit(X, y, labels)


def test_autocast_computes_the_steps_in_bfloat16_and_all_else_in_full(data, monkeypatch):
    X, y, labels = data
    data = X.astype(np.float32), y.astype(np.float32), labels
    seen = {True: set(), False: set()}
    forward = Objective.forward

    def watched(self, module, batch, phase, training=False):
        module.conditional.tokens[0].register_forward_hook(
            lambda _, __, output: seen[training].add(output.dtype)
        )
        return forward(self, module, batch, phase, training)

    plain = fit(data)
    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", watched)
        half = fit(data, autocast=True)
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}
    assert {p.dtype for p in half.net_.module_.parameters()} == {torch.float32}
    assert half.predict(data[0]).dtype == np.float32
    assert_allclose(half.predict(data[0]), plain.predict(data[0]), atol=0.15)


def test_autocast_needs_float32(data):
    with pytest.warns(UserWarning, match="the windows are float64, .* Convert the series"):
        half = fit(data, autocast=True)
    assert_allclose(half.predict(data[0]), fit(data).predict(data[0]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of what torch.compile imports
def test_a_compiled_fit_is_as_good_and_pickles(data):
    """Of full batches only, as those of another size are compiled again."""
    X, y, labels = (part[:256] for part in data)
    plain, compiled = (
        fit((X, y, labels), compile=flag, early_stopping=False) for flag in (False, True)
    )
    errors = [model.net_.history[-1, "train_forecast"] for model in (plain, compiled)]
    assert errors[1] == pytest.approx(errors[0], abs=0.05)
    copy = pickle.loads(pickle.dumps(compiled))
    assert_allclose(copy.predict(X), compiled.predict(X))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_every_net_of_a_search_is_compiled(data, monkeypatch):
    import torch._dynamo

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # traces only
    with torch._dynamo.config.patch(recompile_limit=4, fail_on_recompile_limit_hit=True):
        for hidden_dim in (8, 12, 16):  # two phases, and two sizes of batches
            fit(data, compile=True, hidden_dim=hidden_dim)


def test_without_a_compiler_there_is_a_warning(data, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.warns(UserWarning, match="no C\\+\\+ compiler was found"):
        model = fit(data, compile=True)
    assert_allclose(model.predict(data[0]), fit(data).predict(data[0]))


def test_a_gpu_without_triton_trains_uncompiled(monkeypatch):
    """As far as this can be told without one."""
    from skdive.checks import can_compile

    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setenv("CXX", "g++")
    with pytest.warns(UserWarning, match="no package triton was found"):
        assert not can_compile(torch.device("cuda"))
    assert can_compile(torch.device("cpu"))


def test_a_gpu_without_bfloat16_trains_in_full_precision(monkeypatch):
    """As far as this can be told without one: the check, not the training."""
    from skdive.checks import can_autocast

    devices = {torch.device("cuda:0"): ("H100", (9, 0)), torch.device("cuda:1"): ("T4", (7, 5))}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda d: devices[d][0])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d: devices[d][1])
    with pytest.warns(UserWarning, match="T4 does not compute in bfloat16"):
        assert not can_autocast(torch.device("cuda:1"), torch.float32)
    assert can_autocast(torch.device("cuda:0"), torch.float32)
    assert can_autocast(torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("option", ["autocast", "compile"])
def test_flags_are_true_or_false(data, option):
    with pytest.raises(TypeError, match=f"{option} must be True or False, got 'yes'"):
        fit(data, **{option: "yes"})
