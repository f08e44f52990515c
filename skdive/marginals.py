"""What is special about estimators with marginal latents: labels in, and labels out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdive.base import BaseWindowModel
from skdive.factors import FactorCodec
from skdive.layers import NormedWindow
from skdive.warning import warn


class BaseDeepDIVE(BaseWindowModel):
    """Base of the estimators whose network has marginal latents, tied to the labels of windows."""

    factor_names_: tuple[str, ...]
    classes_: list[np.ndarray]
    _codec: FactorCodec

    def _network(self) -> dict[str, Any]:
        return {
            "priors": [prior.tolist() for prior in getattr(self._codec, "priors_", [])],
            "marginal_dim": self.marginal_dim,
            "conditional_dim": self.conditional_dim,
            "fusion": self.fusion,
            "linear_path": getattr(self, "linear_path", False),
        }

    def _fit_labels(self, marginals: Any, n: int) -> np.ndarray:
        if not self.conditional_dim and marginals is None:
            raise ValueError(
                "there is nothing to encode a window in: give marginals, or a conditional_dim "
                "greater than 0."
            )
        self._codec = FactorCodec()
        if marginals is None:
            self.factor_names_, self.classes_ = (), []
            return np.empty((n, 0), dtype=np.int64)
        codes = self._codec.fit_transform(marginals, n, self.missing_label)
        self.factor_names_, self.classes_ = self._codec.names_, self._codec.classes_
        return codes

    def _labels(self, marginals: Any, n: int) -> np.ndarray:
        if marginals is None:
            return np.full((n, len(self.factor_names_)), -1)
        return self._codes(marginals, n).numpy()

    def _codes(self, marginals: Any, n: int) -> Tensor:
        """Codes of labels, -1 where they are unknown."""
        if not self.factor_names_:
            raise ValueError(
                f"marginals were given, but this {type(self).__name__} was fitted without any."
            )
        return torch.from_numpy(self._codec.transform(marginals, n))

    def _warn_unlearnt(self, codes: np.ndarray, train: np.ndarray) -> None:
        for f, (name, classes) in enumerate(zip(self.factor_names_, self.classes_, strict=True)):
            learnt = np.bincount(codes[train, f] + 1, minlength=len(classes) + 1)[1:] > 0
            if not learnt.all():
                lost = classes[~learnt].tolist()
                warn(
                    f"classes of factor {name!r} that no training window has: {lost[:5]}"
                    f"{', ...' if len(lost) > 5 else ''}. All their windows are among the newest, "
                    "which are held out for validation; pass X_val, or early_stopping=False.",
                )

    def predict_marginals(self, X: Any) -> np.ndarray:
        """Tell the class of each factor from the window.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.

        Returns
        -------
        labels : ndarray of shape (n, n_factors)
            In the labels' own values; of dtype object where the factors' types differ.
        """
        probabilities = self.predict_marginals_proba(X)
        return self._codec.inverse_transform(np.stack([p.argmax(1) for p in probabilities], axis=1))

    def predict_marginals_proba(self, X: Any) -> list[np.ndarray]:
        """Probabilities of the classes of each factor.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.

        Returns
        -------
        probabilities : list of ndarrays of shape (n, n_classes)
            One array for each factor; columns in the order of `classes_`.
        """
        check_is_fitted(self)
        windows = self._windows(X)
        if not self.factor_names_:
            raise ValueError(f"this {type(self).__name__} was fitted without marginals.")

        def posteriors(module: Any, window: NormedWindow) -> list[Tensor]:
            b = module.infer_marginals(window).mean
            return [module.marginal.rbf.log_posteriors(b).exp()]

        (every,) = self._collect(windows, posteriors)
        return [every[:, f, : len(classes)] for f, classes in enumerate(self.classes_)]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the columns of the embedding.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's sake.

        Returns
        -------
        names : ndarray of str
            ``marginal_<factor>_<d>`` and ``conditional_<j>``.
        """
        check_is_fitted(self)
        dims = range(self._module.marginal_dim)
        names = [f"marginal_{factor}_{d}" for factor in self.factor_names_ for d in dims]
        names += [f"conditional_{j}" for j in range(self._module.conditional_dim)]
        return np.array(names, dtype=object)

    @property
    def prototypes_(self) -> dict[str, np.ndarray]:
        """Prototypes of the classes of each factor, {factor: (n_classes, marginal_dim)}."""
        check_is_fitted(self)
        centres = self._module.marginal.rbf.centres.detach().cpu().numpy()
        return {
            name: centres[f, : len(self.classes_[f])].copy()
            for f, name in enumerate(self.factor_names_)
        }
