"""
Forecast the load of seven zones
================================

How well does DeepDIVE forecast the next day of electric load from the last week, compared with
what people try first? Hourly load of seven zones of PJM, 168 h to 24 h; trained before 2017,
validated on January to July 2017, tested from August 2017 to August 2018. Errors are mean absolute
errors in standard deviations of each zone's training data.

What the model does *not* do well here: it knows neither the weather nor holidays, and the month is
told from the window only about half of the time, since April looks like October.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_pjm

pictures = Path("skdive_demo")
pictures.mkdir(exist_ok=True)

# %%
# Windows, and what is known about them: the hour, weekday and month at the forecast origin.
load = load_pjm().frame
w = sliding_windows(load, lookback=168, horizon=24, marginals=["hour", "dayofweek", "month"])
train, valid, test = w.split_at("2017-01-01", "2017-08-01")
print(f"windows: {len(train)} to train, {len(valid)} to validate, {len(test)} to test; {w.X}")

std = load[:"2016-12-31 23:00"].std(ddof=0).to_numpy(float)
units = np.tile(std, 24)


def mae(part, forecast):
    """Mean absolute error in standard deviations of each zone."""
    return np.mean(np.abs(forecast - np.asarray(part.y)) / units)


results = {}

# %%
# What people try first: the same hour of yesterday or of a week ago, and two ridge regressions,
# one for every zone alone with shared weights, one for all zones at once. Their penalty is the best
# on the validation windows.
for period in (24, 168):
    past = np.asarray(test.X)[:, 168 - period :][:, :24]
    results[f"seasonal naive ({period} h)"] = mae(test, past.reshape(len(test), -1))


def ridge(name, rows):
    """Ridge regression on rows of standardised windows; rows(a) takes an array (n, time, zone)."""
    x, y = rows(np.asarray(train.X) / std), rows(np.asarray(train.y).reshape(-1, 24, 7) / std)
    models = [Ridge(alpha, solver="cholesky").fit(x, y) for alpha in (1, 10, 100, 1000)]

    def error(model, part):
        truth = rows(np.asarray(part.y).reshape(-1, 24, 7) / std)
        return np.mean(np.abs(model.predict(rows(np.asarray(part.X) / std)) - truth))

    results[name] = error(min(models, key=lambda model: error(model, valid)), test)


ridge("ridge, each zone", lambda a: a.swapaxes(1, 2).reshape(-1, a.shape[1]))
ridge("ridge, all zones", lambda a: a.reshape(len(a), -1))

# %%
# DeepDIVE infers hour, weekday and month from the window; as the calendar is known in advance, it
# can also be told.
start = time.perf_counter()
model = DeepDIVEForecaster(max_epochs=10, random_state=0, verbose=1)
held_out = {"X_val": valid.X, "y_val": valid.y, "marginals_val": valid.marginals}
model.fit(train.X, train.y, marginals=train.marginals, **held_out)
print(f"fitted in {time.perf_counter() - start:.0f} s")
results["DeepDIVE"] = mae(test, model.predict(test.X))
results["DeepDIVE, told the calendar"] = mae(test, model.predict(test.X, marginals=test.marginals))

best_ridge = min(error for name, error in results.items() if name.startswith("ridge"))
print(f"\n{'test MAE, 168 h -> 24 h':30}{'MAE':>8}{'/ best ridge':>14}")
for name, error in results.items():
    print(f"{name:30}{error:8.4f}{error / best_ridge:14.3f}")

# %%
# What the marginal latents know of held-out windows.
labels = model.predict_marginals(test.X)
for f, name in enumerate(model.factor_names_):
    accuracy = balanced_accuracy_score(test.marginals[name], labels[:, f])
    print(f"balanced accuracy of the {name}: {accuracy:.3f}")

# %%
# A week of forecasts, each made at midnight for the day ahead.
midnights = np.flatnonzero(test.origins.hour == 0)[170:177]
fig, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
forecast = model.predict(test.X[midnights]).reshape(-1, 24, 7)[..., 0].ravel()
hours = np.concatenate([test.origins[m] + np.arange(1, 25) * w.index.freq for m in midnights])
ax.plot(hours, load["AEP"].loc[hours] / 1000, color="0.6", lw=4, label="load")
ax.plot(hours, forecast / 1000, color="C3", label="forecast of the day ahead")
ax.set(ylabel="AEP zone, GW", title="A week of test data")
ax.legend()
fig.savefig(pictures / "forecast.png", dpi=120)

# %%
# The embedding: the block of the hour, in its first two principal directions, with its prototypes.
names = model.get_feature_names_out()
is_hour = [name.startswith("marginal_hour") for name in names]
block = model.transform(test.X)[:, is_hour]
prototypes = model.prototypes_["hour"]
axes = np.linalg.svd(prototypes - prototypes.mean(0))[2][:2].T
fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
dots = ax.scatter(*(block @ axes).T, c=test.marginals["hour"], cmap="twilight", s=3)
white = dict(boxstyle="round,pad=0.15", fc="white", ec="none", alpha=0.8)
for hour, point in zip(model.classes_[0], prototypes @ axes, strict=True):
    ax.annotate(str(hour), point, ha="center", va="center", bbox=white)
fig.colorbar(dots, label="hour at the forecast origin")
ax.set(title="Latent block of the hour, and its prototypes", xticks=[], yticks=[])
fig.savefig(pictures / "embedding.png", dpi=120)
print(f"pictures: {pictures.resolve()}")
