"""Scores of latent spaces: what which part of them tells about which factor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from skdive.metrics.association import Association, associate, check_factors, read_latents


def latent_blocks(names: Iterable[str]) -> dict[str, list[int]]:
    """Group the columns of an embedding that differ in their last number only.

    Parameters
    ----------
    names : iterable of str
        Names of columns, as `get_feature_names_out` of an estimator of skdive returns them.

    Returns
    -------
    blocks : dict of lists of int
        Positions of the columns of each block, to be passed as `blocks`.

    Examples
    --------
    >>> from skdive.metrics import latent_blocks
    >>> latent_blocks(["marginal_hour_0", "marginal_hour_1", "conditional_0", "conditional_1"])
    {'marginal_hour': [0, 1], 'conditional': [2, 3]}
    """
    blocks: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        block, _, number = str(name).rpartition("_")
        blocks.setdefault(block if block and number.isdecimal() else str(name), []).append(i)
    return blocks


def mutual_information(
    Z: Any, marginals: Any, *, blocks: Any = None, missing_label: Any = -1, random_state: Any = 0
) -> pd.DataFrame:
    """Mutual information of latents with factors, from which `mig` and `modularity` are made.

    Parameters
    ----------
    Z : array-like or DataFrame of shape (n, d)
        Latents, such as those of `transform`; in order of time where they are of windows.
    marginals : array-like or DataFrame of shape (n,) or (n, n_factors)
        Labels. Each factor is scored on the rows whose label of it is known.
    blocks : dict or list of lists of columns, default=None
        Columns of `Z` that are taken together, such as those of `latent_blocks`; columns in no
        block are left out. None takes each column by itself.
    missing_label : int, str, float or None, default=-1
        The label that means unknown, besides None and NaN.
    random_state : int, RandomState or None, default=0
        Seed of the classifiers that blocks need.

    Returns
    -------
    information : DataFrame of shape (n_blocks, n_factors)
        In nats.

    Raises
    ------
    ValueError, TypeError
        If latents, labels or blocks do not match or are not as described, or if a factor has one
        class only.

    Notes
    -----
    *Single columns* are cut into 20 bins of equal width, as by Locatello et al., or into as many as
    the factor has classes, if those are more. The estimate is too large by about (bins - 1)
    (classes - 1) / 2n for a column that tells nothing, and too small where the bins are coarse,
    such as with an outlier. A column is scored however small its scale.

    *Blocks* are too wide for bins, and nearest neighbours lose sight of what is spread over many
    columns. The log-loss of a classifier on held-out rows (five folds, contiguous in each class),
    less than the entropy of the factor, is a bound from below; the larger one of a logistic
    regression and of a forest is returned, and 0 where both are negative. What neither can read,
    such as a parity of many columns, is not counted.

    References
    ----------
    Locatello et al., "Challenging common assumptions in the unsupervised learning of disentangled
    representations", ICML 2019.

    Barber and Agakov, "The IM algorithm: a variational approach to information maximization",
    NIPS 2003 (the bound).

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import mutual_information
    >>> Z = np.random.default_rng(0).normal(size=(1000, 2))
    >>> mutual_information(Z, Z[:, 0] > 0).round(2)
             factor0
    latent0     0.62
    latent1     0.01
    """
    latents = read_latents(Z, marginals, blocks, missing_label, min_blocks=1)
    information = associate(latents, latents.codes, random_state)().information
    return pd.DataFrame(information, index=list(latents.blocks), columns=list(latents.factors))


def mig(
    Z: Any, marginals: Any, *, blocks: Any = None, missing_label: Any = -1, random_state: Any = 0
) -> float:
    """Mutual information gap (MIG): whether each factor is in one place, and only there.

    For each factor, the information of the latent that tells most about it, less that of the second
    best, as a share of the entropy of the factor; then the mean over the factors.

    Parameters
    ----------
    Z, marginals, blocks, missing_label, random_state : as in `mutual_information`
        Latents, labels, columns that are taken together, the unknown label and the seed.

    Returns
    -------
    gap : float
        From 0 to 1: 1 if one latent tells everything about a factor and no other one tells
        anything. Single columns of equal value share their information, so that the gap is 0: score
        a factor that has several columns by `blocks`.

    Raises
    ------
    ValueError, TypeError
        As `mutual_information`; and if there are fewer than two columns or blocks.

    Notes
    -----
    If factors depend on each other, a latent that tells one tells of the other, and the gap is
    less than 1 even in an ideal code. Chen et al. take samples of the posterior; of its means, as
    here, a column that the model does not use may tell something nevertheless.

    References
    ----------
    Chen, Li, Grosse and Duvenaud, "Isolating sources of disentanglement in variational
    autoencoders", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import mig
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(4, size=(1000, 2))
    >>> round(mig(labels, labels), 2)  # each column of the latents is a factor
    1.0
    >>> round(mig(labels[:, [0, 0, 1, 1]], labels), 2)  # each of them twice
    0.0
    >>> round(mig(labels[:, [0, 0, 1, 1]], labels, blocks=[[0, 1], [2, 3]]), 2)
    0.99
    """
    latents = read_latents(Z, marginals, blocks, missing_label)
    return float(mig_of(associate(latents, latents.codes, random_state)()).mean())


def sap(
    Z: Any, marginals: Any, *, blocks: Any = None, missing_label: Any = -1, random_state: Any = 0
) -> float:
    """Separated attribute predictability (SAP): the gap of `mig`, in accuracy.

    For each factor, the balanced accuracy of telling its class from the latent that tells it best,
    less that from the second best; then the mean over the factors.

    Parameters
    ----------
    Z, marginals, blocks, missing_label, random_state : as in `mutual_information`
        Latents, labels, columns that are taken together, the unknown label and the seed.

    Returns
    -------
    gap : float
        From 0 to 1 - 1 / n_classes.

    Raises
    ------
    ValueError, TypeError
        As `mutual_information`; and if there are fewer than two columns or blocks.

    Notes
    -----
    From a single column the class is told by thresholds, 19 or more, that are fitted and scored on
    the same rows, as Kumar et al. have it (they choose fewer thresholds, but freely); from a
    block, by the classifiers of `mutual_information`, on held-out rows.

    References
    ----------
    Kumar, Sattigeri and Balakrishnan, "Variational inference of disentangled latent concepts from
    unlabeled observations", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import sap
    >>> labels = np.random.default_rng(0).integers(2, size=(1000, 2))
    >>> round(sap(labels, labels), 2)
    0.48
    """
    latents = read_latents(Z, marginals, blocks, missing_label)
    return float(sap_of(associate(latents, latents.codes, random_state)()).mean())


def modularity(
    Z: Any, marginals: Any, *, blocks: Any = None, missing_label: Any = -1, random_state: Any = 0
) -> float:
    r"""Modularity: whether each latent tells about one factor only.

    With the mutual information :math:`m_f` of a latent with factor f, of F,

    .. math:: 1 - \frac{\sum_f m_f^2 - \max_f m_f^2}{(F - 1) \max_f m_f^2},

    averaged over the latents; one that tells nothing at all counts 0.

    Parameters
    ----------
    Z, marginals, blocks, missing_label, random_state : as in `mutual_information`
        Latents, labels, columns that are taken together, the unknown label and the seed.

    Returns
    -------
    modularity : float
        From 0 to 1.

    Raises
    ------
    ValueError, TypeError
        As `mutual_information`; and if there is one factor only.

    Notes
    -----
    Each latent counts the same, however little it tells: of latents that are noise, this is a ratio
    of errors of estimation, and far from 0. A factor may be in many latents; for that see `mig`
    and the completeness of `dci`.

    References
    ----------
    Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss", NeurIPS
    2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import modularity
    >>> labels = np.random.default_rng(0).integers(4, size=(1000, 2))
    >>> round(modularity(labels[:, [0, 0, 1]], labels), 2)
    1.0
    >>> round(modularity(labels @ [[4], [1]], labels), 2)  # both factors in one number
    0.0
    """
    latents = read_latents(Z, marginals, blocks, missing_label, min_blocks=1)
    check_factors(latents)
    return modularity_of(associate(latents, latents.codes, random_state)())


def mig_of(association: Association) -> np.ndarray:
    """Mutual information gap of each factor."""
    gap = _gap(association.information)
    entropy = association.entropy  # 0 where a resample has one class only
    return np.divide(gap, entropy, out=np.zeros_like(gap), where=entropy > 0)


def sap_of(association: Association) -> np.ndarray:
    """Gap of accuracies of each factor."""
    return _gap(association.accuracy)


def modularity_of(association: Association) -> float:
    squares = np.square(association.information)
    most = squares.max(axis=1)
    others = (squares.sum(axis=1) - most) / np.where(most > 0, most, 1) / (squares.shape[1] - 1)
    return float(np.where(most > 0, 1 - others, 0).mean())


def _gap(scores: np.ndarray) -> np.ndarray:
    """The largest of each column less the second largest."""
    ranked = np.sort(scores, axis=0)
    return ranked[-1] - ranked[-2]
