"""`DeepDIVEForecaster`: windows to their futures."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skdive.futures import WindowForecaster
from skdive.marginals import BaseDeepDIVE
from skdive.watching import all_or_nothing, with_callbacks


class DeepDIVEForecaster(WindowForecaster, BaseDeepDIVE):
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
        Dropout in the encoders. Unless it is 0, they also hide 30 % of the channels in training,
        and the level and scale of half of the windows.
    fusion : {"attention", "concat"}, default="attention"
        How latents are joined: cross-attention or, for an ablation, a linear map of all of them.
    linear_path : bool, default=True
        Whether the forecast sees the window through linear maps as well: one that starts as a
        ridge regression and that the latents gate, and, where windows are held out, ridge
        regressions for each class of each factor. False gives the plain network of the paper.
    likelihood : {"laplace", "gaussian"}, default="laplace"
        Noise of reconstruction and forecast: absolute or squared errors.
    beta : float, default=0.1
        Weight of the KL divergences.
    missing_label : int, str, float or None, default=-1
        The label that means unknown, besides None and NaN.
    max_epochs : int, default=100
        Passes over the training data, at most.
    lr : float, default=0.002
        Learning rate of AdamW.
    batch_size : int, default=128
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
        "auto" (CUDA if there is any), "cpu", "cuda", "cuda:1". "accelerate" trains one model in all
        the processes that `accelerate launch` or `torchrun` started: each is given all the data and
        takes its share of every batch.
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
    VAEForecaster, BetaTCVAEForecaster : Baselines on the same network.
    sliding_windows : Makes X, y and marginals from series.

    Notes
    -----
    The ablations of the paper are settings: `fit` without marginals is DeepDIVE-(a), conditional
    latents only, and `conditional_dim=0` is DeepDIVE-(b), marginal latents only.

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
        max_epochs: int = 100,
        lr: float = 0.002,
        batch_size: int = 128,
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
    @all_or_nothing
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
        self._fit(*self._given(X, y, X_val, y_val, marginals, marginals_val))
        return self

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
        return self._forecast(windows, X, *known)

    def sample(
        self, n_samples: int = 1, random_state: Any = None, *, marginals: Any = None
    ) -> np.ndarray:
        """Draw windows from the model: latents from their prior, decoded, with noise.

        Parameters
        ----------
        n_samples : int, default=1
            Windows to draw.
        random_state : int, RandomState or None, default=None
            An int makes the draw repeatable.
        marginals : array-like or DataFrame of shape (n_samples,) or (n_samples, n_factors), \
                default=None
            Labels that the windows are to have. Unknown ones are drawn, as often as `fit` saw them.

        Returns
        -------
        X : ndarray of shape (n_samples, lookback * n_channels) or (n_samples, lookback, n_channels)
            Windows in the units of `fit`, with as many dimensions as there. `inverse_transform`
            decodes latents without the noise.
        """
        check_is_fitted(self)
        return self._sample(n_samples, random_state, marginals)

    def sample_y(
        self, X: Any, n_samples: int = 1, random_state: Any = None, *, marginals: Any = None
    ) -> np.ndarray:
        """Draw futures of windows: latents from their posterior, forecasts with noise.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.
        n_samples : int, default=1
            Futures to draw of each window.
        random_state : int, RandomState or None, default=None
            An int makes the draw repeatable.
        marginals : array-like or DataFrame of shape (n,) or (n, n_factors), default=None
            Labels known in advance, or supposed, as in `predict`.

        Returns
        -------
        y : ndarray of shape (n, n_samples), (n, horizon, n_samples) or \
                (n, horizon, n_targets, n_samples)
            As `predict`, with the samples along the last axis. The steps of a future share its
            latents; given these, their noise is independent.
        """
        check_is_fitted(self)
        return self._sample_y(X, n_samples, random_state, marginals)
