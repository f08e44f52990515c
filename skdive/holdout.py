"""Where windows lie in time, and which of them are held out to validate."""

from __future__ import annotations

import numpy as np

from skdive.windows import Windows


def row_positions(rows: Windows, horizon: int) -> np.ndarray:
    """Time step at which each row of an ordinary array of windows begins.

    Rows that are windows of one series, each a few steps after the one before, are recognised by
    their equal values; other rows are taken as one after the other in time, without overlap.
    """
    n, lookback = len(rows), rows.length
    step = lookback + horizon
    if n > 1:
        pairs = [[rows[k].reshape(lookback, -1) for k in (i, i + 1)] for i in (0, n - 2)]
        for s in range(1, lookback):
            if all(np.array_equal(first[s:], second[:-s]) for first, second in pairs):
                step = s
                break
    return np.arange(n) * step


def progress_of(positions: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Share of the windows of its series that come before each window, from positions in time."""
    order = np.lexsort((positions, series))
    _, firsts, counts = np.unique(series[order], return_index=True, return_counts=True)
    progress = np.empty(len(order), dtype=np.float32)
    progress[order] = (np.arange(len(order)) - firsts.repeat(counts)) / counts.repeat(counts)
    return progress


def newest_tail(
    positions: np.ndarray, series: np.ndarray, span: int, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Split windows into training ones and the newest ones of each series, without overlap.

    None is held out of a series so short that the gap between the parts, which overlap with both,
    would take more than half of the windows that are left for training.

    Parameters
    ----------
    positions : ndarray of int, shape (n,)
        Time step at which each window begins.
    series : ndarray of int, shape (n,)
        Series of each window.
    span : int
        Time steps of a window with its future: so far behind the newest part, training ends.
    fraction : float
        Share of each series' windows that is held out.

    Returns
    -------
    train, valid : ndarrays of int
        Indices of the windows.
    """
    train, valid = [], []
    for s in np.unique(series):
        rows = np.flatnonzero(series == s)
        ordered = np.sort(positions[rows])
        cut = ordered[-max(1, round(fraction * len(rows)))]
        left, held_out = rows[positions[rows] + span <= cut], rows[positions[rows] >= cut]
        is_long = 2 * len(left) >= len(rows) - len(held_out)
        parts = (left, held_out) if is_long else (rows, rows[:0])
        train.append(parts[0])
        valid.append(parts[1])
    return np.concatenate(train), np.concatenate(valid)
