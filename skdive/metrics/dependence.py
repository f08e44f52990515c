"""Total correlation: how far latents are from independent, whatever they mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdive.metrics.association import check_latents


def total_correlation(Z: Any, *, blocks: Any = None) -> float:
    r"""Total correlation of columns, or blocks, as if they were jointly Gaussian.

    The Kullback-Leibler divergence of their joint distribution from the product of their own:
    :math:`-\frac{1}{2} \log \det R` for single columns with correlation matrix R; for blocks,
    :math:`\frac{1}{2} (\sum_b \log \det R_b - \log \det R)`.

    Parameters
    ----------
    Z : array-like or DataFrame of shape (n, d)
        Latents.
    blocks : dict or list of lists of columns, default=None
        As in `mutual_information`.

    Returns
    -------
    nats : float
        0 if they are uncorrelated; infinite if one is a linear function of others, as with fewer
        rows than columns. Constant columns do not count.

    Raises
    ------
    ValueError, TypeError
        If latents or blocks are not as described.

    Notes
    -----
    The closed form of Locatello et al., not the minibatch estimate of Chen et al., which needs the
    posterior of each row. It sees linear dependence only, of which Gaussian latents have no other.
    The estimate is too large by about p / 2n, for the p correlations that should be 0.

    References
    ----------
    Watanabe, "Information theoretical analysis of multivariate correlation", IBM Journal 4(1),
    1960.

    Locatello et al., "Challenging common assumptions in the unsupervised learning of disentangled
    representations", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive.metrics import total_correlation
    >>> z = np.random.default_rng(0).normal(size=(10_000, 2))
    >>> round(total_correlation(z), 2)
    0.0
    >>> z[:, 1] = 0.6 * z[:, 0] + 0.8 * z[:, 1]  # correlation 0.6: -log(1 - 0.36) / 2 = 0.22
    >>> round(total_correlation(z), 2)
    0.22
    """
    Z, found = check_latents(Z, blocks)
    return total_correlation_of(Z, list(found.values()))


def total_correlation_of(
    Z: np.ndarray, blocks: list[list[int]], weights: np.ndarray | None = None
) -> float:
    """Gaussian total correlation; each row counts as often as its weight says."""
    weights = np.ones(len(Z)) if weights is None else weights
    weights = weights / weights.sum()
    centred = (Z - weights @ Z) * np.sqrt(weights)[:, None]
    scale = np.linalg.norm(centred, axis=0)
    varies = scale > 1e-12 * np.abs(Z).max(axis=0)
    centred = centred / np.where(varies, scale, np.inf)
    parts = []
    for columns in blocks:  # each block as directions of unit variance, without empty ones
        u, s, _ = np.linalg.svd(centred[:, columns], full_matrices=False)
        parts.append(u[:, s > 1e-7])
    whitened = np.concatenate(parts, axis=1)
    values = np.linalg.eigvalsh(whitened.T @ whitened)
    if not len(values):
        return 0.0
    return float(np.inf if values[0] < 1e-12 else max(0.0, -0.5 * np.log(values).sum()))
