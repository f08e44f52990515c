"""How series become windows, their futures and their labels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from skdive.series import Series, agree, as_list, check_finite, cut, panel, read, resolve, stack
from skdive.windows import Windows, check_int

__all__ = ["WindowSet", "sliding_windows"]


CALENDAR: dict[str, Callable] = {
    "minute": lambda stamps: stamps.minute,
    "hour": lambda stamps: stamps.hour,
    "dayofweek": lambda stamps: stamps.day_of_week,
    "day": lambda stamps: stamps.day,
    "week": lambda stamps: stamps.isocalendar().week,
    "month": lambda stamps: stamps.month,
    "quarter": lambda stamps: stamps.quarter,
    "year": lambda stamps: stamps.year,
}


@dataclass(frozen=True, eq=False, repr=False)
class WindowSet:
    """Windows, their futures and what is known about them, as `sliding_windows` returns them.

    Attributes
    ----------
    X : Windows of shape (n, lookback, n_channels), or (n, lookback) from a 1-D series
        What the model sees.
    y : Windows of shape (n, horizon * n_targets)
        What follows, time-major; over the same base as `X`.
    marginals : DataFrame of shape (n, n_factors) or None
        Labels of the windows at their origins.
    lookback, horizon, gap, stride : int
        As given to `sliding_windows`.
    index : pandas.Index of length T
        Time stamp of every row of the base; its position in its series where there are no stamps.
    series : pandas.Index of length S or None
        Names of the series of a panel, in the order of `X.bounds`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive import sliding_windows
    >>> w = sliding_windows(np.arange(100.0), lookback=8, horizon=2)
    >>> train, test = w.split_at(80)
    >>> len(w), len(train), len(test)
    (91, 71, 11)
    """

    X: Windows
    y: Windows
    marginals: pd.DataFrame | None
    lookback: int
    horizon: int
    gap: int
    stride: int
    index: pd.Index
    series: pd.Index | None = None

    def __iter__(self) -> Iterator:
        raise TypeError(
            "a WindowSet is no sequence of windows: pass w.X, w.y and w.marginals of a WindowSet w."
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            "expected windows, got a WindowSet: pass w.X, w.y and w.marginals of a WindowSet w."
        )

    @property
    def origins(self) -> pd.Index:
        """Time stamp (or position) of the last observed step of each window.

        Of length n; for a panel a MultiIndex of series and time.
        """
        stamps = self.index[self.X.starts + self.lookback - 1]
        if self.series is None:
            return stamps
        return pd.MultiIndex.from_arrays([self.series[self.X.series_of()], stamps])

    @property
    def embargo(self) -> int:
        """Windows to leave out between train and test, so that they share no time step.

        It is the `gap` to hand to `TimeSeriesSplit`, and the smallest one that is safe, for the
        windows of one series in their order. A panel has none, and raises ValueError: its rows are
        not in order of time, so split it with `split_at` or `split_fractions`.
        """
        if self.series is not None:
            raise ValueError(
                "a panel has no embargo: its windows are in order of series, not of time, so no "
                "gap makes TimeSeriesSplit safe. Use split_at or split_fractions instead."
            )
        return ceil(self._span / self.stride) - 1

    @property
    def _span(self) -> int:
        return self.lookback + self.gap + self.horizon

    def split_at(self, *cuts: Any) -> list[WindowSet]:
        """Split in time: a window belongs to a part only if all of its steps lie in it.

        No time step, be it of a lookback, a gap or a horizon, is in two parts; windows that
        straddle a cut are in none.

        Parameters
        ----------
        *cuts : timestamp-like, or int where the series has no time stamps
            The first moment of each part but the first, increasing. Naive stamps are read in the
            time zone of the series. An int is a position in the series, in every one of a panel.

        Returns
        -------
        parts : list of len(cuts) + 1 WindowSet

        Raises
        ------
        ValueError, TypeError
            If a cut cannot be compared with the index, cuts do not increase, or a part is empty.
        """
        if not cuts:
            raise ValueError("split_at needs at least one cut.")
        moments = [self._moment(cut) for cut in cuts]
        if any(later <= earlier for earlier, later in pairwise(moments)):
            raise ValueError(f"cuts must increase, got {', '.join(map(str, cuts))}.")
        first = self.index[self.X.starts]
        last = self.index[self.X.starts + self._span - 1]
        return self._split(first, last, moments, f"cuts {', '.join(map(str, cuts))}")

    def split_fractions(self, *fractions: float) -> list[WindowSet]:
        """Split each series in time, in given proportions, with no time step in two parts.

        Parameters
        ----------
        *fractions : float
            Proportions of the parts, from the oldest to the newest, such as `0.8, 0.1, 0.1` or
            `3, 1, 1`. They are of the time steps that the windows of a series span.

        Returns
        -------
        parts : list of len(fractions) WindowSet

        Raises
        ------
        ValueError
            If there are fewer than two proportions, one is not positive, or a part is empty.
        """
        shares = np.asarray(fractions, dtype=float)
        if len(shares) < 2 or not (shares > 0).all() or not np.isfinite(shares).all():
            raise ValueError(f"fractions must be two or more positive numbers, got {fractions}.")
        first, last = self.X.starts, self.X.starts + self._span - 1
        series = self.X.series_of()
        begin = np.full(len(self.X.bounds), self.X.bounds[-1])
        end = np.zeros_like(begin)
        np.minimum.at(begin, series, first)
        np.maximum.at(end, series, last + 1)
        cumulative = np.cumsum(shares / shares.sum())[:-1]
        cuts = [(begin + np.rint(c * (end - begin)).astype(int))[series] for c in cumulative]
        return self._split(first, last, cuts, f"fractions {fractions}")

    def _split(self, first: Any, last: Any, cuts: list, how: str) -> list[WindowSet]:
        """Parts between consecutive cuts, each with the windows that lie inside from end to end."""
        if not len(self):
            raise ValueError("there are no windows to split.")
        parts = []
        for i in range(len(cuts) + 1):
            inside = np.ones(len(self), dtype=bool)
            if i > 0:
                inside &= first >= cuts[i - 1]
            if i < len(cuts):
                inside &= last < cuts[i]
            if not inside.any():
                raise ValueError(
                    f"part {i + 1} of {len(cuts) + 1} is empty: the {how} leave it no whole window "
                    f"of lookback + gap + horizon = {self._span} steps. The windows run from "
                    f"{self.index[self.X.starts].min()} to "
                    f"{self.index[self.X.starts + self._span - 1].max()}."
                )
            parts.append(self[inside])
        return parts

    def _moment(self, cut: Any) -> Any:
        """Read a cut so that it compares with the index."""
        if not isinstance(self.index, pd.DatetimeIndex):
            if isinstance(cut, bool) or not isinstance(cut, Integral):
                raise TypeError(
                    f"cut {cut!r} must be an int, a position in the series: no DatetimeIndex."
                )
            return int(cut)
        if isinstance(cut, Integral | float):
            raise TypeError(f"cut {cut!r} must be a time stamp: the series has a DatetimeIndex.")
        moment = pd.Timestamp(cut)
        if moment.tz is None:
            return moment.tz_localize(self.index.tz)
        if self.index.tz is None:
            raise ValueError(f"cut {cut!r} has a time zone, but the index of the series has none.")
        return moment

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, key: Any) -> WindowSet:
        X = self.X[key]
        if not isinstance(X, Windows):
            raise IndexError(
                "a WindowSet is selected with a slice, a boolean mask or an array of ints; "
                f"for window {key} alone use w[[{key}]], w.X[{key}] and w.y[{key}]."
            )
        marginals = self.marginals
        if marginals is not None:
            marginals = marginals.iloc[np.arange(len(self))[key]].reset_index(drop=True)
        return replace(self, X=X, y=self.y[key], marginals=marginals)

    def __repr__(self) -> str:
        factors = None if self.marginals is None else list(self.marginals.columns)
        return (
            f"WindowSet(n={len(self)}, X={self.X.shape}, y={self.y.shape}, marginals={factors}, "
            f"lookback={self.lookback}, horizon={self.horizon}, gap={self.gap}, "
            f"stride={self.stride})"
        )


def sliding_windows(
    series: Any,
    lookback: int,
    horizon: int,
    *,
    gap: int = 0,
    stride: int = 1,
    targets: Any = None,
    marginals: Any = None,
    dtype: Any = np.float32,
) -> WindowSet:
    """Cut one series, or many, into windows and the futures that follow them.

    The values are kept once, whatever the number of windows, and without a copy if one series comes
    as a C-contiguous array of the right `dtype`: do not change it afterwards. That array may be
    larger than memory, a `memmap` or an array of zarr of shape (T, C), which stays on disk.

    Parameters
    ----------
    series : array-like of shape (T,) or (T, C), Series, DataFrame, or many of them
        Time steps in rows, channels in columns. Many series, which may differ in length, come as a
        dict or list of them, or as a frame indexed by (series, time). Time stamps are read from a
        DatetimeIndex, where a step that differs from the regular one is a hole, or from a
        PeriodIndex, which states its step; rows with any other index are taken to be equidistant.
        Windows never cross a hole or the end of a series.
    lookback : int
        Time steps that the model sees.
    horizon : int
        Time steps that it forecasts.
    gap : int, default=0
        Time steps skipped between the two.
    stride : int, default=1
        Time steps from one window to the next.
    targets : name, int or list of them, default=None
        Channels to forecast, by name or position; None forecasts all of them.
    marginals : name or list of names, default=None
        What is known about each window, at the last step of its lookback: a column of the frame
        (which then is not a channel), `"series"` for the name of its series, or of the calendar,
        in local time, `"minute"`, `"hour"`, `"dayofweek"` (Monday is 0), `"day"`, `"week"`,
        `"month"`, `"quarter"` or `"year"`.
    dtype : floating dtype, default=numpy.float32
        Data type of the windows.

    Returns
    -------
    windows : WindowSet
        With `X` of shape (n, lookback, C), or (n, lookback) if the series is one-dimensional; `y`
        of shape (n, horizon * n_targets), time-major; `marginals` and `origins`.

    Raises
    ------
    ValueError, TypeError
        If values are missing, infinite or not numeric, an index does not increase, the series is
        too short for one window, a parameter is out of range or names what is not there, or more
        than 256 MiB would have to be copied from disk into memory.

    Warns
    -----
    UserWarning
        If some of many series are too short for one window, and left out; if holes in the time
        stamps cost more than a quarter of the windows; if the steps of many series differ.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdive import sliding_windows
    >>> index = pd.date_range("2024-01-01", periods=72, freq="h")
    >>> load = pd.DataFrame({"east": range(72), "west": range(72)}, index=index)
    >>> w = sliding_windows(load, lookback=24, horizon=6, targets="west", marginals="hour")
    >>> w.X.shape, w.y.shape
    ((43, 24, 2), (43, 6))
    >>> w.origins[0], int(w.marginals["hour"][0])
    (Timestamp('2024-01-01 23:00:00'), 23)
    """
    lookback = check_int("lookback", lookback, minimum=1)
    horizon = check_int("horizon", horizon, minimum=1)
    gap = check_int("gap", gap, minimum=0)
    stride = check_int("stride", stride, minimum=1)
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise ValueError(f"dtype must be a real floating type such as float32, got {dtype}.")
    wanted = [] if marginals is None else as_list(marginals)
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"marginals names a factor twice: {wanted}.")

    named, levels = panel(series)
    parts = [
        read(data, name, f"series {name!r}" if levels else "the series", wanted, dtype)
        for name, data in named
    ]
    agree(parts)
    parts, rows = cut(parts, lookback + gap + horizon, stride)
    base = stack(parts, dtype)
    check_finite(base, parts)

    index, channels, names = parts[0].index, parts[0].channels, None
    bounds = np.cumsum([0, *(len(part.index) for part in parts)])
    starts = np.concatenate([r + offset for r, offset in zip(rows, bounds, strict=False)])
    if levels:
        names = pd.Index([part.name for part in parts], name=levels[0])
        index = index.append([part.index for part in parts[1:]]).rename(levels[1])
        if any(part.channels != channels for part in parts):
            channels = None  # 1-D series, each with a name of its own
    columns = None if targets is None else resolve(targets, channels, base.shape[1])
    shown = channels if channels is None or columns is None else [channels[c] for c in columns]

    X = Windows(base, starts, lookback, bounds=bounds, flat=parts[0].is_1d, names=channels)
    ahead = starts + lookback + gap
    y = Windows(base, ahead, horizon, columns=columns, bounds=bounds, flat=True, names=shown)
    labels = _labels(wanted, parts, index, names, X) if wanted else None
    return WindowSet(X, y, labels, lookback, horizon, gap, stride, index, names)


def _labels(
    wanted: list, parts: list[Series], index: pd.Index, series: pd.Index | None, X: Windows
) -> pd.DataFrame:
    """Return the labels asked for, at the forecast origin of each window."""
    origins = X.starts + X.length - 1
    columns = [] if parts[0].labels is None else list(parts[0].labels.columns)
    has_time = isinstance(index, pd.DatetimeIndex)
    labels: dict[Hashable, Any] = {}
    for factor in wanted:
        if factor in columns:  # a column of the frame comes before the calendar
            column = [part.labels[factor] for part in parts if part.labels is not None]
            labels[factor] = pd.concat(column, ignore_index=True).array[origins]
        elif factor == "series" and series is not None:
            labels[factor] = series.array[X.series_of()]
        elif factor in CALENDAR and has_time:
            labels[factor] = np.asarray(CALENDAR[factor](index[origins]), dtype=np.int64)
        elif factor in CALENDAR:
            raise ValueError(
                f"marginal {factor!r} is read from the calendar, but the series has no "
                "DatetimeIndex. Set one, for example with pd.to_datetime."
            )
        else:
            known = [*(parts[0].channels or []), *columns, *["series"] * (series is not None)]
            known += CALENDAR if has_time else []
            raise ValueError(f"unknown marginal {factor!r}; available are {known}.")
    return pd.DataFrame(labels)
