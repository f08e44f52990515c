"""What is compared: ways to encode windows, each with a classifier after it."""

from typing import NamedTuple

import numpy as np
from records import settings_of
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


class System(NamedTuple):
    """A way to encode windows and to classify them."""

    encoder: str  # what encodes them
    spectrum: bool = False  # whether it is given amplitude spectra instead of windows
    classifier: str = "logistic"
    learns_labels: bool = False  # whether the encoder is told the labels that are known
    seeded: bool = False  # whether the encoder depends on a seed


SYSTEMS = {
    "raw": System("raw"),
    "PCA": System("PCA"),
    "PCA-spectrum": System("PCA", spectrum=True),
    "catch22": System("catch22"),
    "MiniRocket": System("MiniRocket", seeded=True),
    "MiniRocket-ridge": System("MiniRocket", classifier="ridge", seeded=True),
    "DeepDIVE": System("DeepDIVE", learns_labels=True, seeded=True),
    "DeepDIVE-spectrum": System("DeepDIVE", spectrum=True, learns_labels=True, seeded=True),
}
COMPONENTS = 40  # of PCA: as many as DeepDIVEEncoder has with one factor


class ChannelScaler(TransformerMixin, BaseEstimator):
    """Standardise the channels of windows (n, steps, channels), over all windows and steps."""

    def fit(self, X, y=None):
        self.mean_ = X.mean(axis=(0, 1), dtype=np.float64)
        std = X.std(axis=(0, 1), dtype=np.float64)
        self.scale_ = np.where(std == 0, 1, std)
        return self

    def transform(self, X):
        return ((X - self.mean_) / self.scale_).astype(np.float32)


def flat(X):
    """Windows as rows."""
    return X.reshape(len(X), -1)


def spectra(X):
    """Amplitude spectra of the channels, (n, frequencies, channels); the mean keeps its sign."""
    waves = np.fft.rfft(X, axis=1) / X.shape[1]
    amplitudes = np.abs(waves)
    amplitudes[:, 0] = waves[:, 0].real
    return amplitudes.astype(np.float32)


def channels_first(X):
    """Windows as aeon wants them, (n, channels, steps)."""
    return np.ascontiguousarray(X.transpose(0, 2, 1))


def encoder_of(name, seed):
    """The transformer of a system, of windows (n, steps, channels) or their spectra."""
    match SYSTEMS[name].encoder:
        case "raw":
            return FunctionTransformer(flat)
        case "PCA":
            pca = PCA(COMPONENTS, svd_solver="covariance_eigh")
            return make_pipeline(FunctionTransformer(flat), StandardScaler(), pca)
        case "catch22":
            from aeon.transformations.collection.feature_based import Catch22

            features = Catch22(catch24=True, replace_nans=True)
            as_double = FunctionTransformer(np.asarray, kw_args={"dtype": np.float64})
            return make_pipeline(FunctionTransformer(channels_first), as_double, features)
        case "MiniRocket":
            from aeon.transformations.collection.convolution_based import MiniRocket

            features = MiniRocket(random_state=seed)
            return make_pipeline(ChannelScaler(), FunctionTransformer(channels_first), features)
        case "DeepDIVE":
            from skdive import DeepDIVEEncoder

            return DeepDIVEEncoder(random_state=seed)


def about(name):
    """What a run is recorded with: all parameters of DeepDIVEEncoder."""
    return settings_of(encoder_of(name, 0)) if SYSTEMS[name].encoder == "DeepDIVE" else {}


STRENGTHS = 10.0 ** np.arange(-6, 2)  # C of the logistic regression


def classifier_of(name):
    """What classifies the embedding of a system, and the settings to choose from.

    They are in order, the most regularised first, so that each fit begins where the last one ended.
    """
    if SYSTEMS[name].classifier == "ridge":  # chooses by itself, as its authors have it
        ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
        return make_pipeline(StandardScaler(with_mean=False), ridge), [{}]
    options = dict(class_weight="balanced", tol=1e-3, max_iter=1000, warm_start=True)
    logistic = LogisticRegression(**options)
    strengths = [{"logisticregression__C": C} for C in STRENGTHS.tolist()]
    return make_pipeline(StandardScaler(), logistic), strengths
