"""How forecasts are scored batch by batch, when all of them together would not fit in memory."""

import numpy as np


class RunningR2:
    r"""Coefficient of determination :math:`R^2`, summed up over batches.

    The same number as ``sklearn.metrics.r2_score``: the mean over the outputs, of which a constant
    one counts 1 where it is met and 0 where it is not.

    Parameters
    ----------
    centre : ndarray, broadcast to the outputs
        Any values near the mean of the outputs; they keep the sums precise.
    """

    def __init__(self, centre: np.ndarray):
        self.centre = centre
        self.weight = 0.0
        self.errors, self.total, self.squares = (np.zeros(()) for _ in range(3))

    def add(self, y_true: np.ndarray, y_pred: np.ndarray, weight: np.ndarray) -> None:
        """Add a batch of shape (n, ...) with weights (n,)."""
        y_true = y_true.astype(np.float64)
        centred = y_true - self.centre
        self.weight += weight.sum()
        self.errors = self.errors + np.tensordot(weight, np.square(y_true - y_pred), axes=1)
        self.total = self.total + np.tensordot(weight, centred, axes=1)
        self.squares = self.squares + np.tensordot(weight, np.square(centred), axes=1)

    def result(self) -> float:
        """The score of all that was added."""
        spread = self.squares - np.square(self.total) / self.weight
        rounding = 1e-12 * self.squares
        constant = spread <= rounding
        r2 = 1 - self.errors / np.where(constant, 1.0, spread)
        return float(np.where(constant, self.errors <= rounding, r2).mean())
