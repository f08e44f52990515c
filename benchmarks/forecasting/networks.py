"""Networks of neuralforecast, trained on the windows of the file in one plain loop.

The modules are the library's; its loaders sample windows, so the loop here feeds them instead.
"""

import logging
from copy import deepcopy

import numpy as np
import torch
from neuralforecast import models
from neuralforecast.common._scalers import TemporalNorm
from torch.nn.functional import l1_loss, mse_loss

from forecasting.published import (
    COUNTS_CHANNELS,
    RATES,
    SETTINGS,
    epochs_of,
    options,
)
from forecasting.systems import System

LOSSES = {"MAE": l1_loss, "MSE": mse_loss}
logging.getLogger("lightning_fabric").setLevel(logging.ERROR)


class Network(System):
    """A network of neuralforecast."""

    seeded = True

    def options(self, data):
        return options(self.name, data)

    def _cut(self, part, size, order=None):
        """Windows and futures of a part, as (n, channels, steps), batch by batch."""
        starts = self._starts[part] if order is None else self._starts[part][order]
        for rows in starts.split(size):
            yield self._all.index_select(0, rows).tensor_split([self.problem.lookback], dim=2)

    def windows(self, part):
        for X, y in self._cut(part, 1024):
            yield X.transpose(1, 2).numpy(), y.transpose(1, 2).numpy()

    def _forward(self, x):
        """Forecast scaled windows: (n, channels, steps) to (n, channels, horizon)."""
        together = self._module.MULTIVARIATE
        n, n_channels, _ = x.shape
        lags = x.transpose(1, 2) if together else x.reshape(n * n_channels, -1, 1)
        none = dict(futr_exog=None, hist_exog=None, stat_exog=None)
        ahead = self._module(dict(insample_y=lags, insample_mask=torch.ones_like(lags), **none))
        return ahead.transpose(1, 2) if together else ahead.reshape(n, n_channels, -1)

    def _forecast(self, x):
        scaled = self._scaler.transform(x, torch.ones_like(x))
        return self._scaler.inverse_transform(self._forward(scaled))

    def _loss(self, x, y):
        """Loss of scaled values, as the library has it."""
        ahead = self._forward(self._scaler.transform(x, torch.ones_like(x)))
        scaler = self._scaler
        return self._criterion(ahead, scaler.scaler(y, scaler.x_shift, scaler.x_scale))

    @torch.inference_mode()
    def _valid_loss(self):
        self._module.eval()
        batches = self._cut("valid", self._size)
        losses = [(self._criterion(self._forecast(x), y).item(), len(x)) for x, y in batches]
        losses, sizes = zip(*losses, strict=True)
        return np.average(losses, weights=sizes)

    def _build(self, problem, settings, seed):
        """The module, the windows and the loss; returns how to train."""
        self.problem = problem
        torch.set_num_threads(self.threads)
        series = torch.from_numpy(problem.series)
        self._all = series.unfold(0, problem.lookback + problem.horizon, 1)
        self._starts = {part: torch.from_numpy(rows) for part, rows in problem.starts.items()}
        network = dict(SETTINGS[self.name][settings["like"]])
        schedule = ("learning_rate", "batch", "rate", "epochs", "steps")
        training = {key: network.pop(key, 0) for key in schedule}
        kind = getattr(models, self.name)
        if kind.MULTIVARIATE:
            network["n_series"] = problem.n_channels
        self._module = kind(
            h=problem.horizon, input_size=problem.lookback, random_seed=seed, **network
        )
        self._scaler = TemporalNorm(settings.get("scaler", "identity"), dim=-1)
        self._criterion = LOSSES[settings["loss"]]
        self._size = training["batch"]
        if self.name in COUNTS_CHANNELS:
            self._size = max(1, self._size // problem.n_channels)
        return training

    def fit(self, problem, settings, seed):
        training = self._build(problem, settings, seed)
        highest = training["learning_rate"]
        weights = [p for p in self._module.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(weights, lr=highest, fused=True)
        shuffle = torch.Generator().manual_seed(seed)
        n = len(self._starts["train"])
        steps = max(n // self._size, 1)  # the rest is left out, others in every epoch
        fewest, epochs, patience = epochs_of(self.name, training, steps)
        best, waited = np.inf, 0
        for epoch in range(epochs):
            for group in optimiser.param_groups:
                group["lr"] = highest * RATES[training["rate"]](epoch, epochs)
            self._module.train()
            order = torch.randperm(n, generator=shuffle)
            for x, y in self._cut("train", self._size, order[: steps * self._size]):
                optimiser.zero_grad()
                self._loss(x, y).backward()
                optimiser.step()
            loss = self._valid_loss()
            waited += 1
            if loss < best:
                best, waited, kept = loss, 0, deepcopy(self._module.state_dict())
            if waited >= patience and epoch + 1 >= fewest:
                break
        self._module.load_state_dict(kept)
        return {"epochs": epoch + 1, "parameters": sum(p.numel() for p in weights)}

    @torch.inference_mode()
    def predict(self, part):
        self._module.eval()
        size = max(1, 1024 // self.problem.n_channels)
        ahead = [self._forecast(x).transpose(1, 2) for x, _ in self._cut(part, size)]
        return torch.cat(ahead).numpy()


def make(name, threads):
    """A system of this module."""
    return Network(name, threads)
