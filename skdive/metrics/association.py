"""How much blocks of latents tell about factors: what all scores of latent spaces start from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_array

from skdive.factors import FactorCodec

N_BINS = 20  # of equal width, as in Locatello et al. 2019
N_FOLDS = 5


class Association(NamedTuple):
    """What B blocks tell about F factors."""

    information: np.ndarray  # mutual information in nats, (B, F)
    entropy: np.ndarray  # of the factors in nats, (F,)
    accuracy: np.ndarray  # balanced accuracy of telling the class, (B, F)


class Latents(NamedTuple):
    """Latents and labels, checked."""

    Z: np.ndarray  # (n, d)
    codes: np.ndarray  # (n, F), -1 where the label is unknown
    blocks: dict[str, list[int]]  # columns of each block
    factors: tuple[str, ...]
    single: bool  # whether the blocks are the columns


def check_latents(Z: Any, blocks: Any) -> tuple[np.ndarray, dict[str, list[int]]]:
    """Check latents, and find the columns of each block; None makes each column a block."""
    names = [str(name) for name in getattr(Z, "columns", [])]
    Z = check_array(Z, dtype=np.float64, input_name="Z", ensure_min_samples=2)
    names = names or [f"latent{i}" for i in range(Z.shape[1])]
    if blocks is None:
        return Z, {name: [i] for i, name in enumerate(names)}
    if not isinstance(blocks, Mapping):
        blocks = {f"block{i}": columns for i, columns in enumerate(blocks)}
    if len({str(block) for block in blocks}) < len(blocks):
        raise ValueError(f"blocks must have different names as text, got {list(blocks)}.")
    found = {}
    for block, columns in blocks.items():
        columns = np.atleast_1d(np.asarray(columns)).tolist()
        found[str(block)] = [names.index(c) if c in names else c for c in columns]
        wrong = [c for c in found[str(block)] if type(c) is not int or c not in range(Z.shape[1])]
        if wrong or not columns:
            raise ValueError(
                f"block {block!r} must list columns of Z, by position in 0 ... {Z.shape[1] - 1} or "
                f"by name if Z is a frame, got {wrong or 'none'}."
            )
    every = [c for columns in found.values() for c in columns]
    if len(set(every)) < len(every):
        twice = sorted({c for c in every if every.count(c) > 1})
        raise ValueError(f"blocks share columns of Z: {twice}. Each may be in one block only.")
    return Z, found


def read_latents(
    Z: Any, marginals: Any, blocks: Any, missing_label: Any, min_blocks: int = 2
) -> Latents:
    """Check latents, blocks and labels."""
    Z, found = check_latents(Z, blocks)
    if len(found) < min_blocks:
        raise ValueError(
            f"the score compares blocks of latents, or columns where blocks=None, and needs at "
            f"least {min_blocks}, got {len(found)}."
        )
    codec = FactorCodec()
    codes = codec.fit_transform(marginals, len(Z), missing_label)
    return Latents(Z, codes, found, codec.names_, blocks is None)


def check_factors(latents: Latents) -> None:
    """Check that there are factors to compare."""
    if len(latents.factors) < 2:
        raise ValueError(
            "the score compares factors and needs at least 2, got 1; see mig and sap for one."
        )


def associate(latents: Latents, codes: np.ndarray, random_state: Any) -> Binned | HeldOut:
    """Measure by bins what single columns tell, and by classifiers what blocks of them do."""
    if latents.single:
        return Binned(latents.Z, codes)
    return HeldOut(latents.Z, codes, list(latents.blocks.values()), random_state)


class Binned:
    """What single columns tell, from histograms of equally wide bins.

    There are 20 bins, or as many as the factor has classes if those are more. The class is told as
    the one that is most over-represented in the bin: thresholds that are fitted and scored on the
    same rows.
    """

    def __init__(self, Z: np.ndarray, codes: np.ndarray):
        low, span = Z.min(axis=0), np.ptp(Z, axis=0)
        unit = (Z - low) / np.where(span > 0, span, 1)  # (n, d)
        self.shapes, self.cells, self.known = [], [], []
        for code in codes.T:
            known = code >= 0
            n_classes = code.max() + 1
            n_bins = max(N_BINS, n_classes)
            bins = np.minimum((unit[known] * n_bins).astype(np.int64), n_bins - 1)
            bins += n_bins * np.arange(Z.shape[1])
            self.shapes.append((Z.shape[1], n_bins, n_classes))
            self.cells.append(bins * n_classes + code[known, None])
            self.known.append(known)

    def __call__(self, weights: np.ndarray | None = None) -> Association:
        """Associate, with each row counted as often as its weight says."""
        found = []
        for shape, cells, known in zip(self.shapes, self.cells, self.known, strict=True):
            weight = None if weights is None else np.repeat(weights[known], shape[0])
            counts = np.bincount(cells.ravel(), weight, minlength=int(np.prod(shape)))
            joint = counts.reshape(shape) / counts.sum() * shape[0]  # (d, bins, classes)
            prior = joint[0].sum(axis=0)
            entropy = _entropy(prior)
            bins = _entropy(joint.sum(axis=2))
            information = entropy + bins - _entropy(joint.reshape(shape[0], -1))
            seen = prior > 0
            given = joint[:, :, seen] / prior[seen]  # p(bin | class)
            found.append((information, entropy, given.max(axis=2).sum(axis=1) / seen.sum()))
        return _of_factors(found)


class HeldOut:
    """What blocks tell, from the log-loss of classifiers on rows that they were not fitted to.

    The entropy of a factor less the log-loss of any classifier bounds the mutual information from
    below. The larger of two bounds is taken: a logistic regression reads what is spread over many
    columns, a forest what is not linear.
    """

    def __init__(
        self, Z: np.ndarray, codes: np.ndarray, blocks: list[list[int]], random_state: Any
    ):
        self.codes = codes
        shape = len(Z), len(blocks), codes.shape[1]
        self.log_p, self.hits = np.zeros(shape), np.zeros(shape, dtype=bool)
        for f, code in enumerate(codes.T):
            rows = np.flatnonzero(code >= 0)
            y = code[rows]
            prior = np.bincount(y) / len(y)
            for b, columns in enumerate(blocks):
                X = Z[rows][:, columns]
                bounds = [told(c, X, y, prior) for c in _classifiers(random_state)]
                log_p = [np.log(p[np.arange(len(y)), y]) for p in bounds]
                best = int(np.argmax(np.sum(log_p, axis=1)))
                self.log_p[rows, b, f] = log_p[best]
                self.hits[rows, b, f] = (bounds[best] / prior).argmax(axis=1) == y

    def __call__(self, weights: np.ndarray | None = None) -> Association:
        """Associate, with each row counted as often as its weight says; nothing is fitted again."""
        if weights is None:
            weights = np.ones(len(self.codes))
        found = []
        for f, code in enumerate(self.codes.T):
            known = code >= 0
            y, w = code[known], weights[known]
            entropy = _entropy(np.bincount(y, w) / w.sum())
            information = entropy + w @ self.log_p[known, :, f] / w.sum()
            accuracy = [balanced_accuracy(y, hit, w) for hit in self.hits[known, :, f].T]
            found.append((information, entropy, np.array(accuracy)))
        return _of_factors(found)


def folds(y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Split rows into those to learn from and those held out.

    Each fold is a contiguous part of the rows of each class, in their order: neighbours, such as
    overlapping windows, are mostly on the same side.
    """
    counts = np.bincount(y)
    if (counts > 1).sum() < 2:
        raise ValueError(
            "a classifier needs two classes with at least 2 labelled rows each, to learn from some "
            f"and be scored on others; the classes have {counts.tolist()[:20]}."
        )
    order = np.argsort(y, kind="stable")
    rank = np.empty(len(y), dtype=np.int64)
    rank[order] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    fold = rank * N_FOLDS // counts[y]
    for k in range(N_FOLDS):
        if (fold == k).any():
            yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def forest(random_state: Any, n_estimators: int) -> ExtraTreesClassifier:
    """Trees that may split by every column, so that columns of noise are left out."""
    return ExtraTreesClassifier(
        n_estimators, min_samples_leaf=10, max_features=None, random_state=random_state
    )


