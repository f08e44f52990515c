"""The baselines of the paper: the same network without marginal latents, trained in one phase."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdive.futures import WindowForecaster
from skdive.objective import Objective, TotalCorrelationObjective
from skdive.parallel import Process
from skdive.watching import all_or_nothing, with_callbacks
from skdive.windows import Windows


class VAEForecaster(WindowForecaster):
    """Forecast windows with a plain variational autoencoder.

    The baseline of `DeepDIVEForecaster`, which knows no labels: one latent, inferred from the
    window, from which one head reconstructs the window and another forecasts what follows. Encoder,
    heads, linear path, weights of the likelihoods and training are those of `DeepDIVEForecaster`,
    so that a comparison is about the latent space; but without labels, the ridge regressions that
    join in the forecast are the same for all windows. All parameters are trained at once.

    Parameters
    ----------
    n_channels : int, default=None
        Channels in a two-dimensional array X, whose columns are time-major. None means 1;
        `Windows` and three-dimensional arrays say it themselves.
    latent_dim : int, default=32
        Dimensions of the latent.
    hidden_dim : int, default=128
        Width of the encoder and the decoders; a multiple of 4.
    dropout : float, default=0.1
        Dropout in the encoder. Unless it is 0, it also hides 30 % of the channels in training, and
        the level and scale of half of the windows.
    linear_path : bool, default=True
        Whether the forecast sees the window through linear maps as well, as that of
        `DeepDIVEForecaster` does.
    likelihood : {"laplace", "gaussian"}, default="laplace"
        Noise of reconstruction and forecast: absolute or squared errors.
    beta : float, default=1.0
        Weight of the KL divergence; 1 gives a nat of it the weight of a nat of the forecast, as in
        the evidence lower bound.
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
        Whether the steps of training compute in bfloat16 where that is safe (`torch.autocast`).
    compile : bool, default=False
        Whether to compile the steps of training with `torch.compile`.
    callbacks : list, default=None
        Callbacks of skorch.
    verbose : int, default=0
        Whether skorch prints a line per epoch.
    random_state : int, RandomState or None, default=None
        An int makes fits repeatable on one device.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net: `net_.history`, `net_.module_`.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Columns of X (steps of a window if X has three dimensions).
    feature_names_in_ : ndarray of str
        Column names of X, if it is a DataFrame.

    See Also
    --------
    BetaTCVAEForecaster : Presses the dimensions of the latent to be independent.
    DeepDIVEForecaster : Ties a part of the latents to labels.

    Notes
    -----
    The loss is that of `DeepDIVEForecaster`: the mean over the values of the forecast, 0.2 times
    the mean over the reconstructed values, and `beta` times the divergence over the number of both.
    So the reconstruction of long windows counts less than in the bound, and the forecast more.
    DeepDIVE-(a), which is `DeepDIVEForecaster` without marginals, has a `beta` of 0.1: with equal
    `beta` both are the same model.

    References
    ----------
    Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv 1312.6114.

    Higgins et al., "beta-VAE: learning basic visual concepts with a constrained variational
    framework", ICLR 2017, for a `beta` other than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive import VAEForecaster, sliding_windows
    >>> w = sliding_windows(np.sin(np.arange(600) * 2 * np.pi / 24), lookback=48, horizon=12)
    >>> model = VAEForecaster(latent_dim=4, max_epochs=2, random_state=0).fit(w.X, w.y)
    >>> model.predict(w.X).shape
    (541, 12)
    >>> model.transform(w.X).shape
    (541, 4)
    >>> model.sample_y(w.X, n_samples=5, random_state=0).shape
    (541, 12, 5)
    """

    def __init__(
        self,
        *,
        n_channels: int | None = None,
        latent_dim: int = 32,
        hidden_dim: int = 128,
        dropout: float = 0.1,
        linear_path: bool = True,
        likelihood: str = "laplace",
        beta: float = 1.0,
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
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.linear_path = linear_path
        self.likelihood = likelihood
        self.beta = beta
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
    def fit(self, X: Any, y: Any, X_val: Any = None, y_val: Any = None) -> VAEForecaster:
        """Fit the model to windows and their futures.

        Parameters
        ----------
        X : Windows, or array-like or DataFrame of shape (n, lookback * n_channels) or \
                (n, lookback, n_channels)
            Windows, in order of time.
        y : Windows, or array-like of shape (n,), (n, horizon) or (n, horizon, n_targets)
            What follows each window. As many targets as channels continue them in their order; of
            fewer, each continues the channel that it correlates with.
        X_val, y_val : as X, y, default=None
            Validation data, in place of the newest windows of X.

        Returns
        -------
        self : VAEForecaster or BetaTCVAEForecaster

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described.
        """
        self._fit(*self._given(X, y, X_val, y_val))
        return self

    def _network(self) -> dict[str, Any]:
        return {
            "priors": [],
            "conditional_dim": self.latent_dim,
            "linear_path": self.linear_path,
        }

    def _bound(self, windows: Windows, y: Any) -> dict[str, np.ndarray]:
        terms = super()._bound(windows, y)
        del terms["kl_marginal"]  # of no latents
        return terms


class BetaTCVAEForecaster(VAEForecaster):
    """Forecast windows with a beta-TCVAE, whose latent dimensions are pressed to be independent.

    A `VAEForecaster` with another weight on one of the three parts of the KL divergence: of the
    mutual information of window and latent, the *total correlation* between the dimensions of the
    latent, and the divergence of each dimension from its prior, `beta` weighs the second. All are
    estimated within each batch by minibatch-weighted sampling.

    Parameters
    ----------
    n_channels : int, default=None
        Channels in a two-dimensional array X, whose columns are time-major. None means 1;
        `Windows` and three-dimensional arrays say it themselves.
    latent_dim : int, default=32
        Dimensions of the latent.
    hidden_dim : int, default=128
        Width of the encoder and the decoders; a multiple of 4.
    dropout : float, default=0.1
        Dropout in the encoder. Unless it is 0, it also hides 30 % of the channels in training, and
        the level and scale of half of the windows.
    linear_path : bool, default=True
        Whether the forecast sees the window through linear maps as well, as that of
        `DeepDIVEForecaster` does.
    likelihood : {"laplace", "gaussian"}, default="laplace"
        Noise of reconstruction and forecast: absolute or squared errors.
    beta : float, default=6.0
        Weight of the total correlation; the other two parts have weight 1. 6 is what the authors
        train with on both of their data sets (https://github.com/rtqichen/beta-tcvae).
    max_epochs : int, default=100
        Passes over the training data, at most.
    lr : float, default=0.002
        Learning rate of AdamW.
    batch_size : int, default=128
        Windows in a step of the optimiser, and in an estimate of the total correlation; at least 2,
        in each process with `device="accelerate"`. The memory of a step grows with its square, and
        a step is not divided where windows are large.
    early_stopping : bool, default=True
        Whether to stop when the forecast of validation windows gets no better, and to restore the
        best weights.
    validation_fraction : float, default=0.1
        Share of the windows of each series, the newest, that are held out for this, unless `X_val`
        is passed. No training window overlaps them.
    n_iter_no_change : int, default=5
        Epochs without improvement after which training stops.
    device : str, default="auto"
        As in `VAEForecaster`. With "accelerate", each process estimates the total correlation from
        its own share of the batch, as if `batch_size` were that share.
    autocast : bool, default=False
        Whether the steps of training compute in bfloat16 where that is safe (`torch.autocast`).
    compile : bool, default=False
        Whether to compile the steps of training with `torch.compile`.
    callbacks : list, default=None
        Callbacks of skorch.
    verbose : int, default=0
        Whether skorch prints a line per epoch.
    random_state : int, RandomState or None, default=None
        An int makes fits repeatable on one device.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net: `net_.history`, `net_.module_`. The total correlation in the history is
        biased by a constant that grows with `latent_dim`.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Columns of X (steps of a window if X has three dimensions).
    feature_names_in_ : ndarray of str
        Column names of X, if it is a DataFrame.

    See Also
    --------
    VAEForecaster : Without the pressure.
    DeepDIVEForecaster : Ties a part of the latents to labels.

    Notes
    -----
    The loss is that of `VAEForecaster`, with the three parts in place of the divergence.

    References
    ----------
    Chen, Li, Grosse and Duvenaud, "Isolating sources of disentanglement in variational
    autoencoders", NeurIPS 2018, arXiv 1802.04942.

    Examples
    --------
    >>> import numpy as np
    >>> from skdive import BetaTCVAEForecaster, sliding_windows
    >>> w = sliding_windows(np.sin(np.arange(600) * 2 * np.pi / 24), lookback=48, horizon=12)
    >>> model = BetaTCVAEForecaster(latent_dim=4, max_epochs=2, random_state=0).fit(w.X, w.y)
    >>> model.predict(w.X).shape
    (541, 12)
    """

    def __init__(
        self,
        *,
        n_channels: int | None = None,
        latent_dim: int = 32,
        hidden_dim: int = 128,
        dropout: float = 0.1,
        linear_path: bool = True,
        likelihood: str = "laplace",
        beta: float = 6.0,
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
        super().__init__(
            n_channels=n_channels,
            latent_dim=latent_dim,
            hidden_dim=hidden_dim,
            dropout=dropout,
            linear_path=linear_path,
            likelihood=likelihood,
            beta=beta,
            max_epochs=max_epochs,
            lr=lr,
            batch_size=batch_size,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            device=device,
            autocast=autocast,
            compile=compile,
            callbacks=callbacks,
            verbose=verbose,
            random_state=random_state,
        )

    def _objective(self, n_windows: int, process: Process) -> Objective:
        if self.batch_size < 2 * process.size:
            raise ValueError(
                "the total correlation is estimated between the windows of a batch: batch_size "
                f"must be at least {2 * process.size}, 2 for each process, got {self.batch_size}."
            )
        return TotalCorrelationObjective(self.likelihood, self.beta, n_windows)
