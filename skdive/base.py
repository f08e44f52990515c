"""How the estimators are fitted: validation windows, scales, devices, training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from skdive.batches import (
    Standardiser,
    WindowBatches,
    continued_channels,
    offset_of,
    standardise,
)
from skdive.checks import can_autocast, can_compile, resolve_device
from skdive.holdout import newest_tail, progress_of
from skdive.inference import LatentModel
from skdive.objective import Objective
from skdive.parallel import Process, launched_process
from skdive.training import fit_net, make_net
from skdive.warning import warn
from skdive.watching import CallbackSupportMixin, EpochWatcher
from skdive.windows import Windows


class BaseWindowModel(CallbackSupportMixin, LatentModel, ABC):
    """Base of the estimators around a network of windows.

    Subclasses say in `fit` what windows, futures and labels are, and choose network and objective;
    the rest of fitting is here.
    """

    _monitor = "valid_loss"  # what early stopping looks at

    @abstractmethod
    def _network(self) -> dict[str, Any]:
        """Parameters of `DeepDIVE` that the data does not decide."""

    def _objective(self, n_windows: int, process: Process) -> Objective:
        """What training on so many windows minimises."""
        return Objective(self.likelihood, self.beta)

    def _fit_labels(self, marginals: Any, n: int) -> np.ndarray:
        """Learn factors from the labels; returns codes (n, F). Here there are no factors."""
        return np.empty((n, 0), dtype=np.int64)

    def _labels(self, marginals: Any, n: int) -> np.ndarray:
        """Codes (n, F) of the labels of validation windows."""
        return np.empty((n, 0), dtype=np.int64)

    def _warn_unlearnt(self, codes: np.ndarray, train: np.ndarray) -> None:
        """Warn of classes that only the windows held out for validation have."""

    def _fit(
        self,
        x: Windows,
        y: Windows | None,
        marginals: Any,
        positions: np.ndarray,
        held_out: tuple[Windows, Windows | None, Any] | None = None,
    ) -> None:
        """Fit to windows, their futures and labels; all parameters have been checked.

        `positions` are the time steps at which windows begin; `held_out` is validation data, in
        place of the newest windows.
        """
        self._device = resolve_device(self.device)
        offset = offset_of(x, y)
        self._continues = offset is not None
        horizon, span = 0, x.length
        if y is not None:
            horizon, span = y.length, x.length + y.length
            if offset is not None:
                span = max(x.length, offset + horizon)
        codes = self._fit_labels(marginals, len(x))
        everything = np.arange(len(x))
        train, valid = everything, None
        if held_out is None and self.early_stopping:
            train, valid = newest_tail(positions, x.series_of(), span, self.validation_fraction)
            if len(train) < 2 or not len(valid):  # too few windows to hold any out
                train, valid = everything, None
            self._warn_unlearnt(codes, train)

        self._scale_x = Standardiser.of(x[train])
        sources: tuple[int, ...] = ()
        if y is not None and offset is not None:
            self._scale_y = self._scale_x.select(y.columns)
            sources = tuple(range(x.n_channels) if y.columns is None else map(int, y.columns))
        elif y is not None:
            self._scale_y = Standardiser.of(y[train])
            sources = continued_channels(x[train], y[train])

        dtype = torch.float32 if x.dtype == np.float32 else torch.float64
        data = self._batches(x[train], None if y is None else y[train], codes[train], dtype)
        progress = progress_of(positions[train], x.series_of()[train])
        data.progress = torch.from_numpy(progress).to(self._device)
        valid_data = None
        if held_out is not None:
            labels = self._labels(held_out[2], len(held_out[0]))
            valid_data = self._batches(*held_out[:2], labels, dtype)
        elif valid is not None:
            future = None if y is None else y[valid]
            valid_data = self._batches(x[valid], future, codes[valid], dtype)
        self._train(data, valid_data, horizon, sources)

    def _batches(
        self, x: Windows, y: Windows | None, codes: np.ndarray, dtype: torch.dtype
    ) -> WindowBatches:
        """Put windows, futures and codes on the device; one series for both where y continues x."""
        labels = torch.from_numpy(codes).to(self._device)
        if y is None:
            data = standardise(x, self._scale_x, dtype, self._device)
            return WindowBatches(data, None, labels)
        offset = offset_of(x, y) if self._continues else None
        if offset is None:
            windows = standardise(x, self._scale_x, dtype, self._device)
            futures = standardise(y, self._scale_y, dtype, self._device)
            return WindowBatches(windows, futures, labels)
        whole = x.steps(0, max(x.length, offset + y.length))
        data = standardise(whole, self._scale_x, dtype, self._device)
        columns = None if y.columns is None else torch.from_numpy(y.columns).to(self._device)
        return WindowBatches(data.ahead(0, x.length), data.ahead(offset, y.length), labels, columns)

    def _train(
        self,
        train: WindowBatches,
        valid: WindowBatches | None,
        horizon: int,
        sources: tuple[int, ...],
    ) -> None:
        """Build the network and train it."""
        module = {
            "lookback": train.x.length,
            "n_channels": train.x.n_channels,
            "horizon": horizon,
            "sources": sources,
            "width": self.hidden_dim,
            "dropout": self.dropout,
            **self._network(),
        }
        launched = self.device == "accelerate"
        process = launched_process() if launched else Process(self._device)
        net = make_net(
            module,
            self._objective(len(train), process),
            monitor=self._monitor,
            patience=self.n_iter_no_change if self.early_stopping and valid is not None else None,
            callbacks=list(self.callbacks or []),
            max_epochs=self.max_epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            device=str(self._device),
            verbose=self.verbose if process.rank == 0 else 0,
            dtype=train.x.dtype,
            autocast=self.autocast and can_autocast(self._device, train.x.dtype),
            compiled=self.compile and can_compile(self._device),
        )
        counts = [len(train), 0 if valid is None else len(valid)]
        process.check_same(counts, train.fingerprint())
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        seed = int(process.from_main(torch.tensor(seed)))
        watcher = EpochWatcher(self)
        self.net_ = fit_net(net, train, valid, seed, process, watcher)
        self.n_iter_ = len(net.history)
        watcher.fit_ends()
        if net.interrupted_:
            warn(
                f"fit was interrupted in epoch {self.n_iter_}; the model is fitted with the "
                "weights of the epochs done.",
            )
