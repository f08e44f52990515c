"""Scores of forecasts and of latent spaces, as functions and as scorers of scikit-learn."""

from skdive.metrics.dependence import total_correlation
from skdive.metrics.forecasts import (
    corr,
    corr_scorer,
    interval_coverage,
    mase,
    mean_quantile_loss,
    neg_rrse_scorer,
    rrse,
)
from skdive.metrics.importance import DCI, dci
from skdive.metrics.latents import latent_blocks, mig, modularity, mutual_information, sap
from skdive.metrics.report import latent_report

__all__ = [
    "DCI",
    "corr",
    "corr_scorer",
    "dci",
    "interval_coverage",
    "latent_blocks",
    "latent_report",
    "mase",
    "mean_quantile_loss",
    "mig",
    "modularity",
    "mutual_information",
    "neg_rrse_scorer",
    "rrse",
    "sap",
    "total_correlation",
]
