"""
Classify activities from an embedding
=====================================

Does the embedding help a simple classifier? Windows of two seconds of a smartphone's accelerometer
and gyroscope (MotionSense), four activities, 24 people: `DeepDIVEEncoder` in a Pipeline with
LogisticRegression against the same classifier on the raw windows and on their principal components,
always tested on people that it has not seen (GroupKFold).

What the model does *not* do well here: it tells stairs up from stairs down less surely than it
tells jogging from walking, and on strangers it is less sure than on people whom it has seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdive import DeepDIVEEncoder, sliding_windows
from skdive.datasets import load_motionsense

# %%
# Windows of 100 samples at 50 Hz; their labels come from the columns of the frame.
motion = load_motionsense(as_frame=True)
w = sliding_windows(motion.frame, 100, 1, stride=25, marginals=["activity", "subject"])
X = np.asarray(w.X).reshape(len(w), -1)  # time-major rows, for the pipelines that need an array
activity, subject = w.marginals["activity"], w.marginals["subject"]
print(f"{len(w)} windows of {w.X.length} samples of {w.X.n_channels} channels")

# %%
models = {
    "raw windows": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    "PCA": make_pipeline(StandardScaler(), PCA(40), LogisticRegression(max_iter=300)),
    "DeepDIVE": make_pipeline(
        DeepDIVEEncoder(n_channels=6, max_epochs=15, random_state=0),
        StandardScaler(),
        LogisticRegression(max_iter=300),
    ),
}
folds = GroupKFold(n_splits=4)
for name, model in models.items():
    scores = cross_val_score(
        model, X, activity, groups=subject, cv=folds, scoring="balanced_accuracy", n_jobs=2
    )
    print(f"{name:12} balanced accuracy {scores.mean():.3f}, by fold {np.round(scores, 3)}")

# %%
# Where it goes wrong on strangers.
guess = cross_val_predict(models["DeepDIVE"], X, activity, groups=subject, cv=folds, n_jobs=2)
fig, ax = plt.subplots(figsize=(5, 4.5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    activity, guess, normalize="true", values_format=".2f", cmap="Blues", colorbar=False, ax=ax
)
ax.set_title("Activities of unseen people")
plt.show()
