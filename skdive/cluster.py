"""How a search runs on a Dask cluster: the series moves to each worker once, not with every fit."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import joblib
import numpy as np

from skdive.sliding import WindowSet
from skdive.windows import Windows

try:
    from cloudpickle import Pickler
    from distributed import Client, WorkerPlugin, get_worker
    from joblib._dask import DaskDistributedBackend
except ImportError as error:
    raise ImportError("skdive.cluster needs Dask: pip install 'skdive[dask]'.") from error

__all__ = ["on_dask"]


@contextmanager
def on_dask(client: Client, *data: Any) -> Iterator[None]:
    """Let joblib, and so `GridSearchCV`, run its tasks on a Dask cluster that holds the data.

    Like `joblib.parallel_config(backend="dask")`, but the data moves to each worker once, also to
    those that start later, and tasks refer to it. They depend on nothing else that a worker holds,
    so that Dask repeats those of a worker that is lost on another one.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster. Its workers need skdive installed, and one thread each
        (`threads_per_worker=1`).
    *data : WindowSet, Windows, array or DataFrame
        What the tasks share: the very objects that are passed to `fit`, or the WindowSet that has
        them. The scheduler keeps a copy until the context ends.

    Raises
    ------
    TypeError
        If `client` is not a client of Dask.

    Examples
    --------
    >>> from distributed import Client  # doctest: +SKIP
    >>> with Client("scheduler:8786") as client, on_dask(client, w):  # doctest: +SKIP
    ...     search.fit(w.X, w.y, marginals=w.marginals)
    """
    if not isinstance(client, Client):
        raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}.")
    held = _Held(list(_parts(data)), f"skdive-{uuid4().hex}")
    client.register_plugin(held, name=held.name)
    try:
        with joblib.parallel_config(backend=_Backend(client=client, held=held)):
            yield
    finally:
        client.unregister_worker_plugin(held.name)


def _parts(data: Any) -> Iterator[Any]:
    """Yield the objects that tasks may refer to, the base of windows among them."""
    for part in data:
        if isinstance(part, WindowSet):
            yield from _parts([part.X, part.y, part.marginals])
        elif part is not None:
            yield part
            if isinstance(part, Windows):
                yield part.base


class _Held(WorkerPlugin):
    """What every worker of the cluster holds."""

    def __init__(self, objects: list, name: str):
        self.objects, self.name = objects, name


class _Backend(DaskDistributedBackend):
    """joblib's backend, for tasks that are sent as bytes with references to what workers hold.

    Of tasks as they are, joblib would scatter each large argument to one worker, and with that
    worker the argument would be lost.
    """

    def __init__(self, held: _Held, **options: Any):
        super().__init__(**options)
        self.held = held

    def submit(self, func: Any, callback: Callable | None = None) -> Any:
        """Submit a batch of tasks."""
        func.items = [(_run, (self.held.name, self._pack(item)), {}) for item in func.items]
        return super().submit(func, callback)

    def _pack(self, task: tuple) -> bytes:
        file = io.BytesIO()
        _TaskPickler(file, self.held.objects).dump(task)
        return file.getvalue()


class _TaskPickler(Pickler):
    """Pickles objects that workers hold as their number, and folds as first and last row."""

    def __init__(self, file: Any, held: list):
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.numbers = {id(part): number for number, part in enumerate(held)}

    def persistent_id(self, obj: Any) -> int | None:
        return self.numbers.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray and obj.ndim == 1 and obj.dtype == np.intp and len(obj):
            if (np.diff(obj) == 1).all():
                return np.arange, (int(obj[0]), int(obj[-1]) + 1)
        return super().reducer_override(obj)


class _TaskUnpickler(pickle.Unpickler):
    """Reads what `_TaskPickler` wrote."""

    def __init__(self, file: Any, held: list):
        super().__init__(file)
        self.held = held

    def persistent_load(self, number: int) -> Any:
        return self.held[number]


def _run(name: str, packed: bytes) -> Any:
    """Run a task in a worker."""
    held = get_worker().plugins[name].objects
    function, args, kwargs = _TaskUnpickler(io.BytesIO(packed), held).load()
    return function(*args, **kwargs)