def balanced_accuracy(y: np.ndarray, hit: np.ndarray, weight: np.ndarray) -> float:
    """Mean over the classes of the share of rows whose class is told."""
    rows = np.bincount(y, weight)
    hits = np.bincount(y, weight * hit)
    return float((hits[rows > 0] / rows[rows > 0]).mean())


def told(classifier: Any, X: np.ndarray, y: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Probabilities of the classes of rows that were held out, mixed with 1 % of the prior."""
    p = np.zeros((len(y), len(prior)))
    for train, test in folds(y):
        with warnings.catch_warnings():  # what has not converged is a bound as well
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(X[train], y[train])
        p[np.ix_(test, classifier.classes_)] = classifier.predict_proba(X[test])
    return 0.99 * p + 0.01 * prior


def _of_factors(found: list) -> Association:
    """Put together what was found for each factor."""
    information, entropy, accuracy = (np.stack(part, axis=-1) for part in zip(*found, strict=True))
    information = np.where(information > 1e-12, information, 0)  # less is rounding
    return Association(information, entropy, accuracy)


def _classifiers(random_state: Any) -> list:
    logistic = LogisticRegression(max_iter=200)
    return [make_pipeline(StandardScaler(), logistic), forest(random_state, 50)]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy in nats, along the last axis."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)
