"""Disentanglement, completeness, informativeness: which latents a forest uses for which factor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skdive.metrics.association import (
    Latents,
    balanced_accuracy,
    check_factors,
    folds,
    forest,
    read_latents,
)


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, each from 0 to 1."""

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    Z: Any, marginals: Any, *, blocks: Any = None, missing_label: Any = -1, random_state: Any = 0
) -> DCI:
    """Disentanglement, completeness and informativeness, from the columns that a forest uses.

    For each factor, a forest learns to tell the class from all columns; the importance of a block
    is the sum over its columns. *Disentanglement* is 1 less the entropy of a latent's importances
    over the factors, the mean over the latents weighted by importance: does each latent serve one
    factor? *Completeness* is 1 less the entropy of a factor's importances over the latents, the
    mean over the factors: is each factor served by one latent? *Informativeness* is the balanced
    accuracy on held-out rows, the mean over the factors.

    Parameters
    ----------
    Z, marginals, blocks, missing_label, random_state : as in `mutual_information`
        Latents, labels, columns that are taken together, the unknown label and the seed.

    Returns
    -------
    scores : DCI
        A named tuple of three floats from 0 to 1.

    Raises
    ------
    ValueError, TypeError
        As `mutual_information`; and if there are fewer than two factors, or two columns or blocks.

    Notes
    -----
    The authors measure informativeness by the error of a regression, disentanglement_lib by
    accuracy. Importances are the decrease of impurity in extremely randomised trees (50, over five
    folds; 10 rows in a leaf at least; all columns are candidates), not those of boosted trees as in
    disentanglement_lib: compare values of one implementation only. The importances of each factor
    sum to 1, also of one that cannot be told from the latents.

    References
    ----------
    Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import dci
    >>> labels = np.random.default_rng(0).integers(4, size=(1000, 2))
    >>> scores = dci(labels, labels)
    >>> round(scores.disentanglement, 2), round(scores.completeness, 2)
    (1.0, 1.0)
    >>> scores.informativeness
    1.0
    """
    latents = read_latents(Z, marginals, blocks, missing_label)
    check_factors(latents)
    importance, accuracy = importances(latents, latents.codes, None, random_state)
    disentanglement, completeness = dci_of(importance)
    return DCI(disentanglement, float(completeness.mean()), float(accuracy.mean()))


def importances(
    latents: Latents, codes: np.ndarray, weights: np.ndarray | None, random_state: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Importances (B, F) of blocks for factors, and balanced accuracy of each factor."""
    weights = np.ones(len(codes)) if weights is None else weights
    found = np.zeros((len(latents.blocks), codes.shape[1]))
    accuracy = np.zeros(codes.shape[1])
    groups = list(latents.blocks.values())
    used = np.concatenate(groups)
    starts = np.cumsum([0, *map(len, groups[:-1])])
    for f, code in enumerate(codes.T):
        rows = np.flatnonzero(code >= 0)
        X, y, w = latents.Z[rows][:, used], code[rows], weights[rows]
        prior = np.bincount(y, w) / w.sum()
        hit = np.zeros(len(y), dtype=bool)
        for train, test in folds(y):
            drawn = train[w[train] > 0]
            if not len(drawn):
                continue  # a resample whose labels are all held out tells nothing
            trees = forest(random_state, 10).fit(X[drawn], y[drawn], w[drawn])
            found[:, f] += np.add.reduceat(trees.feature_importances_, starts)
            odds = trees.predict_proba(X[test]) / prior[trees.classes_]
            hit[test] = trees.classes_[odds.argmax(axis=1)] == y[test]
        accuracy[f] = balanced_accuracy(y, hit, w)
    return found, accuracy


def dci_of(importance: np.ndarray) -> tuple[float, np.ndarray]:
    """Disentanglement, and completeness of each factor."""
    # a factor that no split tells is served by all latents alike
    share = importance + (importance.sum(axis=0) == 0)
    share = share / share.sum(axis=0)
    weight = share.sum(axis=1) / share.sum()
    by_latent = share / np.where(weight > 0, share.sum(axis=1), 1)[:, None]
    disentanglement = weight @ (1 - _relative_entropy(by_latent))
    return float(disentanglement), 1 - _relative_entropy(share.T)


def _relative_entropy(p: np.ndarray) -> np.ndarray:
    """Entropy along the last axis, as a share of the largest possible."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1) / np.log(p.shape[-1])
