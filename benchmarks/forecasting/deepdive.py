"""DeepDIVE, with its defaults and with a few settings chosen on validation."""

import pandas as pd
import torch
from records import settings_of

from forecasting.problem import CHUNK
from forecasting.systems import System
from skdive import DeepDIVEForecaster, Windows

# One at a time, from the defaults on: a fit for each further value, per data set.
TUNED = {
    "dropout": [0.1, 0.3, 0.5],
    "hidden_dim": [128, 64, 256],
    "lr": [0.002, 0.0005],
    "conditional_dim": [32, 8],
}


class DeepDIVE(System):
    """DeepDIVE; labels of the training windows are known, those of the test windows are not."""

    seeded = True

    def options(self, data):
        return TUNED if self.name == "DeepDIVE-tuned" else {}

    def defaults(self):
        return settings_of(DeepDIVEForecaster())

    def _windows(self, part):
        """Windows and futures of a part, over one series."""
        p, starts = self.problem, self.problem.starts[part]
        X = Windows(p.series, starts, p.lookback, bounds=p.bounds)
        return X, Windows(p.series, starts + p.lookback, p.horizon, bounds=p.bounds, flat=True)

    def _labels(self, part):
        labels = self.problem.labels[part]
        return pd.DataFrame(labels) if labels else None

    def fit(self, problem, settings, seed):
        self.problem = problem
        torch.set_num_threads(self.threads)
        self._model = DeepDIVEForecaster(**settings, random_state=seed)
        train, valid = ((*self._windows(p), self._labels(p)) for p in ("train", "valid"))
        self._model.fit(*train, *valid)
        return {"epochs": self._model.n_iter_}

    def predict(self, part):
        X, _ = self._windows(part)
        return self._model.predict(X).reshape(len(X), self.problem.horizon, -1)

    def windows(self, part):
        X, y = self._windows(part)
        for i in range(0, len(X), CHUNK):
            futures = y[i : i + CHUNK].__array__()
            yield X[i : i + CHUNK].__array__(), futures.reshape(len(futures), y.length, -1)


def make(name, threads):
    """A system of this module."""
    return DeepDIVE(name, threads)
