"""Disentangled forecasts and embeddings of time series, as scikit-learn estimators."""

from importlib.metadata import version

from skdive.baselines import BetaTCVAEForecaster, VAEForecaster
from skdive.encoder import DeepDIVEEncoder
from skdive.forecaster import DeepDIVEForecaster
from skdive.interleaving import Interleaving
from skdive.sliding import WindowSet, sliding_windows
from skdive.windows import Windows

__all__ = [
    "BetaTCVAEForecaster",
    "DeepDIVEEncoder",
    "DeepDIVEForecaster",
    "Interleaving",
    "VAEForecaster",
    "WindowSet",
    "Windows",
    "sliding_windows",
]
__version__ = version("skdive")
