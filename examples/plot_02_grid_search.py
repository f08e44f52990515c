"""
Grid search without a leak
==========================

How is a forecaster tuned with scikit-learn's own tools, without test windows that overlap the
training windows, and without a copy of the data for every fold? A `Pipeline` in a `GridSearchCV`
over a `TimeSeriesSplit` whose gap is the `embargo` of the windows, on one year of two zones of PJM
(a window every five hours, so that every hour of the day is an origin in turn).

What the model does *not* do well here: a few months are little for a network, so that the choice
between settings is noisy; look at the spread over the folds before you believe the ranking.
"""

import numpy as np
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import Pipeline

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_pjm

load = load_pjm().frame.loc["2016", ["AEP", "DUQ"]]
w = sliding_windows(load, lookback=72, horizon=24, stride=5, marginals=["hour"])
train, test = w.split_at("2016-11-01")

# %%
# Windows are lazy: what they would take, and what they do take.
print(
    f"{train.X}: {train.X.nbytes / 1e6:.0f} MB if materialised, {load.size * 4 / 1e6:.2f} MB held"
)

# %%
# The embargo keeps every time step of a test fold, lookback included, out of training.
folds = TimeSeriesSplit(n_splits=3, gap=w.embargo, test_size=200)
pipeline = Pipeline([("forecast", DeepDIVEForecaster(max_epochs=10, random_state=0))])
search = GridSearchCV(
    pipeline,
    {"forecast__conditional_dim": [8, 32], "forecast__beta": [0.1, 1.0]},
    cv=folds,
    scoring="neg_mean_absolute_error",
    n_jobs=2,
)
search.fit(train.X, train.y, forecast__marginals=train.marginals)

# %%
print("conditional_dim  beta   MAE in MW, mean and standard deviation over the folds")
results = search.cv_results_
for i in np.argsort(results["rank_test_score"]):
    params = results["params"][i]
    print(
        f"{params['forecast__conditional_dim']:15d}  {params['forecast__beta']:4.1f}"
        f"   {-results['mean_test_score'][i]:.1f} +- {results['std_test_score'][i]:.1f}"
    )
naive = np.asarray(test.X)[:, -24:].reshape(len(test), -1)
print(f"November and December: best model {-search.score(test.X, test.y):.1f} MW,", end=" ")
print(f"yesterday repeated {np.mean(np.abs(naive - np.asarray(test.y))):.1f} MW")
