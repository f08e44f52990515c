"""LightGBM, one model for each step ahead, shared by the channels."""

import lightgbm
import numpy as np

from forecasting.systems import System

# Half of the rows and features for each tree, and 63 bins, for the time that 96 models take.
FIXED = dict(learning_rate=0.1, num_leaves=31, max_bin=63, feature_fraction=0.5)
FIXED |= dict(bagging_fraction=0.5, bagging_freq=1, verbosity=-1)
TREES = 1000
LAGS = (1, 2, 3, 6, 12, 24)  # of the other channels
HOURLY = ("ETTh1", "ETTh2", "PJM", "vic_elec", "electricity")  # their labels are the calendar
PATIENCE = 20


class Boosting(System):
    """Gradient boosting of differences from the last value, step by step.

    Features are the lags of the channel, as differences from its last value, the last value and
    the number of the channel; a few such differences of all channels, and the hour, weekday and
    month of the last step, if that is better. Trees are added until the valid part gets no better.
    """

    def options(self, data):
        channels = ["own", "all", *["all, calendar"] * (data in HOURLY)]
        return {"objective": ["regression_l1", "regression"], "channels": channels}

    def _features(self, X, part, first=0):
        """Features of windows of a part, channel by channel; `first` is the place of the first."""
        last = X[:, -1:]
        lags = (X - last)[:, :-1].transpose(2, 0, 1).reshape(-1, X.shape[1] - 1)
        channel = np.repeat(np.arange(X.shape[2], dtype=np.float32), len(X))
        columns = [lags, last.transpose(2, 0, 1).reshape(-1), channel]
        if "all" in self._channels:
            changes = np.concatenate([X[:, -1] - X[:, -1 - lag] for lag in LAGS], axis=1)
            columns.append(np.tile(changes, (X.shape[2], 1)))
        if "calendar" in self._channels:
            labels = np.column_stack(list(self.problem.labels[part].values()))
            columns.append(np.tile(labels[first : first + len(X)], (X.shape[2], 1)))
        return np.column_stack(columns)

    def fit(self, problem, settings, seed):
        self.problem = problem
        self._channels = settings["channels"]
        options = dict(FIXED, objective=settings["objective"], seed=seed, num_threads=self.threads)
        X, y = problem.whole("train")
        X_valid, y_valid = problem.whole("valid")
        data = dict(params=options, free_raw_data=False, categorical_feature=[problem.lookback])
        train = lightgbm.Dataset(self._features(X, "train"), **data).construct()
        features = self._features(X_valid, "valid")
        valid = lightgbm.Dataset(features, reference=train, **data).construct()
        self._models = []
        for step in range(problem.horizon):
            train.set_label((y[:, step] - X[:, -1]).T.reshape(-1))
            valid.set_label((y_valid[:, step] - X_valid[:, -1]).T.reshape(-1))
            stop = lightgbm.early_stopping(PATIENCE, verbose=False)
            self._models.append(
                lightgbm.train(options, train, TREES, valid_sets=[valid], callbacks=[stop])
            )
        trees = np.mean([model.best_iteration for model in self._models])
        return {"trees": round(float(trees), 1)}

    def _forecast(self, X, *place):
        features = self._features(X, *place)
        steps = [m.predict(features, num_threads=self.threads) for m in self._models]
        ahead = np.array(steps, dtype=np.float32).reshape(len(steps), X.shape[2], len(X))
        return ahead.transpose(2, 0, 1) + X[:, -1:]

    def predict(self, part):
        ahead, done = [], 0
        for X, _ in self.windows(part):
            ahead.append(self._forecast(X, part, done))
            done += len(X)
        return np.concatenate(ahead)


def make(name, threads):
    """A system of this module."""
    return Boosting(name, threads)
