"""`DeepDIVEForecaster`: windows to their futures."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
)
from torch import Tensor

from skdive.base import BaseDeepDIVE
from skdive.batches import row_positions, standardise
from skdive.checks import check_parameters, check_windows
from skdive.layers import NormedWindow
from skdive.scoring import RunningR2
from skdive.watching import with_callbacks
from skdive.windows import Windows


class DeepDIVEForecaster(RegressorMixin, BaseDeepDIVE):
    """Forecast windows, through latents that are tied to what is known about them.

    A variational autoencoder for windows of a time series. Its *marginal* latents, a small block
    for each factor, are tied to labels of the window such as its hour or its machine; its
    *conditional* latents hold the rest. Cross-attention joins them, and two heads reconstruct the
    window and forecast what follows. Marginal and conditional path are trained in turn.

    Parameters
    ----------
    n_channels : int, default=None
        Channels in a two-dimensional array X, whose columns are time-major. None means 1;
        `Windows` and three-dimensional arrays say it themselves.
    marginal_dim : int, default=8
        Dimensions of the latent block of each factor. The paper has 1; more hold more classes.
    conditional_dim : int, default=32
        Dimensions of the conditional latent. 0 gives the marginal-only model, DeepDIVE-(b);
        `fit` without marginals gives the conditional-only model, DeepDIVE-(a).
    hidden_dim : int, default=128
        Width of the encoders, the tokens and the decoders; a multiple of 4.
    dropout : float, default=0.1
        Dropout in the encoders. Unless it is 0, they also hide 30 % of the channels in training.
    fusion : {"attention", "concat"}, default="attention"
        How latents are joined: cross-attention or, for an ablation, a linear map of all of them.
    linear_path : bool, default=True
        Whether the forecast sees the window through a linear map as well. It starts as a ridge
        regression in closed form. False gives the plain network of the paper.
    likelihood : {"laplace", "gaussian"}, default="laplace"
        Noise of reconstruction and forecast: absolute or squared errors.
    beta : float, default=0.1
        Weight of the KL divergences.
    missing_label : int, str, float or None, default=-1
        The label that means unknown, besides None and NaN.
    max_epochs : int, default=20
        Passes over the training data, at most.
    lr : float, default=0.002
        Learning rate of AdamW.
    batch_size : int, default=256
        Windows in a step of the optimiser.
    early_stopping : bool, default=True
        Whether to stop when the forecast of validation windows gets no better, and to restore the
        best weights.
    validation_fraction : float, default=0.1
        Share of the windows of each series, the newest, that are held out for this, unless `X_val`
        is passed. No training window overlaps them.
    n_iter_no_change : int, default=5
        Epochs without improvement after which training stops.
    device : str, default="auto"
        "auto" (CUDA if there is any), "cpu", "cuda", "cuda:1", "mps". "accelerate" trains one model
        in all the processes that `accelerate launch` or `torchrun` started: each is given all the
        data and takes its share of every batch.
    autocast : bool, default=False
        Whether the steps of training compute in bfloat16 where that is safe (`torch.autocast`);
        weights, validation and predictions stay in full precision. Faster on recent GPUs. Windows
        must be float32.
    compile : bool, default=False
        Whether to compile the steps of training with `torch.compile`, which takes half a minute at
        the start of the fit and needs a C++ compiler. Worth it for long fits.
    callbacks : list, default=None
        Callbacks of skorch, such as `Interleaving`.
    verbose : int, default=0
        Whether skorch prints a line per epoch.
    random_state : int, RandomState or None, default=None
        An int makes fits repeatable on one device.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net: `net_.history`, `net_.module_`.
    classes_ : list of ndarrays
        Classes of each factor.
    factor_names_ : tuple of str
        Names of the factors.
    prototypes_ : dict of ndarrays of shape (n_classes, marginal_dim)
        Prototypes of the classes of each factor.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Columns of X (steps of a window if X has three dimensions).
    feature_names_in_ : ndarray of str
        Column names of X, if it is a DataFrame.

    See Also
    --------
    DeepDIVEEncoder : Embeds windows for a classifier.
    sliding_windows : Makes X, y and marginals from series.

    References
    ----------
    Wong, Cheu, Chiam and Srinivasan, "Disentangled interleaving variational encoding",
    arXiv 2501.08710, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skdive import DeepDIVEForecaster, sliding_windows
    >>> index = pd.date_range("2024-01-01", periods=600, freq="h")
    >>> load = pd.DataFrame({"load": np.sin(np.arange(600) * 2 * np.pi / 24)}, index=index)
    >>> w = sliding_windows(load, lookback=48, horizon=12, marginals=["hour"])
    >>> train, test = w.split_at("2024-01-20")
    >>> model = DeepDIVEForecaster(max_epochs=2, random_state=0)
    >>> model = model.fit(train.X, train.y, marginals=train.marginals)
    >>> model.predict(test.X).shape
    (85, 12)
    >>> model.transform(test.X).shape
    (85, 40)
    """

    _monitor = "valid_forecast"

    def __init__(
        self,
        *,
        n_channels: int | None = None,
        marginal_dim: int = 8,
        conditional_dim: int = 32,
        hidden_dim: int = 128,
        dropout: float = 0.1,
        fusion: str = "attention",
        linear_path: bool = True,
        likelihood: str = "laplace",
        beta: float = 0.1,
        missing_label: Any = -1,
        max_epochs: int = 20,
        lr: float = 0.002,
        batch_size: int = 256,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        device: str = "auto",
        autocast: bool = False,
        compile: bool = False,
        callbacks: list | None = None,
        verbose: int = 0,
        random_state: Any = None,
    ):
        self.n_channels = n_channels
        self.marginal_dim = marginal_dim
        self.conditional_dim = conditional_dim
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.fusion = fusion
        self.linear_path = linear_path
        self.likelihood = likelihood
        self.beta = beta
        self.missing_label = missing_label
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.autocast = autocast
        self.compile = compile
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        marginals: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        marginals_val: Any = None,
    ) -> DeepDIVEForecaster:
        """Fit the model to windows and their futures.

        Parameters
        ----------
        X : Windows, or array-like or DataFrame of shape (n, lookback * n_channels) or \
                (n, lookback, n_channels)
            Windows, in order of time.
        y : Windows, or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
            What follows each window. As many targets as channels continue them in their order; of
            fewer, each continues the channel that it correlates with.
        marginals : array-like or DataFrame of shape (n,) or (n, n_factors), default=None
            Labels of the windows, ints or strings; unknown ones are `missing_label`, None or NaN.
        X_val, y_val, marginals_val : as X, y, marginals, default=None
            Validation data, in place of the newest windows of X.

        Returns
        -------
        self : DeepDIVEForecaster

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described.
        """
        check_parameters(self.get_params(deep=False))
        x = self._windows(X, reset=True)
        futures = self._futures(y, len(x), "y", reset=True)
        held_out = None
        if X_val is not None:
            if y_val is None:
                raise ValueError("X_val needs y_val, the futures of its windows; got None.")
            x_val = self._windows(X_val)
            held_out = (x_val, self._futures(y_val, len(x_val), "y_val"), marginals_val)
        elif y_val is not None or marginals_val is not None:
            raise ValueError("y_val and marginals_val belong to X_val, which is None.")
        is_array = not isinstance(X, Windows)
        positions = row_positions(x, futures.length) if is_array else x.starts
        self._fit(x, futures, marginals, positions, held_out)
        return self

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
            floats = y if y.dtype in (np.float32, np.float64) else y.astype(np.float64)
            futures = Windows.from_array(floats.reshape(len(y), y.shape[1] if ndim > 1 else 1, -1))
        check_consistent_length(range(n), range(len(futures)))
        shape = futures.length, futures.n_channels
        if reset:
            self._y_ndim, self._y_shape, self._y_names = ndim, shape, futures.names
        elif shape != self._y_shape:
            raise ValueError(
                f"{name} has {shape[0]} steps of {shape[1]} targets, but {self._y_shape[0]} steps "
                f"of {self._y_shape[1]} targets were fitted."
            )
        return futures

    def predict(self, X: Any, marginals: Any = None) -> Any:
        """Forecast what follows each window, from latent means.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.
        marginals : array-like or DataFrame of shape (n,) or (n, n_factors), default=None
            Labels known in advance, or supposed: their factors are set to the prototype of the
            label instead of being inferred from the window. Unknown labels leave them inferred.

        Returns
        -------
        y : ndarray of shape (n,), (n, horizon) or (n, horizon, n_targets)
            As `y` in `fit`; for `Windows` (n, horizon * n_targets), time-major. A frame if
            `set_output` asks for one and y has two dimensions.
        """
        check_is_fitted(self)
        windows = self._windows(X)
        known = [] if marginals is None else [self._codes(marginals, len(windows))]
        (y,) = self._collect(windows, _forecast, *known, undo=self._scale_y)
        if self._y_ndim == 3:
            return y
        y = y.ravel() if self._y_ndim == 1 else y.reshape(len(y), -1)
        return self._framed(y, X) if self._y_ndim == 2 else y

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
        if not isinstance(y, Windows) or len(y) < 2:
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        windows = self._windows(X)
        futures = self._futures(y, len(windows), "y")
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

        return pandas.DataFrame(y, columns=columns, index=getattr(X, "index", None))

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
            of the marginal latents. With `return_terms` a dict of arrays that add up to "elbo":
            "reconstruction", "forecast" (given y), "kl_marginal" and "kl_conditional".
        """
        check_is_fitted(self)
        windows = self._windows(X)
        future = None
        if y is not None:
            futures = self._futures(y, len(windows), "y")
            device = self._module.conditional.log_scale_x.device
            future = standardise(futures, self._scale_y, self.net_.dtype, device)
        return self._elbo(windows, future, return_terms)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _forecast(module: Any, window: NormedWindow, *codes: Tensor) -> list[Tensor]:
    return [module(window, *codes)]
