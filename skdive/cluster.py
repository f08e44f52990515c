"""How a search runs on a Dask cluster: the series moves to each worker once, not with every fit."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import joblib
import numpy as np

from skdive.sliding import WindowSet
from skdive.storage import by_path
from skdive.windows import Windows

try:
    from cloudpickle import Pickler
    from distributed import Client, WorkerPlugin, get_worker
    from joblib._dask import DaskDistributedBackend
except ImportError as error:
    raise ImportError("skdive.cluster needs Dask: pip install 'skdive[dask]'.") from error

__all__ = ["on_dask"]

LIMIT = 2**32 - 2**20  # bytes of one message, without its head


@contextmanager
def on_dask(client: Client, *data: Any) -> Iterator[None]:
    """Let joblib, and so `GridSearchCV`, run its tasks on a Dask cluster that holds the data.

    Like `joblib.parallel_config(backend="dask")`, but the data moves to each worker once, also to
    those that start later, and tasks refer to it. They depend on nothing else that a worker holds,
    so that Dask repeats those of a worker that is lost on another one. If none is left, it waits
    for new ones, for as long as its setting `distributed.scheduler.no-workers-timeout` says.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster. Its workers need skdive installed, and one thread each
        (`threads_per_worker=1`): fits in the threads of one process wait for each other.
    *data : WindowSet, Windows, array or DataFrame
        What the tasks share: the very objects that are passed to `fit`, or the WindowSet that has
        them. The scheduler keeps a copy until the context ends.

    Raises
    ------
    TypeError
        If `client` is not a client of Dask.
    ValueError
        If the data is too large for one message of Dask, 4 GiB.
    OSError
        If a worker is lost while the data is sent, before any task has started.

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> with Client("scheduler:8786") as client, on_dask(client, w):  # doctest: +SKIP
    ...     search.fit(w.X, w.y, marginals=w.marginals)
    """
    if not isinstance(client, Client):
        raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}.")
    objects = list(_parts(data))
    packed = _dumps(objects)
    if len(packed) > LIMIT:
        raise ValueError(
            f"the data takes {len(packed) / 2**30:.1f} GiB, but Dask sends {LIMIT / 2**30:.1f} GiB "
            "at most. Share fewer channels or a shorter part of the series."
        )
    name = f"skdive-{uuid4().hex}"
    try:
        client.register_plugin(_Held(packed), name=name)
        backend = _Backend(client=client, name=name, objects=objects)
        with joblib.parallel_config(backend=backend):
            yield
    finally:
        with suppress(OSError):  # from workers that die meanwhile; the others let go all the same
            client.unregister_worker_plugin(name)


def _parts(data: Any) -> Iterator[Any]:
    """Yield the objects that tasks may refer to, the base of windows among them."""
    for part in data:
        if isinstance(part, WindowSet):
            yield from _parts([part.X, part.y, part.marginals])
        elif part is not None:
            yield part
            if isinstance(part, Windows) and by_path(part.base) is part.base:
                yield part.base  # what is mapped, workers map themselves


class _Held(WorkerPlugin):
    """What a worker holds. Dask gives it to every worker, also to those that start later."""

    def __init__(self, packed: bytes):
        self.packed = packed

    def setup(self, worker: Any) -> None:
        self.objects = pickle.loads(self.packed)
        del self.packed


class _Backend(DaskDistributedBackend):
    """joblib's backend, for tasks that are sent as bytes with references to what workers hold.

    Of tasks as they are, joblib would scatter each large argument to one worker, and with that
    worker the argument would be lost.
    """

    def __init__(self, name: str, objects: list, **options: Any):
        super().__init__(**options)
        self.name, self.objects = name, objects

    def submit(self, func: Any, callback: Callable | None = None) -> Any:
        func.items = [(_run, (self.name, _dumps(task, self.objects)), {}) for task in func.items]
        future = super().submit(func, callback)

        def report(done: Future) -> None:
            if callback is not None and done.exception() is not None:
                callback(done)

        # joblib would wait for ever for what fails in no worker, such as a task that kills each.
        future.add_done_callback(report)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        return super().retrieve_result_callback(out.result() if isinstance(out, Future) else out)


def _run(name: str, packed: bytes) -> Any:
    """Run a task in a worker."""
    held: Any = get_worker().plugins[name]
    function, args, kwargs = _Unpickler(io.BytesIO(packed), held.objects).load()
    return function(*args, **kwargs)


def _dumps(obj: Any, held: Sequence = ()) -> bytes:
    file = io.BytesIO()
    _Pickler(file, held).dump(obj)
    return file.getvalue()


class _Pickler(Pickler):
    """Pickles what workers hold as its number, and evenly spaced rows, as of folds, in short."""

    def __init__(self, file: Any, held: Sequence):
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.numbers = {id(obj): number for number, obj in enumerate(held)}

    def persistent_id(self, obj: Any) -> int | None:
        return self.numbers.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray and obj.ndim == 1 and obj.dtype == np.int64 and len(obj) > 1:
            steps = np.diff(obj)
            if (steps == steps[0]).all():
                return _evenly_spaced, (obj[0], steps[0], len(obj))
        return super().reducer_override(obj)


def _evenly_spaced(start: np.int64, step: np.int64, n: int) -> np.ndarray:
    """`n` numbers, exactly; `np.arange` computes how many there are in floating point."""
    return start + step * np.arange(n, dtype=np.int64)


class _Unpickler(pickle.Unpickler):
    """Reads tasks that `_Pickler` wrote."""

    def __init__(self, file: Any, held: Sequence):
        super().__init__(file)
        self.held = held

    def persistent_load(self, number: int) -> Any:
        return self.held[number]
