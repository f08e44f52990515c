"""What the forecasters share: windows and their futures in, forecasts and samples out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
)
from torch import Tensor

from skdive.base import BaseWindowModel
from skdive.batches import standardise
from skdive.checks import check_parameters, check_windows
from skdive.holdout import row_positions
from skdive.layers import NormedWindow
from skdive.losses import gaussian_nll, laplace_nll
from skdive.scoring import RunningR2
from skdive.windows import Windows, check_int

NOISE = {laplace_nll: "laplace", gaussian_nll: "normal"}  # of numpy, by its likelihood


class WindowForecaster(RegressorMixin, BaseWindowModel):
    """Base of the estimators that forecast the futures of windows."""

    _monitor = "valid_forecast"
    _y_ndim: int
    _y_shape: tuple[int, int]

    def _given(
        self,
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        marginals: Any = None,
        marginals_val: Any = None,
    ) -> tuple[Any, ...]:
        """Check what `fit` was given; returns the arguments of `_fit`."""
        check_parameters(self.get_params(deep=False))
        x = self._windows(X, reset=True)
        futures = self._futures(y, len(x), "y", reset=True)
        held_out = None
        if X_val is not None:
            if y_val is None:
                raise ValueError("X_val needs y_val, the futures of its windows; got None.")
            x_val = self._windows(X_val)
            held_out = (x_val, self._futures(y_val, len(x_val), "y_val"), marginals_val)
        elif y_val is not None:
            raise ValueError("y_val belongs to X_val, which is None.")
        elif marginals_val is not None:
            raise ValueError("marginals_val belongs to X_val, which is None.")
        is_array = not isinstance(X, Windows)
        positions = row_positions(x, futures.length) if is_array else x.starts
        return x, futures, marginals, positions, held_out

    def _futures(self, y: Any, n: int, name: str, reset: bool = False) -> Windows:
        """Check the futures of n windows, in whatever form they came, and see them as Windows."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if isinstance(y, Windows):
            check_windows(y, name)
            futures, ndim = y, 2
        else:
            y = check_array(y, ensure_2d=False, allow_nd=True, dtype="numeric", input_name=name)
            if y.ndim > 3:
                raise ValueError(
                    f"{name} must have shape (n,), (n, horizon) or (n, horizon, n_targets), got "
                    f"{y.shape}."
                )
            ndim = y.ndim
            if y.size == 0:
                raise ValueError(f"{name} is empty: it has shape {y.shape}; horizon must be >= 1.")
            if not reset and self._y_ndim == 2 == ndim and y.shape[1] == np.prod(self._y_shape):
                y = y.reshape(len(y), *self._y_shape)  # time-major, as Windows of futures are
            floats = y if y.dtype in (np.float32, np.float64) else y.astype(np.float64)
            futures = Windows.from_array(floats.reshape(len(y), y.shape[1] if ndim > 1 else 1, -1))
        check_consistent_length(range(n), range(len(futures)))
        shape = futures.length, futures.n_channels
        if reset:
            self._y_ndim, self._y_shape = ndim, shape
        elif shape != self._y_shape:
            raise ValueError(
                f"{name} has {shape[0]} steps of {shape[1]} targets, but {self._y_shape[0]} steps "
                f"of {self._y_shape[1]} targets were fitted."
            )
        self._check_names(name, futures.names, "_y_names", reset)
        return futures

    def predict(self, X: Any) -> Any:
        """Forecast what follows each window, from latent means.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.

        Returns
        -------
        y : ndarray of shape (n,), (n, horizon) or (n, horizon, n_targets)
            As `y` in `fit`; for `Windows` (n, horizon * n_targets), time-major. A frame if
            `set_output` asks for one and y has two dimensions.
        """
        check_is_fitted(self)
        return self._forecast(self._windows(X), X)

    def _forecast(self, windows: Windows, X: Any, *known: Tensor) -> Any:
        """Forecast in the form of y; `windows` are X, `known` the codes of labels that are told."""
        (y,) = self._collect(windows, _forecast, *known, undo=self._scale_y)
        y = self._in_shape_of_y(y)
        return self._framed(y, X) if self._y_ndim == 2 else y

    def _in_shape_of_y(self, y: np.ndarray) -> np.ndarray:
        """Futures (n, horizon, n_targets, ...) with as many of these dimensions as y in fit."""
        shape = {1: (), 2: (-1,), 3: self._y_shape}[self._y_ndim]
        return y.reshape(len(y), *shape, *y.shape[3:])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        r"""Coefficient of determination :math:`R^2` of the forecast, as of every regressor.

        Windows of futures are never held all at once: memory does not grow with their number.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.
        y : as in `fit`
            Their futures.
        sample_weight : array-like of shape (n,), default=None
            Weights of the windows.

        Returns
        -------
        r2 : float
            Mean over the columns of `y`: steps and targets. 1 is perfect; the mean of `y` gets 0.
        """
        check_is_fitted(self)
        windows = self._windows(X)
        futures = self._futures(y, len(windows), "y")
        if not isinstance(y, Windows) or len(y) < 2:
            y_true, y_pred = (np.asarray(v).reshape(len(v), -1) for v in (futures, self.predict(X)))
            return r2_score(y_true, y_pred, sample_weight=sample_weight)
        weight = np.ones(len(windows)) if sample_weight is None else np.asarray(sample_weight)
        check_consistent_length(range(len(windows)), weight)

        r2 = RunningR2(centre=self._scale_y.mean)
        for rows, (y_pred,) in self._map(windows, _forecast, undo=self._scale_y):
            y_true = np.asarray(futures[rows]).reshape(y_pred.shape)
            r2.add(y_true, y_pred, weight[rows])
        return r2.result()

    def _framed(self, y: np.ndarray, X: Any) -> Any:
        """A frame of the forecast, if `set_output` asks for one."""
        kind = getattr(self, "_sklearn_output_config", {}).get("transform")
        if kind not in ("pandas", "polars"):
            return y
        steps, n_targets = self._y_shape
        names = self._y_names or [f"y{c}" for c in range(n_targets)]
        columns = [f"{name}_{step}" for step in range(1, steps + 1) for name in names]
        if kind == "polars":
            import polars

            return polars.DataFrame(y, schema=columns)
        import pandas

        index = X.index if isinstance(X, pandas.DataFrame) else None
        return pandas.DataFrame(y, columns=columns, index=index)

    def score_samples(self, X: Any, y: Any = None, *, return_terms: bool = False) -> Any:
        """Evidence lower bound of each window: low where a window is unusual.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.
        y : as in `fit`, default=None
            Their futures; None leaves the forecast out of the bound.
        return_terms : bool, default=False
            Whether to return the terms of the bound as well.

        Returns
        -------
        elbo : ndarray of shape (n,)
            The bound of Proposition 1 in nats, for densities of standardised values, with
            expectations taken at the latent means and the bound of Theorem 1 for the KL divergence
            of marginal latents. With `return_terms` a dict of arrays that add up to "elbo":
            "reconstruction", "forecast" (given y), "kl_marginal" (of models that have such latents)
            and "kl_conditional".
        """
        check_is_fitted(self)
        windows = self._windows(X)
        future = None
        if y is not None:
            futures = self._futures(y, len(windows), "y")
            device = self._module.conditional.log_scale_x.device
            future = standardise(futures, self._scale_y, self.net_.dtype, device)
        return self._elbo(windows, future, return_terms)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw windows from the model: latents from their prior, decoded, with noise.

        Parameters
        ----------
        n_samples : int, default=1
            Windows to draw.
        random_state : int, RandomState or None, default=None
            An int makes the draw repeatable.

        Returns
        -------
        X : ndarray of shape (n_samples, lookback * n_channels) or (n_samples, lookback, n_channels)
            Windows in the units of `fit`, with as many dimensions as there. `inverse_transform`
            decodes latents without the noise.
        """
        check_is_fitted(self)
        return self._sample(n_samples, random_state)

    def _sample(self, n_samples: int, random_state: Any, marginals: Any = None) -> np.ndarray:
        check_int("n_samples", n_samples, 1)
        rng = check_random_state(random_state)
        module = self._module
        known = self._labels(marginals, n_samples)
        b = _sample_prior(module.marginal.rbf, known, rng)
        a = rng.standard_normal((n_samples, module.conditional_dim))
        x = self.inverse_transform(np.hstack([b, a]))
        scale = module.conditional.log_scale_x.detach().exp().cpu().numpy()
        noise = self._noise(rng, (n_samples, *self._shape)) * scale[:, 0] * self._scale_x.std
        return (x + self._in_shape_of_x(noise)).astype(scale.dtype)

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw futures of windows: latents from their posterior, forecasts with noise.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.
        n_samples : int, default=1
            Futures to draw of each window.
        random_state : int, RandomState or None, default=None
            An int makes the draw repeatable.

        Returns
        -------
        y : ndarray of shape (n, n_samples), (n, horizon, n_samples) or \
                (n, horizon, n_targets, n_samples)
            As `predict`, with the samples along the last axis. The steps of a future share its
            latents; given these, their noise is independent.
        """
        check_is_fitted(self)
        return self._sample_y(X, n_samples, random_state)

    def _sample_y(
        self, X: Any, n_samples: int, random_state: Any, marginals: Any = None
    ) -> np.ndarray:
        check_int("n_samples", n_samples, 1)
        windows = self._windows(X)
        rng = check_random_state(random_state)
        module, n = self._module, len(windows)
        known = torch.from_numpy(self._labels(marginals, n))
        draws = []
        for _ in range(n_samples):
            noise = [
                rng.standard_normal((n, module.n_factors, module.marginal_dim)),
                rng.standard_normal((n, module.conditional_dim)),
                self._noise(rng, (n, *self._y_shape[::-1])),
            ]
            extras = [torch.from_numpy(values).to(self.net_.dtype) for values in noise]
            draws += self._collect(windows, _sampled_forecast, known, *extras, undo=self._scale_y)
        return self._in_shape_of_y(np.stack(draws, axis=-1))

    def _noise(self, rng: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Noise of the likelihood that the model was fitted with, of scale 1."""
        return getattr(rng, NOISE[self.net_.criterion_.nll])(size=shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _forecast(module: Any, window: NormedWindow, *codes: Tensor) -> list[Tensor]:
    return [module(window, *codes)]


def _sampled_forecast(
    module: Any, window: NormedWindow, known: Tensor, of_b: Tensor, of_a: Tensor, of_y: Tensor
) -> list[Tensor]:
    """A draw from p(y | x), out of noise for the latents and for the forecast."""
    q_b = module.infer_marginals(window)
    b = module.told(q_b.mean + q_b.scale * of_b, known)
    q_a = module.infer_conditional(window, b)
    mean = module.forecast(window, b, module.fuse(b, q_a.mean + q_a.scale * of_a)[:, 1], known)
    return [mean + module.conditional.log_scale_y.exp() * of_y]


def _sample_prior(rbf: Any, known: np.ndarray, rng: Any) -> np.ndarray:
    """Draws of all marginal latents, (n, n_factors * marginal_dim).

    From their prior, or around the prototype of the class where its code is `known`, not -1.
    """
    parts = (rbf.log_priors.exp(), rbf.centres, rbf.scales)
    arrays = [part.detach().cpu().double().numpy() for part in parts]
    n = len(known)
    blocks = [np.empty((n, 0))]
    for told, priors, centres, scales in zip(known.T, *arrays, strict=True):
        codes = np.where(told < 0, rng.choice(len(priors), n, p=priors / priors.sum()), told)
        noise = rng.standard_normal((n, centres.shape[1]))
        blocks.append(centres[codes] + scales[codes, None] * noise)
    return np.hstack(blocks)
