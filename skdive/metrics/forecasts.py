"""Scores of forecasts, in the units in which they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import make_scorer, mean_pinball_loss
from sklearn.utils.validation import check_array

from skdive.storage import VALUES, read
from skdive.windows import Windows, check_int


def rrse(y_true: Any, y_pred: Any, *, mean: str = "columns") -> float:
    r"""Root relative squared error: the forecast's error over that of a constant.

    With columns :math:`j` for all steps and targets of the horizon,

    .. math:: \sqrt{\sum_{ij} (y_{ij} - \hat y_{ij})^2 \big/ \sum_{ij} (y_{ij} - \bar y_j)^2}.

    0 is perfect; 1 is as good as the mean of `y_true`, which no forecast could have known.

    Parameters
    ----------
    y_true : Windows or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
        Futures, in original units.
    y_pred : array-like of the same values, flattened or not
        Forecasts.
    mean : {"columns", "global"}, default="columns"
        What the forecast is compared with: the mean of each column, or one mean of all values, as
        Lai et al. have it. Where targets differ in level, the global mean gives far smaller numbers
        for the same forecast.

    Returns
    -------
    error : float

    Raises
    ------
    ValueError
        If the arrays do not match, hold NaN or infinity, or if `y_true` is constant.

    See Also
    --------
    neg_rrse_scorer : The same as `scoring` of a search or a cross-validation.

    Notes
    -----
    Sums run over all columns before the division, so a target of large values outweighs the others.
    Scale the targets first if they should count the same.

    References
    ----------
    Lai, Chang, Yang and Liu, "Modeling long- and short-term temporal patterns with deep neural
    networks", SIGIR 2018, Section 4.2.

    Examples
    --------
    >>> from skdive.metrics import rrse
    >>> rrse([[1, 10], [3, 30]], [[1, 10], [3, 20]])
    0.7035...
    >>> rrse([[1, 10], [3, 30]], [[1, 10], [3, 20]], mean="global")
    0.4360...
    """
    if mean not in ("columns", "global"):
        raise ValueError(f"mean must be 'columns' or 'global', got {mean!r}.")
    y_true, y_pred = _pair(y_true, y_pred)
    centre = y_true.mean(axis=0 if mean == "columns" else None)
    if (_constant(y_true) if mean == "columns" else np.ptp(y_true) == 0).all():
        raise ValueError(
            f"y_true is constant over its {len(y_true)} windows, so that there is no error to be "
            "relative to; score more windows."
        )
    return float(np.sqrt(np.square(y_true - y_pred).sum() / np.square(y_true - centre).sum()))


def corr(y_true: Any, y_pred: Any) -> float:
    """Empirical correlation coefficient (CORR): Pearson's, averaged over the columns.

    Parameters
    ----------
    y_true : Windows or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
        Futures.
    y_pred : array-like of the same values, flattened or not
        Forecasts.

    Returns
    -------
    correlation : float
        From -1 to 1, which is perfect up to the level and scale of each column. Columns in which
        `y_true` is constant are skipped; where only the forecast is, a column counts 0.

    Raises
    ------
    ValueError
        If the arrays do not match, hold NaN or infinity, or if every column of `y_true` is
        constant.

    See Also
    --------
    corr_scorer : The same as `scoring` of a search or a cross-validation.

    Notes
    -----
    A forecast that is wrong in level or scale, but right in shape, has a correlation of 1: read it
    beside an error.

    References
    ----------
    Lai, Chang, Yang and Liu, "Modeling long- and short-term temporal patterns with deep neural
    networks", SIGIR 2018, Section 4.2.

    Examples
    --------
    >>> from skdive.metrics import corr
    >>> corr([[1, 10], [2, 20], [3, 30]], [[1, 30], [2, 20], [4, 10]])
    -0.009...
    """
    y_true, y_pred = _pair(y_true, y_pred)
    varies = ~_constant(y_true)
    if not varies.any():
        raise ValueError(
            f"every column of y_true is constant over its {len(y_true)} windows, and correlates "
            "with nothing; score more windows."
        )
    y_true, y_pred = y_true[:, varies], y_pred[:, varies]
    flat = _constant(y_pred)
    true, pred = y_true - y_true.mean(0), y_pred - y_pred.mean(0)
    norms = np.linalg.norm(true, axis=0) * np.linalg.norm(pred, axis=0)
    products = np.einsum("ij,ij->j", true, pred)
    return float(np.where(flat, 0.0, products / np.where(flat, 1.0, norms)).mean())


def mase(y_true: Any, y_pred: Any, *, y_train: Any, seasonality: int = 1) -> float:
    r"""Mean absolute scaled error: the forecast's error over that of a naive one in training.

    The mean absolute error of each target is divided by the mean of
    :math:`|y_t - y_{t - \text{seasonality}}|` over its training series; then targets are averaged.

    Parameters
    ----------
    y_true : Windows or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
        Futures, in original units; two dimensions may hold several targets, time-major.
    y_pred : array-like of the same values, flattened or not
        Forecasts.
    y_train : Windows, or array-like or DataFrame of shape (T,) or (T, n_targets)
        Series of the targets that was trained on, one row for each time step; a frame of many is
        indexed by (series, time). Or the windows `y` that were, of which each time step counts
        once. No difference is taken across series.
    seasonality : int, default=1
        Steps back to the value that the naive forecast repeats: 24 for the day of hourly values.

    Returns
    -------
    error : float
        Below 1 the forecast is better than the naive one, one step (or season) ahead, in training.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not match, hold NaN or infinity, or if the training series is no longer
        than the seasonality, or repeats itself exactly.

    Notes
    -----
    The scale is an error one season ahead, whatever the horizon is. A panel has one scale for each
    target, over all its series; where series differ in level, score them one by one.

    References
    ----------
    Hyndman and Koehler, "Another look at measures of forecast accuracy", International Journal of
    Forecasting 22(4), 2006.

    Examples
    --------
    >>> from skdive.metrics import mase
    >>> mase([[7, 8]], [[8, 9]], y_train=[1, 3, 5, 7])
    0.5
    """
    n_targets = _n_targets(y_true) or _n_targets(y_pred)
    y_true, y_pred = _pair(y_true, y_pred)
    scale = _naive_error(y_train, check_int("seasonality", seasonality, minimum=1))
    horizon, rest = divmod(y_true.shape[1], len(scale))
    if rest or n_targets not in (None, len(scale)):
        have = f"{n_targets} targets" if n_targets else f"{y_true.shape[1]} columns"
        raise ValueError(
            f"y_true has {have}, but y_train has {len(scale)} targets; pass the series of the "
            "targets that were forecast, and no others."
        )
    errors = np.abs(y_true - y_pred).reshape(-1, horizon, len(scale)).mean(axis=(0, 1))
    return float((errors / scale).mean())


def mean_quantile_loss(y_true: Any, y_quantiles: Any, quantiles: Any) -> float:
    """Pinball loss, averaged over quantiles, windows, steps and targets.

    For one quantile it is `sklearn.metrics.mean_pinball_loss`. Over evenly spaced quantiles, twice
    this loss approaches the continuous ranked probability score.

    Parameters
    ----------
    y_true : Windows or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
        Futures.
    y_quantiles : array-like of shape (n_quantiles, n, ...)
        Quantiles of the forecast: of the samples of `sample_y`,
        `numpy.quantile(model.sample_y(X, 200), quantiles, axis=-1)`.
    quantiles : array-like of float, shape (n_quantiles,)
        Their levels, between 0 and 1.

    Returns
    -------
    loss : float
        In the units of `y_true`; 0 is perfect. A proper score: it is least for true quantiles.

    Raises
    ------
    ValueError
        If the arrays do not match or hold NaN or infinity, or if a level is not between 0 and 1.

    Examples
    --------
    >>> from skdive.metrics import mean_quantile_loss
    >>> mean_quantile_loss([[10, 20]], [[[8, 16]], [[10, 20]], [[12, 28]]], [0.1, 0.5, 0.9])
    0.2666...
    """
    levels = np.asarray(quantiles, dtype=float)
    if levels.ndim != 1 or not levels.size or not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"quantiles must be a list of levels from 0 to 1, got {quantiles!r}.")
    if len(y_quantiles) != len(levels):
        raise ValueError(
            f"y_quantiles must have shape (n_quantiles, n, ...) with {len(levels)} quantiles, got "
            f"{np.shape(y_quantiles)}."
        )
    losses = [
        mean_pinball_loss(*_pair(y_true, y, "y_quantiles"), alpha=level)
        for y, level in zip(y_quantiles, levels.tolist(), strict=True)
    ]
    return float(np.mean(losses))


def interval_coverage(y_true: Any, y_lower: Any, y_upper: Any) -> float:
    """Share of values that lie in their prediction interval.

    Parameters
    ----------
    y_true : Windows or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
        Futures.
    y_lower, y_upper : array-like of the same values, flattened or not
        Ends of the intervals, which belong to them.

    Returns
    -------
    coverage : float
        To be compared with what the interval promises, such as 0.8.

    Raises
    ------
    ValueError
        If the arrays do not match, hold NaN or infinity, or if a lower end is above its upper end.

    See Also
    --------
    mean_quantile_loss : A proper score; coverage alone rewards nothing but width.

    Examples
    --------
    >>> from skdive.metrics import interval_coverage
    >>> interval_coverage([[1, 2], [3, 4]], [[0, 0], [0, 0]], [[2, 2], [2, 2]])
    0.5
    """
    y_true, y_lower = _pair(y_true, y_lower, "y_lower")
    y_true, y_upper = _pair(y_true, y_upper, "y_upper")
    if (y_lower > y_upper).any():
        raise ValueError(
            f"y_lower is above y_upper in {(y_lower > y_upper).sum()} of {y_lower.size} values."
        )
    return float(((y_lower <= y_true) & (y_true <= y_upper)).mean())


neg_rrse_scorer = make_scorer(rrse, greater_is_better=False)
corr_scorer = make_scorer(corr)


def _pair(y_true: Any, y_pred: Any, name: str = "y_pred") -> tuple[np.ndarray, np.ndarray]:
    """Check futures and forecasts, and see both as (n, columns) in float64."""
    true, pred = _values(y_true, "y_true"), _values(y_pred, name)
    differ = true.ndim == pred.ndim == 3 and true.shape != pred.shape  # such as swapped axes
    if differ or len(true) != len(pred) or true.size != pred.size:
        raise ValueError(
            f"y_true and {name} must have the same windows and as many values in each, got shapes "
            f"{true.shape} and {pred.shape}."
        )
    return true.reshape(len(true), -1), pred.reshape(len(pred), -1)


def _values(y: Any, name: str) -> np.ndarray:
    array = np.asarray(y) if isinstance(y, Windows) else y
    array = check_array(array, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name=name)
    if not 1 <= array.ndim <= 3:
        raise ValueError(
            f"{name} must have shape (n,), (n, horizon) or (n, horizon, n_targets), got "
            f"{array.shape}."
        )
    return array


def _n_targets(y: Any) -> int | None:
    """Targets of futures, where their form tells."""
    return y.n_channels if isinstance(y, Windows) else (np.shape(y)[2:] or [None])[0]


def _constant(y: np.ndarray) -> np.ndarray:
    """Whether each column is constant; exact, where a mean would round."""
    return np.ptp(y, axis=0) == 0


def _naive_error(y_train: Any, seasonality: int) -> np.ndarray:
    """Mean absolute error of the seasonal naive forecast in training, (n_targets,)."""
    if not isinstance(y_train, Windows):
        series = _values(y_train, "y_train")
        if series.ndim == 3:
            raise ValueError(
                "y_train must be the training series, of shape (T,) or (T, n_targets), or Windows, "
                f"got {series.shape}."
            )
        bounds = np.array([0, len(series)])
        if isinstance(getattr(y_train, "index", None), pd.MultiIndex):
            name = y_train.index.get_level_values(0)
            bounds = np.flatnonzero([True, *(name[1:] != name[:-1]), True])
        steps = np.arange(len(series))
        y_train = Windows(series.reshape(len(series), -1), steps, 1, bounds=bounds)
    covered = y_train.covered()
    rows = np.flatnonzero(covered)
    rows = rows[rows >= seasonality]
    before = rows - seasonality
    series_of = y_train.bounds.searchsorted(np.stack([rows, before]), side="right")
    rows = rows[covered[before] & (series_of[0] == series_of[1])]
    if not len(rows):
        raise ValueError(
            f"y_train has no two time steps that are seasonality={seasonality} apart; pass a "
            "longer series."
        )
    total, size = np.zeros((2, y_train.n_channels))
    step = max(1, VALUES // y_train.base.shape[1])
    for part in (rows[i : i + step] for i in range(0, len(rows), step)):
        pairs = read(y_train.base, np.stack([part, part - seasonality]), y_train.columns)
        pairs = pairs.astype(np.float64)
        total += np.abs(np.subtract(*pairs)).sum(axis=0)
        size += np.abs(pairs).sum(axis=(0, 1))
    if not np.isfinite(total).all():
        raise ValueError("y_train holds NaN or infinity; fill missing values first.")
    repeats = total <= 1e-12 * size  # but for rounding
    if repeats.any():
        raise ValueError(
            f"target {int(np.argmax(repeats))} of y_train repeats itself after {seasonality} "
            "steps: the naive forecast has no error to scale with."
        )
    return total / len(rows)
