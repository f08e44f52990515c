import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from skdive import DeepDIVEForecaster, sliding_windows

# 1. A table: time stamps in the first column, then one column of numbers per channel.
series = pd.read_csv("load.csv", index_col=0, parse_dates=True)

# 2. Windows. All lengths are in time steps; these suit hourly data.
lookback, horizon, season = 168, 24, 24
factors = ["hour", "dayofweek"]  # daily data: ["dayofweek", "month"]
w = sliding_windows(series, lookback, horizon, marginals=factors)
train, test = w.split_fractions(0.8, 0.2)  # the newest fifth, sharing no time step with the rest

# 3. Fit and forecast.
model = DeepDIVEForecaster(random_state=0)
model.fit(train.X, train.y, marginals=train.marginals)
forecast = model.predict(test.X)  # (window, horizon * channel)

# 4. Score it against the seasonal naive forecast, which repeats the last day.
n_channels = series.shape[1]
last_day = np.asarray(test.X)[:, -season:]  # (window, season, channel)
naive = last_day[:, np.arange(horizon) % season].reshape(len(test), -1)


def mae(y_pred):
    errors = np.abs(y_pred - np.asarray(test.y))
    return errors.reshape(-1, n_channels).mean(axis=0, dtype=float)


scores = pd.DataFrame({"DeepDIVE": mae(forecast), "naive": mae(naive)}, index=series.columns)
scores["ratio"] = scores["DeepDIVE"] / scores["naive"]  # below 1 is better than naive
print(scores.round(3))

# 5. Forecast what follows the last row of the table.
newest = series.to_numpy(np.float32)[None, -lookback:]  # one window: (1, lookback, channel)
coming = model.predict(newest).astype(float).reshape(horizon, n_channels)
step = series.index[-1] - series.index[-2]
stamps = series.index[-1] + step * np.arange(1, horizon + 1)
print(pd.DataFrame(coming, stamps, series.columns).round(1).head(3))

# 6. Look at the embedding: what the model says of the first factor, and of all the rest.
Z = model.transform(test.X)
block = Z[:, : model.marginal_dim]
rest = Z[:, -model.conditional_dim :]
labels = test.marginals[factors[0]]

figure, (left, right) = plt.subplots(ncols=2, figsize=(10, 4.5), layout="constrained")
plane = PCA(2).fit(block)
left.scatter(*plane.transform(block).T, c=labels, s=4, cmap="twilight")
white = dict(boxstyle="round,pad=0.15", fc="white", ec="none", alpha=0.8)
for name, prototype in zip(
    model.classes_[0], plane.transform(model.prototypes_[factors[0]]), strict=True
):
    left.annotate(str(name), prototype, ha="center", va="center", bbox=white)
left.set(title=f"Latents of the {factors[0]}, and its prototypes")
points = right.scatter(*PCA(2).fit_transform(rest).T, c=labels, s=4, cmap="twilight")
right.set(title="Conditional latents: the rest")
figure.colorbar(points, label=factors[0])
plt.show()
