"""Naive forecasts and ridge regression."""

import numpy as np
from sklearn.linear_model import Ridge

from forecasting.systems import System

ALPHAS = tuple(10.0**power for power in range(-1, 7))


def absolute_error(y, forecast):
    """Mean absolute error."""
    return float(np.abs(forecast - y).mean())


class Naive(System):
    """The values of a season ago, repeated; the season is chosen on validation.

    A season of 1 is the last value.
    """

    def fit(self, problem, settings, seed):
        self.problem = problem
        X, y = problem.whole("valid")
        errors = {season: absolute_error(y, self._ahead(X, season)) for season in problem.seasons}
        self._season = min(errors, key=errors.get)
        return {"season": self._season}

    def _ahead(self, X, season):
        return X[:, X.shape[1] - season + np.arange(self.problem.horizon) % season]

    def predict(self, part):
        return np.concatenate([self._ahead(X, self._season) for X, _ in self.windows(part)])


class RidgeRegression(System):
    """Ridge regression of all steps of the future on the window, alpha chosen on validation.

    "shared": one map from a channel to its future, for all channels; "channel": one for each;
    "all": from all channels to all futures. "last": of differences from the last value.
    """

    def __init__(self, name, threads):
        super().__init__(name, threads)
        _, self._map, *last = name.split("-")
        self._from_last = bool(last)

    def _rows(self, X):
        """Windows as tables of features, one for each map to be learnt."""
        if self._from_last:
            X = X - X[:, -1:]
        return self._tables(X)

    def _tables(self, values):
        """(n, steps, channels) as tables: (n * channels, steps), for each channel, or (n, all)."""
        if self._map == "all":
            return [values.reshape(len(values), -1)]
        by_channel = values.transpose(2, 0, 1)
        return [by_channel.reshape(-1, values.shape[1])] if self._map == "shared" else by_channel

    def _forecast(self, X, models):
        shape = (len(X), self.problem.horizon, X.shape[2])
        tables = [m.predict(rows) for m, rows in zip(models, self._rows(X), strict=True)]
        if self._map == "all":
            ahead = tables[0].reshape(shape)
        else:
            ahead = np.concatenate(tables).reshape(shape[2], shape[0], -1).transpose(1, 2, 0)
        return ahead + X[:, -1:] if self._from_last else ahead

    def fit(self, problem, settings, seed):
        self.problem = problem
        X, y = problem.whole("train")
        features = self._rows(X)
        targets = self._tables(y - X[:, -1:] if self._from_last else y)
        X, y = problem.whole("valid")
        errors = {}
        for alpha in ALPHAS:
            models = [
                Ridge(alpha, solver="cholesky").fit(*pair)
                for pair in zip(features, targets, strict=True)
            ]
            errors[alpha] = absolute_error(y, self._forecast(X, models))
            if errors[alpha] == min(errors.values()):
                self._models = models
        return {"alpha": min(errors, key=errors.get)}

    def predict(self, part):
        return np.concatenate([self._forecast(X, self._models) for X, _ in self.windows(part)])


def make(name, threads):
    """A system of this module."""
    return (Naive if name == "naive" else RidgeRegression)(name, threads)
