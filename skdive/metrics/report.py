"""Scores of a latent space with their intervals, beside those of labels without meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_consistent_length

from skdive.metrics.association import Latents, associate, read_latents
from skdive.metrics.dependence import total_correlation_of
from skdive.metrics.importance import dci_of, importances
from skdive.metrics.latents import mig_of, modularity_of, sap_of
from skdive.windows import check_int

METRICS = ["mig", "sap", "modularity", "dci", "total_correlation"]


def latent_report(
    Z: Any,
    marginals: Any,
    *,
    blocks: Any = None,
    metrics: Iterable[str] = ("mig", "sap", "modularity", "total_correlation"),
    n_permutations: int = 10,
    n_bootstraps: int = 100,
    confidence: float = 0.95,
    groups: Any = None,
    missing_label: Any = -1,
    random_state: Any = 0,
) -> pd.DataFrame:
    """Report scores of a latent space, their intervals, and what labels without meaning score.

    Parameters
    ----------
    Z : array-like or DataFrame of shape (n, d)
        Latents, such as those of `transform`; in order of time where they are of windows.
    marginals : array-like or DataFrame of shape (n,) or (n, n_factors)
        Labels. Each factor is scored on the rows whose label of it is known.
    blocks : dict or list of lists of columns, default=None
        As in `mutual_information`.
    metrics : iterable of {"mig", "sap", "modularity", "dci", "total_correlation"}
        Scores to report; by default all but "dci", which fits its forests again for each bootstrap.
        What compares factors is left out where there is one only.
    n_permutations : int, default=10
        Times that the rows of the labels are shuffled and everything is computed again; for blocks
        and "dci" that means to fit all classifiers.
    n_bootstraps : int, default=100
        Resamples of the rows. Classifiers of blocks are not fitted again; their held-out answers
        are resampled.
    confidence : float, default=0.95
        Probability of the interval.
    groups : array-like of shape (n,), default=None
        Rows that are resampled together, such as those of one day or one recording. None resamples
        single rows, which makes the intervals of overlapping windows far too narrow. Classifiers do
        not know them.
    missing_label : int, str, float or None, default=-1
        The label that means unknown, besides None and NaN.
    random_state : int, RandomState or None, default=0
        Seed of classifiers, permutations and bootstrap.

    Returns
    -------
    report : DataFrame
        A row for each score and factor, "" for all factors together, and the columns

        - "score": as the function of this name returns it,
        - "low", "high": its bootstrap interval; NaN without bootstraps, or if a resample has no
          finite score, as the total correlation of few different rows,
        - "chance": mean score of shuffled labels, NaN without permutations and for the total
          correlation, which knows no labels.

    Raises
    ------
    ValueError, TypeError
        If latents, labels, blocks or groups do not match, or a parameter is not as described; or if
        all labels of a factor are of one group, so that there is nothing to resample.

    Notes
    -----
    Resampled rows repeat, which raises estimates of information; the percentile interval is moved
    by this bias, the mean of the resamples less the score, and may reach below 0.

    Shuffling breaks the order of time as well: slow latents and slow labels that have nothing to do
    with each other score above "chance".

    References
    ----------
    Efron and Tibshirani, "An introduction to the bootstrap", 1993, Sections 10 and 13.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import latent_report
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(4, size=(500, 2))
    >>> report = latent_report(labels + rng.normal(size=(500, 2)), labels, metrics=["mig"])
    >>> report.round(2)
                    score   low  high  chance
    metric factor
    mig              0.30  0.26  0.33    0.01
           factor0   0.29  0.25  0.34    0.01
           factor1   0.30  0.24  0.35    0.01
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        raise ValueError(f"metrics must be among {METRICS}, got {unknown or metrics}.")
    check_int("n_permutations", n_permutations, minimum=0)
    check_int("n_bootstraps", n_bootstraps, minimum=0)
    if not isinstance(confidence, int | float | np.floating) or not 0 < confidence < 1:
        raise ValueError(f"confidence must be a number between 0 and 1, got {confidence!r}.")
    latents = read_latents(Z, marginals, blocks, missing_label)
    rng = check_random_state(random_state)
    scores = _Scores(latents, latents.codes, metrics, random_state)
    report = pd.DataFrame({"score": scores()})

    resamples: list = []
    if n_bootstraps:
        member = _members(groups, latents)
        resamples = [scores(_resample(latents, member, rng)) for _ in range(n_bootstraps)]
    drawn = pd.DataFrame(resamples, columns=report.index, dtype=float)
    drawn.loc[:, ~np.isfinite(drawn).all()] = np.nan
    for name, tail in [("low", (1 - confidence) / 2), ("high", (1 + confidence) / 2)]:
        report[name] = drawn.quantile(tail) - drawn.mean() + report["score"]

    labelled = [metric for metric in metrics if metric != "total_correlation"]
    shuffled = [
        _Scores(latents, rng.permutation(latents.codes), labelled, random_state)()
        for _ in range(n_permutations)
    ]
    report["chance"] = pd.DataFrame(shuffled, columns=report.index).mean()
    report.index.names = ["metric", "factor"]
    return report


