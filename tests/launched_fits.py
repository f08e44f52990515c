"""What the processes of `test_parallel.py` run: the same fits, alone or launched together."""

import os
import pickle
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from skorch.callbacks import Callback

import skdive.objective
import skdive.training
from skdive import (
    BetaTCVAEForecaster,
    DeepDIVEEncoder,
    DeepDIVEForecaster,
    Interleaving,
    VAEForecaster,
)
from skdive.layers import Gaussian

RANK = int(os.environ.get("RANK", 0))


def rounded(*args, fit=skdive.training.fit_class_ridge):
    """The second forecast; another one in each process, as where sums are rounded otherwise."""
    ridge = fit(*args)
    ridge.weights += 1e-3 * RANK
    return ridge


skdive.training.fit_class_ridge = rounded


def data(n=700):
    """Windows of two noisy channels in float64, their futures and labels of one factor."""
    t = np.arange(n + 11)[:, None]
    series = np.sin(t / 3 + [0, 1]) + 0.3 * np.random.default_rng(0).normal(size=(n + 11, 2))
    rows = np.lib.stride_tricks.sliding_window_view(series, 12, axis=0).swapaxes(1, 2)
    return rows[:, :9].copy(), rows[:, 9:].copy(), np.arange(n) // 4 % 3


def forecaster(device, **options):
    small = dict(hidden_dim=8, marginal_dim=2, conditional_dim=3, batch_size=16, max_epochs=3)
    return DeepDIVEForecaster(**{**small, "random_state": 0, "device": device, **options})


def baseline(Estimator, device, **options):
    small = dict(hidden_dim=8, latent_dim=3, batch_size=16, max_epochs=3, dropout=0.0)
    return Estimator(**{**small, "random_state": 0, "device": device, **options})


def summary(model):
    """All that the processes must agree on."""
    keys = [key for key in model.net_.history[0] if key.startswith(("train_", "valid_"))]
    weights = {name: w.numpy() for name, w in model.net_.module_.state_dict().items()}
    return {"weights": weights, "history": model.net_.history[:, keys], "keys": keys}


@contextmanager
def silence():
    """Switch off the noise of training, besides dropout: sampled latents and told labels."""
    means = mock.patch.object(Gaussian, "sample", lambda self: self.mean)
    with means, mock.patch.object(skdive.objective, "KNOWN_SHARE", 0.0):
        yield


class Order(Callback):
    """Shuffles epochs in the same order, however many random numbers the last one took.

    In the main process: it is not for the others to say.
    """

    def on_epoch_begin(self, net, **kwargs):
        torch.manual_seed(len(net.history) + 1000 * RANK)


def without_noise(device):
    """Fits whose weights depend on nothing but the gradient of each global batch.

    51 training windows are three batches of 16 and one of three, or 25 batches of two and one of a
    single window: uneven shares, and empty ones. There are fewer validation windows than processes,
    where there are three.
    """
    X, y, labels = data(100)
    valid = {"X_val": X[60:62], "y_val": y[60:62], "marginals_val": labels[60:62]}
    fits = {}
    with silence():
        for name, callbacks, options in [
            ("batch", [], {}),
            ("epoch", [Interleaving(unit="epoch")], {}),
            ("joint", [Interleaving(["joint"])], {}),
            ("pairs", [], {"batch_size": 2, "max_epochs": 1}),
        ]:
            callbacks = [Order(), *callbacks]
            model = forecaster(device, dropout=0.0, callbacks=callbacks, **options)
            fits[name] = summary(model.fit(X[:51], y[:51], labels[:51], **valid))
        encoder = DeepDIVEEncoder(hidden_dim=8, dropout=0.0, max_epochs=2, batch_size=16)
        encoder.set_params(random_state=0, device=device, callbacks=[Order()])
        fits["encoder"] = summary(encoder.fit(X[:51].reshape(51, -1), labels[:51]))
        vae = baseline(VAEForecaster, device, callbacks=[Order()])
        fits["vae"] = summary(vae.fit(X[:51], y[:51], X[60:62], y[60:62]))
    return fits


