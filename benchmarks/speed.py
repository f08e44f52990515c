"""How fast skdive trains and predicts, against the same network without skdive around it."""

import subprocess
import sys
from copy import deepcopy

import numpy as np
import torch
from compare import Row, paired, ratio_row, show
from skorch import NeuralNet
from skorch.callbacks import Callback

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.batches import Batch
from skdive.datasets import load_pjm
from skdive.layers import norm_windows
from skdive.objective import Objective
from skdive.training import LINEAR_PATH_LR, WEIGHT_DECAY

LR = 0.002
CALENDAR = ["hour", "dayofweek", "month"]
LARGE = dict(n=10_240, n_channels=7, lookback=168, horizon=24, batch_size=256, hidden_dim=128)
SMALL = dict(n=9_600, n_channels=1, lookback=48, horizon=12, batch_size=64, hidden_dim=32)


class Start(Callback):
    """Keeps the module with which training starts."""

    def on_train_begin(self, net, **kwargs):
        self.module = deepcopy(net.module_)


class Setting:
    """Windows of the PJM load, an untrained model, and what a bare loop needs of both."""

    def __init__(self, n, n_channels, lookback, horizon, batch_size, hidden_dim, device="cpu"):
        frame = load_pjm().frame.iloc[: n + lookback + horizon - 1, :n_channels]
        self.windows = sliding_windows(frame, lookback, horizon, marginals=CALENDAR)
        self.size = f"{lookback}x{n_channels} -> {horizon}, batch {batch_size}"
        self.n, self.batch_size, self.device = n, batch_size, device
        self.options = dict(batch_size=batch_size, hidden_dim=hidden_dim, device=device)
        self.options |= dict(early_stopping=False, random_state=0)
        start = Start()
        self.fit(max_epochs=1, callbacks=[start])
        self.module = start.module.requires_grad_(True).train()
        self.objective = Objective()
        values = (frame - frame.mean()) / frame.std(ddof=0)
        standard = sliding_windows(values, lookback, horizon)
        shape = (n, horizon, n_channels)
        x, y = np.asarray(standard.X), np.asarray(standard.y).reshape(shape)
        labels = self.windows.marginals.to_numpy().T
        codes = [np.unique(factor, return_inverse=True)[1] for factor in labels]
        self.x, self.y = (torch.from_numpy(v).mT.contiguous().to(device) for v in (x, y))
        self.codes = torch.from_numpy(np.stack(codes, axis=1)).to(device)

    def fit(self, **options):
        """Fit a forecaster of skdive."""
        w, model = self.windows, DeepDIVEForecaster(**self.options | options)
        return model.fit(w.X, w.y, marginals=w.marginals)

    def fit_epoch(self):
        """Seconds of the second epoch of a fit."""
        return self.fit(max_epochs=2).net_.history[-1, "dur"]


def two_optimisers(module):
    """The optimiser of each phase, as skdive has them."""
    linear = list(module.conditional.linear.parameters())
    latent = [p for p in module.conditional.parameters() if all(p is not q for q in linear)]
    direct = {"params": linear, "lr": LINEAR_PATH_LR * LR, "weight_decay": 0.0}
    options = dict(lr=LR, weight_decay=WEIGHT_DECAY, fused=True)
    return {
        "marginal": torch.optim.AdamW(module.marginal.parameters(), **options),
        "conditional": torch.optim.AdamW([{"params": latent}, direct], **options),
    }


def phases(module, objective, optimisers, batch):
    """A step of both phases with a batch, in plain torch; returns the loss."""
    total = 0.0
    for phase, optimiser in optimisers.items():
        losses = objective(module, batch, phase, training=True)
        losses.total.backward()
        optimiser.step()
        optimiser.zero_grad()
        total = total + losses.total.detach()
    return total


class BareLoop:
    """The same training in a plain loop over windows that lie in memory as one tensor."""

    def __init__(self, setting):
        self.setting, self.module = setting, deepcopy(setting.module)
        self.optimisers = two_optimisers(self.module)

    def epoch(self):
        """One pass over the windows; remembers their mean loss."""
        s, total = self.setting, 0.0
        for index in torch.randperm(s.n, device=s.device).split(s.batch_size):
            batch = Batch(norm_windows(s.x[index]), s.codes[index], s.y[index])
            total = total + len(index) * phases(self.module, s.objective, self.optimisers, batch)
        self.loss = total.item() / s.n  # waits for a GPU


