"""How raw series (arrays, frames, panels of them) are read, checked, cut into rows and stacked."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from skdive.storage import all_finite, check_copied, chunks, is_zarr
from skdive.warning import warn

__all__ = ["Series", "agree", "as_list", "check_finite", "cut", "panel", "read", "resolve", "stack"]

UNEVEN = 1.5  # the step of a series may be that many times the step of another; if more, warn
MOST_OF = 0.75  # of the windows are to be left by the holes in time stamps; if not, warn


class Series(NamedTuple):
    """One series as it was given, and what messages call it."""

    name: Any
    what: str
    values: Any  # ndarray or array of zarr, (T, C)
    index: pd.Index
    edges: np.ndarray  # rows at which regular stretches begin, and T
    channels: tuple | None
    labels: pd.DataFrame | None
    is_1d: bool


def panel(series: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, Any] | None]:
    """Split the input into named series; also the names of the two levels if there are many."""
    levels: tuple[Any, Any] = ("series", "time")
    if isinstance(series, pd.DataFrame | pd.Series) and isinstance(series.index, pd.MultiIndex):
        if series.index.nlevels != 2:
            raise ValueError(
                "a frame of many series must be indexed by (series, time), got index levels "
                f"{list(series.index.names)}."
            )
        levels = tuple(n or level for n, level in zip(series.index.names, levels, strict=True))
        by_name = series.groupby(level=0, sort=False, dropna=False)
        named = [(name, group.droplevel(0)) for name, group in by_name]
    elif isinstance(series, Mapping):
        kind = type(series).__name__
        if "frame" in series and ("DESCR" in series or kind == "Bunch"):
            how = "load it with as_frame=True and " if series["frame"] is None else ""
            raise TypeError(
                f"series is a {kind} that describes a data set; {how}pass .frame, its table."
            )
        named = list(series.items())
    elif isinstance(series, list | tuple) and len(series) and np.ndim(series[0]) > 0:
        named = list(enumerate(series))
    else:
        return [(None, series)], None
    if not named:
        raise ValueError("series is empty: expected at least one series, got none.")
    return named, levels


def read(data: Any, name: Any, what: str, wanted: list, dtype: np.dtype) -> Series:
    """Check one series and take it apart; its values are converted only if it is a frame."""
    if type(data).__module__.partition(".")[0] == "polars":
        raise TypeError(
            f"{what} is a polars {type(data).__name__}; pass pandas or numpy, such as "
            "frame.to_pandas().set_index('time')."
        )
    if not isinstance(data, pd.DataFrame | pd.Series):
        values = data if is_zarr(data) else np.asarray(data)
        if values.dtype.kind not in "biuf":
            raise ValueError(
                f"{what} must be real numbers, got an array of dtype {values.dtype}. Convert it, "
                "for example with .astype(float)."
            )
        if values.ndim not in (1, 2):
            raise ValueError(f"{what} must have shape (T,) or (T, C), got {values.shape}.")
        if not values.size:
            raise ValueError(f"{what} is empty: it has shape {values.shape}.")
        index = pd.RangeIndex(values.shape[0])
        is_1d = values.ndim == 1
        if is_1d and is_zarr(values):
            check_copied([values], values.dtype, what)
        columns = np.asarray(values).reshape(-1, 1) if is_1d else values
        return Series(name, what, columns, index, _edges(index), None, None, is_1d)

    index, edges = _check_index(data.index, what), _edges(data.index)
    if isinstance(data, pd.Series):
        frame, labels = data.to_frame(), None
        channels = None if data.name is None else (data.name,)
    else:
        if not data.columns.is_unique:
            raise ValueError(f"{what} has columns of the same name: {list(data.columns)}.")
        is_label = data.columns.isin(wanted)
        frame, labels = data.loc[:, ~is_label], data.loc[:, is_label]
        channels = tuple(frame.columns)
    if not frame.size:
        raise ValueError(f"{what} is empty: {len(frame)} rows and {frame.shape[1]} channels.")
    bad = [c for c, t in frame.dtypes.items() if not is_numeric_dtype(t) or t.kind == "c"]
    if bad:
        stamps = [c for c in bad if frame.dtypes[c].kind == "M"]
        advice = "Name them in `marginals` if they label the windows, else convert or drop them."
        if stamps and not isinstance(index, pd.DatetimeIndex):
            advice = f"Make time stamps the index: frame.set_index({stamps[0]!r})."
        raise ValueError(
            f"{what} has columns that are not real numbers: {bad} of dtype "
            f"{[str(frame.dtypes[c]) for c in bad]}. {advice}"
        )
    with np.errstate(over="ignore"):  # what overflows is reported, with its place, as infinite
        values = frame.to_numpy(dtype=dtype, na_value=np.nan)
    is_1d = isinstance(data, pd.Series)
    return Series(name, what, values, index, edges, channels, labels, is_1d)


def _check_index(index: pd.Index, what: str) -> pd.Index:
    """Return a DatetimeIndex, or positions where there are no time stamps."""
    if isinstance(index, pd.MultiIndex):
        raise ValueError(f"{what} must have an index of one level, got {list(index.names)}.")
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    has_order = isinstance(index, pd.DatetimeIndex) or is_numeric_dtype(index)
    if has_order and not (index.is_monotonic_increasing and index.is_unique):
        row = 1 + int(np.argmin(index[1:] > index[:-1]))
        raise ValueError(
            f"the index of {what} must increase from row to row, but {index[row]} (row {row}) "
            f"follows {index[row - 1]}. Sort it with sort_index(), drop what is duplicated, and "
            "pass many series as a dict or indexed by (series, time)."
        )
    return index if isinstance(index, pd.DatetimeIndex) else pd.RangeIndex(len(index))


def _edges(index: pd.Index) -> np.ndarray:
    """Rows at which regular stretches of the index begin, and its length."""
    holes: np.ndarray = np.array([], dtype=int)
    if isinstance(index, pd.PeriodIndex):
        holes = np.flatnonzero(np.diff(index.asi8) != 1) + 1
    elif (
        isinstance(index, pd.DatetimeIndex)
        and len(index) > 2
        and index.freq is None
        and not _has_freq(index)  # months and business days are regular, in uneven steps
    ):
        steps = index[1:] - index[:-1]  # in absolute time: a change of the clock is no hole
        step = steps.to_series().mode().iloc[0]
        if step % pd.Timedelta(days=1) == pd.Timedelta(0):
            wall = index.tz_localize(None)  # but whole days are regular on the calendar
            steps = wall[1:] - wall[:-1]
        holes = np.flatnonzero(steps != step) + 1
    return np.concatenate([[0], holes, [len(index)]])


def _has_freq(index: pd.DatetimeIndex) -> bool:
    with catch_warnings():
        simplefilter("ignore")  # pandas 3.1 warns that what is not None will change its type
        return pd.infer_freq(index) is not None


def cut(parts: list[Series], span: int, stride: int) -> tuple[list[Series], list[np.ndarray]]:
    """First rows of the windows of each series, and the series that have any."""
    kept, starts, short, longest = [], [], [], 0
    whole = n_holes = 0  # windows that there would be without holes, and these
    for part in parts:
        longest = max(longest, int(np.diff(part.edges).max()))
        rows = np.concatenate([np.arange(a, b - span + 1, stride) for a, b in pairwise(part.edges)])
        if len(rows):
            kept.append(part)
            starts.append(rows)
            whole += len(range(0, len(part.index) - span + 1, stride))
            n_holes += len(part.edges) - 2
        else:
            short.append(part)
    needed = f"one window needs lookback + gap + horizon = {span} steps in a row"
    if not kept:
        what = short[0].what if len(short) == 1 else f"each of the {len(short)} series"
        raise ValueError(
            f"{what} is too short: {needed}, and the longest stretch without a hole has {longest} "
            f"(of {max(len(part.index) for part in short)} rows). Pass a longer series, or lower "
            "lookback, gap or horizon. If stamps are regular in a way that is not seen, give their "
            "step with to_period(), or drop them with reset_index(drop=True)."
        )
    if short:
        names = ", ".join(repr(part.name) for part in short[:5]) + ", ..." * (len(short) > 5)
        warn(f"{len(short)} series too short and left out: {names}; {needed}.")
    n_windows = sum(map(len, starts))
    if n_windows < MOST_OF * whole:
        warn(
            f"{n_holes} holes in the time stamps leave {n_windows} of {whole} windows: {needed}. "
            "Fill them, for instance with asfreq() and interpolate(). If stamps are regular in a "
            "way that is not seen, give their step with to_period(), or drop them with "
            "reset_index(drop=True).",
        )
    return kept, starts


def agree(parts: list[Series]) -> None:
    """Check that the series of a panel have the same channels, labels and kind of index."""
    for part in parts[1:]:
        for what, describe in (("channels", _channels_of), ("index", _index_of)):
            here, first = describe(part), describe(parts[0])
            if here != first:
                raise ValueError(
                    f"all series must have the same {what}, but {parts[0].what} has {first} and "
                    f"{part.what} has {here}."
                )
    dated = [p for p in parts if isinstance(p.index, pd.DatetimeIndex) and len(p.index) > 1]
    steps = sorted(((part.index[1:] - part.index[:-1]).median(), part.what) for part in dated)
    if steps and steps[-1][0] > UNEVEN * steps[0][0]:
        (least, of_least), (most, of_most) = steps[0], steps[-1]
        warn(
            f"the series have different steps: {least} in {of_least}, {most} in {of_most}. A model "
            "takes every row for one step; bring them to one step, for instance with resample().",
        )


def _channels_of(part: Series) -> str:
    if part.is_1d:
        return "one value per step (1-D)"
    labels = [] if part.labels is None else list(part.labels.columns)
    names = "" if part.channels is None else f" {list(part.channels)}"
    return f"{part.values.shape[1]} channels{names}" + f" and labels {labels}" * bool(labels)


def _index_of(part: Series) -> str:
    if isinstance(part.index, pd.DatetimeIndex):
        return f"time stamps in zone {part.index.tz}"
    return "no time stamps"


def stack(parts: list[Series], dtype: np.dtype) -> Any:
    """Put the values of all series in one C-contiguous array, not copied where one already is."""
    values = [part.values for part in parts]
    one = values[0]
    if len(parts) == 1 and one.dtype == dtype and (is_zarr(one) or one.flags.c_contiguous):
        return one
    check_copied(values, dtype, parts[0].what if len(parts) == 1 else "a panel")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(np.concatenate(values, dtype=dtype, casting="unsafe"))


def check_finite(base: Any, parts: list[Series]) -> None:
    first = 0
    for values in chunks(base, [0], [base.shape[0]]):
        if not all_finite(values):
            break
        first += len(values)
    else:
        return
    row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
    row += first
    for part in parts:
        if row < len(part.index):
            break
        row -= len(part.index)
    found = "NaN" if np.isnan(part.values[row, column]) else f"infinity for {base.dtype}"
    place = f"row {row}" + f" ({part.index[row]})" * isinstance(part.index, pd.DatetimeIndex)
    channel = column if part.channels is None else repr(part.channels[column])
    raise ValueError(
        f"{part.what} has {found} in column {channel} at {place}. Fill such values, or drop their "
        "rows: windows leave out the hole that this makes in a DatetimeIndex."
    )


def resolve(targets: Any, channels: tuple | None, n_channels: int) -> np.ndarray:
    """Columns of the targets, which are names or positions."""
    columns = []
    for target in as_list(targets):
        if channels is not None and target in channels:
            columns.append(channels.index(target))
        elif isinstance(target, Integral) and -n_channels <= int(target) < n_channels:
            columns.append(int(target) % n_channels)
        else:
            known = list(range(n_channels)) if channels is None else list(channels)
            raise ValueError(f"unknown target {target!r}; the channels are {known}.")
    if not columns:
        raise ValueError("targets is empty: name at least one channel, or None for all of them.")
    return np.array(columns)


def as_list(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple | np.ndarray | pd.Index) else [value]
