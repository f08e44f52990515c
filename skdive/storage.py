"""Where a series lies, in memory or on disk, and how its rows are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import ceil
from mmap import ALLOCATIONGRANULARITY, mmap
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

VALUES = 1 << 20  # of a series that are read at a time: 8 MB of float64
LARGE = 1 << 28  # bytes; a larger series that lies on disk is not copied into memory

_mapped: WeakValueDictionary[tuple, np.memmap] = WeakValueDictionary()  # by `map_file`


def is_zarr(data: Any) -> bool:
    """Whether this is an array of zarr, which is told without importing zarr."""
    return type(data).__module__.partition(".")[0] == "zarr" and hasattr(data, "oindex")


def stays_on_disk(data: Any, n_bytes: int) -> bool:
    """Whether data are in a file (mapped, or of no ndarray) and too large to be copied from it."""
    in_file = not isinstance(data, np.ndarray) or _mapping(data) is not None
    return in_file and n_bytes > LARGE


def check_copied(arrays: list, dtype: np.dtype, what: str) -> None:
    """Check that arrays may be copied into one in memory.

    Raises
    ------
    ValueError
        If one of them stays on disk.
    """
    n_bytes = sum(a.size for a in arrays) * dtype.itemsize
    for a in arrays:
        if stays_on_disk(a, n_bytes):
            raise ValueError(
                f"{what} lies on disk, as {a.dtype} of shape {a.shape}, and would be "
                f"copied into {n_bytes / 2**20:.0f} MiB of memory as {dtype}. Store it as one "
                "C-contiguous array of shape (time steps, channels) and pass its dtype, "
                "or load it first, with np.array(series)."
            )


def read(base: Any, rows: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """Read rows of a base, in whatever shape they are numbered, (*rows.shape, C).

    Raises
    ------
    OSError
        If the file, or the zarr array, is not there any more. It is looked for at each call: a
        mapped file that has shrunk would end the process, and zarr takes missing data for zeros.
    """
    if isinstance(base, np.ndarray):
        _check_file(base)
        return base[rows] if columns is None else base[rows[..., None], columns]
    values = _read(base, rows.ravel())  # one request, in which zarr reads each chunk once
    values = values if columns is None else values[:, columns]
    return values.reshape(*rows.shape, values.shape[1])


def runs(starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that windows cover, as stretches from `begins[i]` to `ends[i]`, in order."""
    starts = np.sort(starts)
    holes = np.flatnonzero(np.diff(starts) > length)
    begins = starts[np.concatenate([[0], holes + 1])]
    return begins, starts[np.concatenate([holes, [len(starts) - 1]])] + length


def chunks(base: Any, begins: Any, ends: Any) -> Iterator[np.ndarray]:
    """Read stretches of rows from end to end, about `VALUES` values at a time."""
    before = np.append(0, np.cumsum(np.subtract(ends, begins)))  # rows in earlier stretches
    shift, total = np.subtract(begins, before[:-1]), int(before[-1])
    step = max(1, VALUES // base.shape[1])
    # A chunk of zarr is decompressed whole: as many steps at once as it has.
    many = step * (ceil(base.chunks[0] / step) if is_zarr(base) else 1)
    for first in range(0, total, many):
        last = min(first + many, total)
        one, other = before.searchsorted([first, last - 1], side="right") - 1
        if one == other:
            values = _read(base, slice(int(first + shift[one]), int(last + shift[one])))
        else:
            numbers = np.arange(first, last)
            stretch = before.searchsorted(numbers, side="right") - 1
            values = _read(base, numbers + shift[stretch])
        yield from (values[i : i + step] for i in range(0, len(values), step))


def all_finite(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinite; allocates nothing."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _read(base: Any, rows: slice | np.ndarray) -> np.ndarray:
    """Read rows; a slice of an ndarray is not copied."""
    if isinstance(base, np.ndarray):
        _check_file(base)
        return base[rows]
    values = np.asarray(base.oindex[rows] if is_zarr(base) else base[rows])
    if is_zarr(base):  # looked for after the data: what is there then was there before
        _check_zarr(base)
    return values


def _mapping(base: Any) -> tuple[mmap, np.memmap | None] | None:
    """The mapping of a file behind an array, and the memmap that was made of it."""
    mapped = None
    while isinstance(base, np.ndarray | memoryview):
        mapped = base if isinstance(base, np.memmap) else mapped
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if not isinstance(base, mmap):
        return None
    try:
        base.size()
    except OSError:  # a mapping of no file
        return None
    return base, mapped


class MappedFile(NamedTuple):
    """Stands for a memory-mapped array in a pickle, which loads it as one again."""

    path: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    def __reduce__(self) -> tuple:
        return map_file, tuple(self)


def by_path(base: Any) -> Any:
    """What to pickle in place of a base: its path, if it is all of a file mapped for reading."""
    found = _mapping(base)
    mapped = found[1] if found else None
    if found is None or mapped is None or mapped.filename is None or mapped.mode != "r":
        return base
    path = str(mapped.filename)
    is_whole = base.nbytes == mapped.nbytes and base.ctypes.data == mapped.ctypes.data
    is_kept = "joblib_memmapping_folder" not in path  # joblib deletes its own
    is_same = os.path.exists(path) and os.path.getsize(path) == found[0].size()
    if not (is_whole and base.flags.c_contiguous and is_kept and is_same):
        return base
    return MappedFile(path, base.dtype, mapped.offset, base.shape)


def map_file(path: str, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.memmap:
    """Map an array again, when a pickle is loaded; once for all Windows over it."""
    try:
        file = os.stat(path)
        key = (path, dtype.str, offset, shape, file.st_ino, file.st_size, file.st_mtime_ns)
        base = _mapped.get(key)
        if base is None:
            base = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
            _mapped[key] = base
        return base
    except (OSError, ValueError) as error:
        raise OSError(
            f"the Windows were pickled with the path of their series, {path}, but it cannot be "
            f"mapped as {dtype} of shape {shape}: {error}. Restore the file, or pickle Windows "
            "over np.array(base)."
        ) from error


def _check_file(base: np.ndarray) -> None:
    found = _mapping(base)
    if found is None:
        return
    mapping, mapped = found
    skipped = 0 if mapped is None else mapped.offset // ALLOCATIONGRANULARITY
    needed = skipped * ALLOCATIONGRANULARITY + len(mapping)
    if mapping.size() < needed:
        name = "the file of the series" if mapped is None else mapped.filename
        raise OSError(
            f"{name} has shrunk to {mapping.size()} bytes, but the series that is mapped from it "
            f"has {needed}. Do not change the file of a series while it is in use."
        )


def _check_zarr(base: Any) -> None:
    from zarr import open_array

    try:
        zarr_format = base.metadata.zarr_format
        shape = open_array(store=base.store_path, mode="r", zarr_format=zarr_format).shape
    except (OSError, ValueError) as error:
        raise OSError(
            f"the zarr array {base.store_path} is not there any more. Do not move or delete a "
            "series while it is in use."
        ) from error
    if shape[0] < base.shape[0] or shape[1:] != base.shape[1:]:
        raise OSError(
            f"the zarr array {base.store_path} has changed its shape from {base.shape} to {shape}. "
            "Do not change a series while it is in use."
        )
