"""How scikit-learn's own callbacks (1.9 and later) follow the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing, where scikit-learn has no callbacks yet."""

    def with_callbacks(method: Callable) -> Callable:
        """Leave a method as it is, where scikit-learn has no callbacks yet."""
        return method


class EpochWatcher:
    """Tells the callbacks of scikit-learn, such as a `ProgressBar`, about the epochs.

    Parameters
    ----------
    estimator : estimator
        In its `fit`, which is decorated with `with_callbacks`.
    """

    def __init__(self, estimator: Any):
        self.estimator = estimator
        self.fit: Any = None
        self.epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_epochs)
            self.fit.call_on_fit_task_begin(estimator=estimator)

    def epoch_begins(self) -> None:
        """Open the task of an epoch."""
        if self.fit is not None:
            self.epoch = self.fit.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator)

    def epoch_ends(self) -> bool:
        """Close the task of an epoch; returns whether a callback asks to stop."""
        return self.fit is not None and self.epoch.call_on_fit_task_end(estimator=self.estimator)

    def fit_ends(self) -> None:
        """Close the task of the fit."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes={})
