"""
Classify activities from an embedding
=====================================

Does the embedding help a simple classifier? Windows of two seconds of a smartphone's accelerometer
and gyroscope (MotionSense), four activities, 24 people: `DeepDIVEEncoder` in a Pipeline with
LogisticRegression against the same classifier on the raw windows and on their principal components,
always tested on people that it has not seen (GroupKFold). A stride may begin anywhere in a window;
amplitude spectra do not depend on where, and are the better view for every encoder.

What the model does *not* do well here: it tells stairs up from stairs down less surely than it
tells jogging from walking, and on strangers it is less sure than on people whom it has seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skdive import DeepDIVEEncoder, sliding_windows
from skdive.datasets import load_motionsense

# %%
# Windows of 100 samples at 50 Hz; their labels come from the columns of the frame.
motion = load_motionsense(as_frame=True)
w = sliding_windows(motion.frame, 100, 1, stride=100, marginals=["activity", "subject"])
X = np.asarray(w.X).reshape(len(w), -1)  # time-major rows, for the pipelines that need an array
activity, subject = w.marginals["activity"], w.marginals["subject"]
print(f"{len(w)} windows of {w.X.length} samples of {w.X.n_channels} channels")


# %%
def spectra(X):
    """Amplitudes of the frequencies of each channel, in the layout of X."""
    windows = X.reshape(len(X), -1, 6)
    return np.abs(np.fft.rfft(windows, axis=1)).reshape(len(X), -1)


views = {"raw windows": FunctionTransformer(), "spectra": FunctionTransformer(spectra)}
encoders = {
    "none": FunctionTransformer(),
    "PCA": make_pipeline(StandardScaler(), PCA(40)),
    "DeepDIVE": DeepDIVEEncoder(n_channels=6, random_state=0),
}
models = {
    (view, encoder): make_pipeline(
        views[view], encoders[encoder], StandardScaler(), LogisticRegression(max_iter=1000)
    )
    for view in views
    for encoder in encoders
}
folds = GroupKFold(n_splits=4)
guesses = {}
for (view, encoder), model in models.items():
    guess = cross_val_predict(model, X, activity, groups=subject, cv=folds, n_jobs=2)
    score = balanced_accuracy_score(activity, guess)
    print(f"{view:12} {encoder:9} balanced accuracy {score:.3f}")
    guesses[view, encoder] = guess

# %%
# Where it goes wrong on strangers.
fig, ax = plt.subplots(figsize=(5, 4.5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    activity,
    guesses["spectra", "DeepDIVE"],
    normalize="true",
    values_format=".2f",
    cmap="Blues",
    colorbar=False,
    ax=ax,
)
ax.set_title("Activities of unseen people")
plt.show()