def check_agreement(setting, epochs=2, tolerance=0.03):
    """See that skdive and the bare loop learn alike, before their times are compared."""
    model, loop = setting.fit(max_epochs=epochs), BareLoop(setting)
    for epoch in range(epochs):
        loop.epoch()
        ours = model.net_.history[epoch, "train_loss"]
        if abs(ours - loop.loss) > tolerance * abs(loop.loss):
            raise AssertionError(f"epoch {epoch + 1}: loss {ours} of skdive, {loop.loss} bare")


def training_step(options, goal):
    """A training step in `fit`, against one of the bare loop."""
    setting = Setting(**options)
    check_agreement(setting)
    steps = -(-setting.n // setting.batch_size)
    seconds = paired(setting.fit_epoch, BareLoop(setting).epoch) / steps
    yield ratio_row(f"training step, {setting.size}", "bare torch loop", seconds, goal)


def step_cpu():
    """A training step, CPU."""
    yield from training_step(LARGE, "<= 1.10")


def step_small():
    """A training step of a small network, CPU."""
    yield from training_step(SMALL, "<= 1.35")


class SkorchNet(NeuralNet):
    """What one writes with skorch alone: its DataLoader, history and callbacks as they come."""

    def initialize_optimizer(self, triggered_directly=None):
        """Make an optimiser for each phase."""
        self.optimisers_ = two_optimisers(self.module_)
        return self

    def train_step(self, batch, **fit_params):
        """Do one step in each phase."""
        inputs, y = batch
        self.module_.train()
        batch = Batch(norm_windows(inputs["x"]), inputs["codes"], y)
        loss = phases(self.module_, self.criterion_, self.optimisers_, batch)
        return {"loss": loss, "y_pred": None}


def throughput():
    """Windows per second in training, against skorch's default DataLoader."""
    for options in (LARGE, SMALL):
        s = Setting(**options)
        inputs = {"x": s.x.numpy(), "codes": s.codes.numpy()}
        settings = dict(batch_size=s.batch_size, train_split=None, max_epochs=1, verbose=0)
        net = SkorchNet(lambda s=s: deepcopy(s.module), Objective, **settings).initialize()
        y = s.y.numpy()
        seconds = paired(s.fit_epoch, lambda net=net, x=inputs, y=y: net.partial_fit(x, y), 5)
        against = "skorch, default DataLoader"
        yield ratio_row(f"training, {s.size}", against, seconds, ">= 2", rate=s.n)


def random_model(n, lookback=168, n_channels=7, horizon=24):
    """Windows of noise, and a forecaster fitted to a few of them."""
    noise = np.random.default_rng(0).standard_normal((n + lookback + horizon - 1, n_channels))
    w = sliding_windows(noise.astype(np.float32), lookback, horizon)
    few = w[:512]
    labels = np.arange(512) % 24
    model = DeepDIVEForecaster(max_epochs=1, early_stopping=False)
    return w, model.fit(few.X, few.y, marginals=labels)


def predict_many(n=100_000, chunk=1024):
    """Forecasts of many windows, against the network applied to chunks of preloaded windows."""
    w, model = random_model(n)
    module, x = model.net_.module_, torch.from_numpy(np.asarray(w.X)).mT.contiguous()

    def bare():
        with torch.inference_mode():
            return torch.cat([module(norm_windows(rows)) for rows in x.split(chunk)])

    seconds = paired(lambda: model.predict(w.X), bare, 5)
    yield ratio_row(f"predict {n:,} windows, 168x7 -> 24", "bare module", seconds, "<= 1.15")


def predict_one(calls=1000):
    """The forecast of one window, against a call of the network."""
    w, model = random_model(512)
    module, array = model.net_.module_, np.asarray(w.X[:1])
    x = torch.from_numpy(array).mT.contiguous()

    def bare():
        with torch.inference_mode():
            module(norm_windows(x))

    for name, X in (("array", array), ("Windows", w.X[:1])):
        seconds = paired(lambda X=X: model.predict(X), bare, calls)
        for p in (50, 99):
            ours, theirs = np.percentile(seconds, p, axis=0)
            what = f"predict 1 window, {name}, p{p} of {calls} calls"
            goal = "<= 3" if p == 50 else ""
            yield Row(what, show(ours), "bare module", show(theirs), ours / theirs, "", goal)


def import_time():
    """The import of skdive in a fresh process, against that of what it stands on."""

    def run(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    seconds = paired(run("import skdive"), run("import torch, sklearn"), 7)
    yield ratio_row("import skdive", "import torch, sklearn", seconds, "<= 1.1")
