"""What is around a fit: scikit-learn's own callbacks (1.9 and later), and a way back."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing, where scikit-learn has no callbacks yet."""

    def with_callbacks(method: Callable) -> Callable:
        """Leave a method as it is, where scikit-learn has no callbacks yet."""
        return method


def all_or_nothing(fit: Callable) -> Callable:
    """Leave an estimator as it was where its `fit` fails."""

    @wraps(fit)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return whole


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
