"""What the models eat: a lazy, immutable array of windows over one base array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from skdive.storage import by_path, read

__all__ = ["Windows"]


@dataclass(frozen=True, eq=False, repr=False)
class Windows:
    """Lazy, immutable array of equally long windows over one base array.

    It has what scikit-learn asks of an array (`shape`, `len`, `X[idx, ...]`), so it passes through
    splitters, searches and pipelines. Selecting windows selects `starts`; the base is shared, never
    copied. Values appear when asked for: `windows[3]`, or `np.asarray(windows)`.

    Parameters
    ----------
    base : array of shape (T, C)
        Time steps by channels, kept as it is: an `ndarray`, or for a series larger than memory a
        `memmap` or an array of zarr (version 3). Of these, only the rows asked for are read.
    starts : array-like of int, shape (n,)
        Row of the base at which each window begins.
    length : int
        Time steps of a window.
    columns : array-like of int, shape (n_channels,), default=None
        Channels of the base that the windows show; None shows all of them.
    bounds : array-like of int, shape (S + 1,), default=None
        Series `s` is rows `bounds[s]` to `bounds[s + 1]` of the base; None means one series. No
        window may cross a bound.
    flat : bool, default=False
        Whether a window is one row of `length * n_channels` values, time-major, instead of
        `(length, n_channels)`.
    names : sequence of str, default=None
        Names of the channels shown.

    Raises
    ------
    ValueError, TypeError
        If the base is not two-dimensional or a window does not lie in one series of it.
    OSError
        When values are read, if the file of the base has shrunk or the array of zarr is gone.

    Notes
    -----
    A series on disk must not change while it is in use. Windows over a whole `memmap` opened with
    `mode="r"` are pickled with the path of its file, which has to be there when they are loaded.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive import Windows
    >>> X = Windows(np.arange(8.0).reshape(4, 2), starts=[0, 1, 2], length=2)
    >>> X
    Windows(shape=(3, 2, 2), dtype=float64, base=(4, 2))
    >>> X[1]
    array([[2., 3.],
           [4., 5.]])
    >>> X[[0, 2]].base is X.base
    True
    """

    base: Any
    starts: np.ndarray
    length: int
    _: KW_ONLY
    columns: np.ndarray | None = None
    bounds: np.ndarray = None  # type: ignore[assignment]  # never None once made
    flat: bool = False
    names: Sequence | None = None

    def __post_init__(self) -> None:
        if len(getattr(self.base, "shape", ())) != 2:
            raise TypeError(
                "base must be an array of shape (time steps, channels), got "
                f"{type(self.base).__name__} of shape {getattr(self.base, 'shape', None)}."
            )
        n_rows, n_columns = self.base.shape
        length = check_int("length", self.length, minimum=1)
        starts = _check_rows("starts", self.starts)
        bounds = _check_rows("bounds", [0, n_rows] if self.bounds is None else self.bounds)
        columns = None if self.columns is None else _check_rows("columns", self.columns)
        names = None if self.names is None else tuple(self.names)
        if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != n_rows or (np.diff(bounds) < 0).any():
            raise ValueError(f"bounds must rise from 0 to the {n_rows} rows of base, got {bounds}.")
        if columns is not None and not (
            columns.size and 0 <= columns.min() <= columns.max() < n_columns
        ):
            raise ValueError(f"columns must lie in 0 ... {n_columns - 1}, got {columns}.")
        shown = n_columns if columns is None else len(columns)
        if names is not None and len(names) != shown:
            raise ValueError(f"names must name the {shown} channels shown, got {names}.")
        if starts.size and not 0 <= starts.min() <= starts.max() <= n_rows - length:
            raise ValueError(
                f"windows of length {length} over {n_rows} rows must start in "
                f"0 ... {n_rows - length}, got starts from {starts.min()} to {starts.max()}."
            )
        checked = {"starts": starts, "columns": columns, "bounds": bounds, "names": names}
        vars(self).update(checked, length=length)  # a frozen dataclass has no other way in
        if (starts + length > bounds[self.series_of() + 1]).any():
            raise ValueError("a window crosses a bound between two series; see `bounds`.")

    @classmethod
    def from_array(
        cls,
        X: Any,
        n_channels: int | None = None,
        *,
        flat: bool | None = None,
        names: Sequence | None = None,
    ) -> Windows:
        """View an ordinary array of windows as `Windows`, without copying where it is contiguous.

        Parameters
        ----------
        X : array-like of shape (n, lookback * n_channels) or (n, lookback, n_channels)
            Windows; in two dimensions time-major, all channels of the first step first.
        n_channels : int, default=None
            Channels of a two-dimensional `X`; None means 1. Three-dimensional `X` says it itself.
        flat : bool, default=None
            Whether the result is two-dimensional; None keeps the dimensions of `X`.
        names : sequence of str, default=None
            Names of the channels.

        Returns
        -------
        windows : Windows
            One window for each row of `X`, over a base of `n * lookback` rows.

        Raises
        ------
        ValueError
            If `X` has other dimensions, or its second one is not a multiple of `n_channels`.

        Examples
        --------
        >>> from skdive import Windows
        >>> Windows.from_array([[1, 10, 2, 20], [3, 30, 4, 40]], n_channels=2, flat=False).shape
        (2, 2, 2)
        """
        X = np.asarray(X)
        if X.ndim not in (2, 3):
            raise ValueError(
                "X must have shape (n, lookback * n_channels) or (n, lookback, n_channels), got "
                f"{X.shape}. Reshape one column with X.reshape(-1, 1)."
            )
        given = X.shape[2] if X.ndim == 3 else 1
        n_channels = check_int("n_channels", given if n_channels is None else n_channels, 1)
        if X.ndim == 3 and n_channels != given:
            raise ValueError(f"n_channels={n_channels}, but X has shape {X.shape}.")
        lookback, rest = divmod(int(np.prod(X.shape[1:])), n_channels)
        if rest or not lookback:
            raise ValueError(
                f"X has {X.shape[1]} features, which is not a multiple of n_channels={n_channels}."
            )
        return cls(
            X.reshape(len(X) * lookback, n_channels),
            np.arange(len(X)) * lookback,
            lookback,
            flat=X.ndim == 2 if flat is None else flat,
            names=names,
        )

    @property
    def n_channels(self) -> int:
        """Channels of a window."""
        return self.base.shape[1] if self.columns is None else len(self.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, length, n_channels)`, or `(n, length * n_channels)` when flat."""
        if self.flat:
            return len(self.starts), self.length * self.n_channels
        return len(self.starts), self.length, self.n_channels

    @property
    def ndim(self) -> int:
        """2 when flat, else 3."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Data type of the base."""
        return np.dtype(self.base.dtype)

    @property
    def size(self) -> int:
        """Values in all windows, counting those that overlapping windows share each time."""
        return len(self.starts) * self.length * self.n_channels

    @property
    def nbytes(self) -> int:
        """Bytes that the windows would take if they were materialised."""
        return self.size * self.dtype.itemsize

    def steps(self, begin: int, end: int) -> Windows:
        """Return steps `begin` to `end` of every window, over the same base.

        Parameters
        ----------
        begin, end : int
            Counted from the start of a window; they may lie outside of it, as long as no window
            leaves its series.

        Returns
        -------
        windows : Windows
            Of length `end - begin`.
        """
        return replace(self, starts=self.starts + begin, length=end - begin)

    def series_of(self) -> np.ndarray:
        """Return the number of the series that each window comes from.

        Returns
        -------
        series : ndarray of int64, shape (n,)
            Window `i` lies in rows `bounds[series[i]]` to `bounds[series[i] + 1]` of the base.
        """
        return np.searchsorted(self.bounds, self.starts, side="right") - 1

    def covered(self) -> np.ndarray:
        """Mark the rows of the base that at least one window touches, in O(n + T).

        Returns
        -------
        mask : ndarray of bool, shape (T,)
        """
        n_rows = self.base.shape[0]
        opened = np.bincount(self.starts, minlength=n_rows + 1)
        closed = np.bincount(self.starts + self.length, minlength=n_rows + 1)
        return np.cumsum(opened - closed)[:n_rows] > 0

    def __len__(self) -> int:
        return len(self.starts)

    def __sizeof__(self) -> int:
        # With the base, so that dask sends large windows to a worker once, not with every task.
        arrays = (self.base, self.starts, self.columns, self.bounds)
        return super().__sizeof__() + sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._values(start) for start in self.starts)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):  # scikit-learn writes X[idx, ...]
            key, *rest = key or (...,)
            if not all(k is ... or (isinstance(k, slice) and k == slice(None)) for k in rest):
                raise self._bad_key()
        if key is ...:
            return self
        if isinstance(key, slice):
            return self._at(self.starts[key])
        index = np.asarray(key)
        if not index.size:
            index = index.astype(np.int64)  # [] is an array of floats
        if index.ndim == 0 and index.dtype.kind in "iu":
            return self._values(self.starts[int(index)])
        if index.ndim != 1 or index.dtype.kind not in "iub":
            raise self._bad_key()
        return self._at(self.starts[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Windows hold no array of their own; np.asarray makes one.")
        return self._values(self.starts).astype(dtype or self.dtype, copy=False)

    def __repr__(self) -> str:
        base = tuple(self.base.shape)
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}, base={base})"

    def __copy__(self) -> Windows:
        return self._at(self.starts)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"base": by_path(self.base)}

    def _at(self, starts: np.ndarray) -> Windows:
        other = object.__new__(type(self))
        vars(other).update(vars(self), starts=starts)  # part of what was checked in self
        return other

    def _values(self, starts: np.ndarray) -> np.ndarray:
        rows = np.add.outer(starts, np.arange(self.length))  # (..., length)
        values = np.asarray(read(self.base, rows, self.columns))
        return values.reshape(*np.shape(starts), *self.shape[1:])

    def _bad_key(self) -> IndexError:
        return IndexError(
            "Windows are selected with an int, a slice, a boolean mask or a 1-D array of ints, "
            "along the first axis only; for parts of a window use np.asarray(windows)."
        )


def check_int(name: str, value: Any, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an int, got {value!r}.")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}.")
    return number


def _check_rows(name: str, value: Any) -> np.ndarray:
    rows = np.asarray(value)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise TypeError(
            f"{name} must be a 1-D array of ints, got shape {rows.shape} and dtype {rows.dtype}."
        )
    return rows.astype(np.int64, copy=False)