def _members(groups: Any, latents: Latents) -> np.ndarray:
    """The number of each row's group: of its own, where there are no groups."""
    member = np.arange(len(latents.Z))
    if groups is not None:
        groups = column_or_1d(groups)
        check_consistent_length(latents.Z, groups)
        if pd.isna(groups).any():
            raise ValueError("groups holds missing values; give every row a group.")
        member = np.unique(groups, return_inverse=True)[1]
    for name, code in zip(latents.factors, latents.codes.T, strict=True):
        if len(np.unique(member[code >= 0])) < 2:
            raise ValueError(
                f"factor {name!r} has labels in only one of the {member.max() + 1} groups or rows "
                "to resample; label more, or pass n_bootstraps=0."
            )
    return member


def _resample(latents: Latents, member: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Weights of the rows in a resample of groups that has labels of each factor."""
    n_groups = member.max() + 1
    while True:
        counts = np.bincount(rng.randint(n_groups, size=n_groups), minlength=n_groups)
        if (counts[member] @ (latents.codes >= 0)).all():
            return counts[member]


class _Scores:
    """The scores of one assignment of labels to rows, for any weights of the rows."""

    def __init__(self, latents: Latents, codes: np.ndarray, metrics: Sequence[str], seed: Any):
        self.latents, self.codes, self.metrics, self.seed = latents, codes, metrics, seed
        if {"mig", "sap", "modularity"} & set(metrics):
            self.associate = associate(latents, codes, seed)

    def __call__(self, weights: np.ndarray | None = None) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        several = len(self.latents.factors) > 1
        if hasattr(self, "associate"):
            association = self.associate(weights)
        for metric in self.metrics:
            if metric == "mig":
                found |= self._of_factors(metric, mig_of(association))
            elif metric == "sap":
                found |= self._of_factors(metric, sap_of(association))
            elif metric == "modularity" and several:
                found[metric, ""] = modularity_of(association)
            elif metric == "dci" and several:
                importance, accuracy = importances(self.latents, self.codes, weights, self.seed)
                found["disentanglement", ""], completeness = dci_of(importance)
                found |= self._of_factors("completeness", completeness)
                found |= self._of_factors("informativeness", accuracy)
            elif metric == "total_correlation":
                groups = list(self.latents.blocks.values())
                found[metric, ""] = total_correlation_of(self.latents.Z, groups, weights)
        return found

    def _of_factors(self, metric: str, scores: np.ndarray) -> dict[tuple[str, str], float]:
        each = {(metric, name): s for name, s in zip(self.latents.factors, scores, strict=True)}
        return {(metric, ""): scores.mean(), **(each if len(each) > 1 else {})}
