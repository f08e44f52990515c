"""Disentangled forecasts and embeddings of time series, as scikit-learn estimators."""

from skdive.sliding import WindowSet, sliding_windows
from skdive.windows import Windows

__all__ = ["WindowSet", "Windows", "sliding_windows"]
