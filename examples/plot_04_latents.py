"""
Look into the latents
=====================

What do the latents hold, and what would the forecast be if it were Sunday? The blocks of the
marginal latents of held-out windows of load, with the prototypes of their classes; and the forecast
when the weekday is set to another prototype.

What the model does *not* do well here: the prototypes of months that look alike lie close together,
and "what if it were Sunday" moves the block of the weekday only. The window itself still ends on a
working day, so the change is smaller than that between real Sundays and working days.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_pjm

load = load_pjm().frame.loc["2014":"2016", ["AEP", "COMED", "DOM"]]
w = sliding_windows(load, 168, 24, stride=5, marginals=["hour", "dayofweek", "month"])
train, test = w.split_at("2016-07-01")
model = DeepDIVEForecaster(max_epochs=30, random_state=0)
model.fit(train.X, train.y, marginals=train.marginals)

# %%
# Each block in its two main directions.
Z = model.transform(test.X)
names = model.get_feature_names_out()
white = dict(boxstyle="round,pad=0.15", fc="white", ec="none", alpha=0.8)
fig, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for ax, factor, classes in zip(axes, model.factor_names_, model.classes_, strict=True):
    block = Z[:, [name.startswith(f"marginal_{factor}_") for name in names]]
    pca = PCA(2).fit(model.prototypes_[factor])
    ax.scatter(*pca.transform(block).T, c=test.marginals[factor], cmap="twilight", s=2)
    for label, point in zip(classes, pca.transform(model.prototypes_[factor]), strict=True):
        ax.annotate(str(label), point, ha="center", va="center", bbox=white)
    accuracy = np.mean(
        model.predict_marginals(test.X)[:, model.factor_names_.index(factor)]
        == test.marginals[factor]
    )
    ax.set(title=f"{factor}: told right for {accuracy:.0%}", xticks=[], yticks=[])

# %%
# What if it were Sunday? Forecasts of the rest of the day, made on Wednesdays at 1 h, with the
# weekday set to Wednesday, Friday and Sunday; other factors stay inferred (-1).
early = (test.origins.day_of_week == 2) & (test.origins.hour == 1)
X = test.X[np.asarray(early)]


def forecast(weekday):
    """Mean forecast of the first zone when the weekday is set, in GW."""
    labels = np.tile([-1, weekday, -1], (len(X), 1))
    return model.predict(X, marginals=labels).reshape(len(X), 24, 3)[..., 0].mean(0) / 1000


fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for weekday, name in ((2, "Wednesday, as it is"), (4, "Friday"), (6, "Sunday")):
    ax.plot(np.arange(1, 25), forecast(weekday), label=name)
change = forecast(6) - forecast(2)
print(f"Sunday instead of Wednesday: {change.mean():+.2f} GW on average, ", end="")
print(f"{change[np.abs(change).argmax()]:+.2f} GW at most")
ax.set(xlabel="hours ahead", ylabel="AEP zone, GW", title="The weekday set to another prototype")
ax.legend()
plt.show()
