"""What every fitted model answers: embeddings, reconstructions, likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from skdive.batches import Standardiser, chunk_of, standardise
from skdive.checks import check_windows
from skdive.layers import NormedWindow, norm_windows
from skdive.losses import conditional_kl, kernel_kl, marginal_kl_bound
from skdive.windows import Windows


class LatentModel(TransformerMixin, BaseEstimator):
    """The methods that every estimator has once `BaseWindowModel` has fitted it."""

    net_: Any
    _scale_x: Standardiser

    def _windows(self, X: Any, *, reset: bool = False) -> Windows:
        """Check X, in whatever form it came, and see it as Windows."""
        if isinstance(X, Windows):
            check_windows(X, "X")
            if reset:
                self.n_features_in_ = X.shape[1]
                self.__dict__.pop("feature_names_in_", None)
            windows = X
        else:
            dtype = [np.float64, np.float32]
            X = validate_data(self, X, reset=reset, dtype=dtype, allow_nd=True)
            n_channels = getattr(self, "n_channels", None)
            windows = Windows.from_array(X, n_channels if X.ndim == 2 else None)
        if reset:
            self._shape = windows.length, windows.n_channels
            self._flat = windows.flat
        elif (windows.length, windows.n_channels) != self._shape:
            raise ValueError(
                f"X has {windows.shape[1]} features: windows of {windows.length} steps and "
                f"{windows.n_channels} channels, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: {self._shape[0]} steps and "
                f"{self._shape[1]} channels."
            )
        self._check_names("X", windows.names, "_channels", reset)
        return windows

    def _check_names(
        self, what: str, names: Sequence | None, attribute: str, reset: bool = False
    ) -> None:
        """Remember the names of channels in fit; later, refuse others or another order.

        Not of a single channel: what was learnt from it may be used for another.
        """
        if reset:
            setattr(self, attribute, names)
            return
        fitted = getattr(self, attribute)
        if names and fitted and names != fitted and self._shape[1] > 1:
            raise ValueError(
                f"{what} shows the channels {list(names)}, but {list(fitted)} were fitted. Bring "
                "the columns of the series into that order; other channels that are to be taken "
                "for these need their names."
            )

    @property
    def _module(self) -> Any:
        """The fitted network, on the device that it was fitted on or, failing that, loaded to."""
        return self.net_.module_

    def _map(
        self,
        windows: Windows,
        function: Callable,
        *extras: Any,
        undo: Standardiser | None = None,
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """Apply a function of (module, window, *extras) to all windows, in large batches.

        `windows` and what the function returns are on standardised scale; `extras` are tensors
        with a row for each window, or windows beside them. Yields rows and what the function
        returned for them; where `undo` is given as (n, time, channel), in the units of the series.
        """
        module = self._module
        weights = module.conditional.log_scale_x
        x = standardise(windows, self._scale_x, weights.dtype, weights.device)
        if undo is not None:
            mean, std = (weights.new_tensor(values).unsqueeze(1) for values in undo)
        at_once = chunk_of(x, module.largest)
        for begin in range(0, len(windows), at_once):
            rows = slice(begin, min(begin + at_once, len(windows)))
            with torch.inference_mode():
                index = torch.arange(rows.start, rows.stop, device=weights.device)
                chosen = [
                    e[rows].to(weights.device) if isinstance(e, Tensor) else e.take(index)
                    for e in extras
                ]
                found = function(module, norm_windows(x.take(index)), *chosen)
                if undo is not None:  # (n, channel, time)
                    found = [torch.addcmul(mean, t, std).transpose(1, 2) for t in found]
                yield rows, [tensor.cpu().numpy() for tensor in found]

    def _collect(
        self, windows: Windows, function: Callable, *extras: Any, **options: Any
    ) -> list[np.ndarray]:
        """What `_map` yields, in one array for each thing that the function returns."""
        whole: list[np.ndarray] = []
        for rows, arrays in self._map(windows, function, *extras, **options):
            if not whole:
                whole = [np.empty((len(windows), *a.shape[1:]), windows.dtype) for a in arrays]
            for array, part in zip(whole, arrays, strict=True):
                array[rows] = part
        return whole

    def transform(self, X: Any) -> np.ndarray:
        """Embed windows: the means of their latents.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.

        Returns
        -------
        Z : ndarray of shape (n, n_latents)
            `get_feature_names_out` names the columns. Of DeepDIVE these are the latent block of
            each factor, then the conditional latent.
        """
        check_is_fitted(self)
        windows = self._windows(X)
        (Z,) = self._collect(windows, lambda module, window: [_join(*module.infer(window))])
        return Z

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Decode embeddings to windows.

        Parameters
        ----------
        Z : array-like of shape (n, n_latents)
            Embeddings, as `transform` returns them.

        Returns
        -------
        X : ndarray of shape (n, lookback * n_channels) or (n, lookback, n_channels)
            Windows in the units of `fit`, with as many dimensions as there.
        """
        check_is_fitted(self)
        names = self.get_feature_names_out()
        Z = np.asarray(Z, dtype=np.result_type(np.asarray(Z).dtype, np.float32))
        if Z.ndim != 2 or Z.shape[1] != len(names):
            raise ValueError(f"Z must have shape (n, {len(names)}), got {Z.shape}.")
        module = self._module
        weights = module.conditional.log_scale_x
        blocks = (module.n_factors, module.marginal_dim)
        split = blocks[0] * blocks[1]
        with torch.inference_mode():
            z = torch.tensor(Z, dtype=weights.dtype, device=weights.device)
            x = module.decode(z[:, :split].unflatten(1, blocks), z[:, split:]).cpu().numpy()
        return self._in_shape_of_x(self._scale_x.undo(x.swapaxes(1, 2))).astype(Z.dtype, copy=False)

    def reconstruct(self, X: Any) -> np.ndarray:
        """Show windows as the model sees them: encoded and decoded again.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.

        Returns
        -------
        X_hat : ndarray of the shape of X
        """
        check_is_fitted(self)
        windows = self._windows(X)

        def decoded(module: Any, window: NormedWindow) -> list[Tensor]:
            return [module.decode(*module.infer(window))]

        (x,) = self._collect(windows, decoded, undo=self._scale_x)
        return x.reshape(windows.shape)

    def _bound(self, windows: Windows, y: Any) -> dict[str, np.ndarray]:
        """Terms of the evidence lower bound, per window; y is standardised."""
        objective = self.net_.criterion_

        def terms(module: Any, window: NormedWindow, *futures: Tensor) -> list[Tensor]:
            q_b = module.infer_marginals(window)
            q_a = module.infer_conditional(window, q_b.mean)
            outputs = module.heads(window, q_b.mean, q_a.mean)
            future = futures[0] if futures else None
            x_nll, y_nll = objective.likelihood(module, outputs, window.x, future, per_window=True)
            rbf = module.marginal.rbf
            kl = kernel_kl(q_b, rbf.centres, rbf.scales)
            unknown = torch.full(kl.shape[:2], -1, device=kl.device)
            found = [x_nll * window.x[0].numel(), conditional_kl(q_a)]
            found += [marginal_kl_bound(kl, rbf.log_priors, unknown).sum(1)]
            return [*found, *([] if future is None else [y_nll * future[0].numel()])]

        found = self._collect(windows, terms, *([] if y is None else [y]))
        names = ("reconstruction", "kl_conditional", "kl_marginal", "forecast")
        return dict(zip(names, (-term for term in found), strict=False))

    def _elbo(self, windows: Windows, y: Any, return_terms: bool) -> Any:
        """The bound, or its terms with the bound among them."""
        terms = self._bound(windows, y)
        elbo = np.sum(list(terms.values()), axis=0)
        return {"elbo": elbo, **terms} if return_terms else elbo

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Name the columns of the embedding.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's sake.

        Returns
        -------
        names : ndarray of str
            ``latent_<j>``.
        """
        check_is_fitted(self)
        names = [f"latent_{j}" for j in range(self._module.conditional_dim)]
        return np.array(names, dtype=object)

    def _in_shape_of_x(self, x: np.ndarray) -> np.ndarray:
        """Windows (n, lookback, n_channels) with as many dimensions as X had in fit."""
        return x.reshape(len(x), -1) if self._flat else x

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags


def _join(b: Tensor, a: Tensor) -> Tensor:
    return torch.cat([b.flatten(1), a], dim=1)