def with_noise(device):
    """A fit that ends early, and what it says of windows that it has not seen."""
    X, y, labels = data()
    model = forecaster(device, max_epochs=200, lr=0.03, n_iter_no_change=8, verbose=1)
    model.fit(X[:500], y[:500], labels[:500])
    return model, {
        **summary(model),
        "valid": min(model.net_.history[:, "valid_forecast"]),
        "test": np.abs(model.predict(X[520:]) - y[520:]).mean(),
        "forecast": model.predict(X[520:]),
    }


class Noise(Callback):
    """Keeps the first random numbers of the training."""

    def on_train_begin(self, net, **kwargs):
        self.numbers = torch.rand(3).tolist()


class OtherWeights(Callback):
    """Has each process draw other weights, as other hardware might."""

    def initialize(self):
        torch.rand(RANK)
        return self


class StopsInOne:
    """A callback of scikit-learn that asks to stop after two epochs, in the last process only."""

    def __init__(self):
        self.epochs = 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.epochs += context.task_name == "epoch"
        return RANK > 0 and self.epochs == 2


def together(out):
    """All that several processes do together."""
    X, y, _ = data(100)
    found = {"without": without_noise("accelerate")}
    model, found["with"] = with_noise("accelerate")
    found["params"] = clone(model).get_params()
    if RANK == 0:
        Path(out, "model.pkl").write_bytes(pickle.dumps(model))

    beta_tcvae = baseline(BetaTCVAEForecaster, "accelerate")
    found["without"]["beta-tcvae"] = summary(beta_tcvae.fit(X, y))
    try:
        beta_tcvae.set_params(batch_size=3).fit(X, y)
    except ValueError as error:
        found["few windows"] = str(error)

    search = GridSearchCV(
        forecaster("accelerate", max_epochs=1, random_state=None),
        {"lr": [0.001, 1e30, 0.01]},
        cv=TimeSeriesSplit(2),
        error_score=-9.0,
    )
    search.fit(X, y.reshape(100, -1))
    found["search"] = search.cv_results_["mean_test_score"].tolist()
    found["best"] = summary(search.best_estimator_)

    noise = Noise()
    forecaster("accelerate", callbacks=[noise]).fit(X, y)
    found["noise"] = noise.numbers
    found["other"] = summary(forecaster("accelerate", callbacks=[OtherWeights()]).fit(X, y))

    stopping = forecaster("accelerate", max_epochs=5)
    if hasattr(stopping, "set_callbacks"):
        found["stopped"] = stopping.set_callbacks(StopsInOne()).fit(X, y).n_iter_
    try:
        forecaster("accelerate").fit(X[RANK : RANK + 90], y[RANK : RANK + 90])
    except ValueError as error:
        found["error"] = str(error)
    nearly = np.append(np.arange(3000 + RANK) % 50, 0)  # the same first and last window
    try:
        forecaster("accelerate", early_stopping=False).fit(X[nearly], y[nearly])
    except ValueError as error:
        found["nearly"] = str(error)
    Path(out, f"{RANK}.pkl").write_bytes(pickle.dumps(found))


class Fails(Callback):
    """Something that happens to one process in the middle of an epoch."""

    def __init__(self, what):
        self.what, self.batches = what, 0

    def on_batch_end(self, net, **kwargs):
        self.batches += 1
        if RANK == 1 and self.batches == 2:
            print("it happens", flush=True)
            if self.what == "error":
                raise ValueError("in one process only")
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}[self.what])


def fail(what):
    """Go on after an error, as a grid search would."""
    X, y, _ = data(100)
    try:
        forecaster("accelerate", callbacks=[Fails(what)]).fit(X, y)
    except ValueError as error:
        print("swallowed", error, flush=True)
    forecaster("accelerate").fit(X, y)
    print("nothing happened", flush=True)


if __name__ == "__main__":
    {"together": together, "fail": fail}[sys.argv[1]](*sys.argv[2:])
