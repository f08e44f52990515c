"""How the estimators are fitted: labels, validation windows, scales, devices, training."""

from __future__ import annotations

from typing import Any
from warnings import warn

import numpy as np
import torch
from sklearn.utils import check_random_state

from skdive.batches import (
    Standardiser,
    WindowBatches,
    continued_channels,
    newest_tail,
    offset_of,
    standardise,
)
from skdive.checks import can_autocast, can_compile, resolve_device
from skdive.factors import FactorCodec
from skdive.inference import LatentModel
from skdive.parallel import Process, launched_process
from skdive.training import fit_net, make_net
from skdive.watching import CallbackSupportMixin, EpochWatcher
from skdive.windows import Windows


class BaseDeepDIVE(CallbackSupportMixin, LatentModel):
    """Base of the estimators around a DeepDIVE network.

    Subclasses say in `fit` what windows, futures and labels are; the rest of fitting is here.
    """

    _monitor = "valid_loss"  # what early stopping looks at

    def _fit_labels(self, marginals: Any, n: int) -> np.ndarray:
        """Learn the factors and their classes; returns the codes (n, F)."""
        self._codec = FactorCodec()
        if marginals is None:
            self.factor_names_, self.classes_ = (), []
            return np.empty((n, 0), dtype=np.int64)
        codes = self._codec.fit_transform(marginals, n, self.missing_label)
        self.factor_names_, self.classes_ = self._codec.names_, self._codec.classes_
        return codes

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
        if not self.conditional_dim and marginals is None:
            raise ValueError(
                "there is nothing to encode a window in: give marginals, or a conditional_dim "
                "greater than 0."
            )
        self._device = resolve_device(self.device)
        offset = offset_of(x, y)
        self._continues = offset is not None
        horizon, span = 0, x.length
        if y is not None:
            horizon, span = y.length, x.length + y.length
            if offset is not None:
                span = offset + horizon
        codes = self._fit_labels(marginals, len(x))
        everything = np.arange(len(x))
        train, valid = everything, None
        if held_out is None and self.early_stopping:
            train, valid = newest_tail(positions, x.series_of(), span, self.validation_fraction)
            if len(train) < 2:  # too few windows to hold any out
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

        data = self._batches(x[train], None if y is None else y[train], codes[train])
        valid_data = None
        if held_out is not None:
            labels = np.full((len(held_out[0]), codes.shape[1]), -1)
            if held_out[2] is not None and self.factor_names_:
                labels = self._codec.transform(held_out[2], len(held_out[0]))
            valid_data = self._batches(*held_out[:2], labels)
        elif valid is not None:
            valid_data = self._batches(x[valid], None if y is None else y[valid], codes[valid])
        self._train(data, valid_data, horizon, sources)

    def _warn_unlearnt(self, codes: np.ndarray, train: np.ndarray) -> None:
        """Warn of classes that only the windows held out for validation have."""
        for f, (name, classes) in enumerate(zip(self.factor_names_, self.classes_, strict=True)):
            learnt = np.bincount(codes[train, f] + 1, minlength=len(classes) + 1)[1:] > 0
            if not learnt.all():
                lost = classes[~learnt].tolist()
                warn(
                    f"classes of factor {name!r} that no training window has: {lost[:5]}"
                    f"{', ...' if len(lost) > 5 else ''}. All their windows are among the newest, "
                    "which are held out for validation; pass X_val, or early_stopping=False.",
                    stacklevel=4,
                )

    def _batches(self, x: Windows, y: Windows | None, codes: np.ndarray) -> WindowBatches:
        """Put windows, futures and codes on the device; one series for both where y continues x."""
        dtype = torch.float32 if x.dtype == np.float32 else torch.float64
        labels = torch.from_numpy(codes).to(self._device)
        if y is None:
            data = standardise(x, self._scale_x, dtype, self._device)
            return WindowBatches(data, None, labels)
        offset = offset_of(x, y) if self._continues else None
        if offset is None:
            windows = standardise(x, self._scale_x, dtype, self._device)
            futures = standardise(y, self._scale_y, dtype, self._device)
            return WindowBatches(windows, futures, labels)
        whole = x.steps(0, offset + y.length)
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
            "priors": [prior.tolist() for prior in getattr(self._codec, "priors_", [])],
            "horizon": horizon,
            "sources": sources,
            "marginal_dim": self.marginal_dim,
            "conditional_dim": self.conditional_dim,
            "width": self.hidden_dim,
            "dropout": self.dropout,
            "fusion": self.fusion,
            "linear_path": getattr(self, "linear_path", False),
        }
        launched = self.device == "accelerate"
        process = launched_process() if launched else Process(self._device)
        net = make_net(
            module,
            likelihood=self.likelihood,
            beta=self.beta,
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
                stacklevel=4,
            )
