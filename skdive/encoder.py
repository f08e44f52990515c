"""`DeepDIVEEncoder`: windows to an embedding, guided by class labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdive.checks import check_parameters
from skdive.holdout import row_positions
from skdive.layers import NormedWindow
from skdive.marginals import BaseDeepDIVE
from skdive.watching import all_or_nothing, with_callbacks
from skdive.windows import Windows


class DeepDIVEEncoder(BaseDeepDIVE):
    """Embed windows, with latents that are tied to class labels.

    A transformer for pipelines that end in a classifier. It learns to reconstruct windows from
    *marginal* latents, a small block for each factor of `y`, and *conditional* latents, which hold
    the rest; and to tell the labels apart by the prototypes of the marginal latents. Labels may be
    partly unknown, and several factors may be given at once, such as activity and person.

    Parameters
    ----------
    n_channels : int, default=None
        Channels in a two-dimensional array X, whose columns are time-major. None means 1;
        `Windows` and three-dimensional arrays say it themselves.
    horizon : int, default=0
        Last steps of each window that the model forecasts from those before, next to
        reconstructing the latter; the embedding then is that of the steps before.
    marginal_dim : int, default=8
        Dimensions of the latent block of each factor. The paper has 1; more hold more classes.
    conditional_dim : int, default=32
        Dimensions of the conditional latent. 0 gives the marginal-only model, DeepDIVE-(b);
        `fit` without labels gives the conditional-only model, DeepDIVE-(a).
    hidden_dim : int, default=128
        Width of the encoders, the tokens and the decoders; a multiple of 4.
    dropout : float, default=0.1
        Dropout in the encoders. Unless it is 0, they also hide 30 % of the channels in training
        and, with a `horizon`, the level and scale of half of the windows.
    fusion : {"attention", "concat"}, default="attention"
        How latents are joined: cross-attention or, for an ablation, a linear map of all of them.
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
    batch_size : int, default=128
        Windows in a step of the optimiser.
    early_stopping : bool, default=False
        Whether to stop when the loss of validation windows gets no better, and to restore the best
        weights. Off, because the newest rows of labelled windows are often of one class.
    validation_fraction : float, default=0.1
        Share of the windows of each series, the newest, that are held out for this.
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
    DeepDIVEForecaster : Forecasts windows.

    References
    ----------
    Wong, Cheu, Chiam and Srinivasan, "Disentangled interleaving variational encoding",
    arXiv 2501.08710, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdive import DeepDIVEEncoder
    >>> rng = np.random.default_rng(0)
    >>> fast = np.repeat([False, True], 100)
    >>> phase = rng.uniform(0, 2 * np.pi, size=(200, 1))
    >>> X = np.sin(np.where(fast, 0.6, 0.3)[:, None] * np.arange(40) + phase)
    >>> model = make_pipeline(DeepDIVEEncoder(random_state=0), LogisticRegression())
    >>> model.fit(X[::2], fast[::2]).score(X[1::2], fast[1::2])
    1.0
    """

    def __init__(
        self,
        *,
        n_channels: int | None = None,
        horizon: int = 0,
        marginal_dim: int = 8,
        conditional_dim: int = 32,
        hidden_dim: int = 128,
        dropout: float = 0.1,
        fusion: str = "attention",
        likelihood: str = "laplace",
        beta: float = 0.1,
        missing_label: Any = -1,
        max_epochs: int = 20,
        lr: float = 0.002,
        batch_size: int = 128,
        early_stopping: bool = False,
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
        self.horizon = horizon
        self.marginal_dim = marginal_dim
        self.conditional_dim = conditional_dim
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.fusion = fusion
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
        y: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> DeepDIVEEncoder:
        """Fit the model to windows and their labels.

        Parameters
        ----------
        X : Windows, or array-like or DataFrame of shape (n, lookback * n_channels) or \
                (n, lookback, n_channels)
            Windows.
        y : array-like or DataFrame of shape (n,) or (n, n_factors), default=None
            Labels of the windows, ints or strings; unknown ones are `missing_label`, None or NaN.
        X_val, y_val : as X, y, default=None
            Validation data, in place of the newest windows of X.

        Returns
        -------
        self : DeepDIVEEncoder

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data is not as described.
        """
        check_parameters(self.get_params(deep=False))
        self._horizon = self.horizon
        x, future = self._parts(X, reset=True)
        held_out = None
        if X_val is not None:
            held_out = (*self._parts(X_val), y_val)
        elif y_val is not None:
            raise ValueError("y_val belongs to X_val, which is None.")
        positions = x.starts if isinstance(X, Windows) else row_positions(x, self._horizon)
        self._fit(x, future, y, positions, held_out)
        return self

    def _parts(self, X: Any, reset: bool = False) -> tuple[Windows, Windows | None]:
        """Check X; what the model encodes of its windows, and what it forecasts of them."""
        windows = super()._windows(X, reset=reset)
        if not self._horizon:
            return windows, None
        lookback = windows.length - self._horizon
        if lookback < 1:
            raise ValueError(
                f"horizon must be less than the {windows.length} steps of a window, got "
                f"{self._horizon}."
            )
        return windows.steps(0, lookback), windows.steps(lookback, windows.length)

    def _windows(self, X: Any, *, reset: bool = False) -> Windows:
        return self._parts(X, reset)[0]

    def reconstruct(self, X: Any) -> np.ndarray:
        """Show windows as the model sees them: encoded and decoded again.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.

        Returns
        -------
        X_hat : ndarray of the shape of X
            The last `horizon` steps are forecast from those before.
        """
        check_is_fitted(self)
        if not self._horizon:
            return super().reconstruct(X)
        windows = self._windows(X)

        def steps(module: Any, window: NormedWindow) -> list[Tensor]:
            return [torch.cat(module.heads(window, *module.infer(window)), dim=2)]

        (x,) = self._collect(windows, steps, undo=self._scale_x)
        return x.reshape(np.shape(X))

    def score_samples(self, X: Any, *, return_terms: bool = False) -> Any:
        """Evidence lower bound of each window: low where a window is unusual.

        Parameters
        ----------
        X : Windows, array-like or DataFrame
            Windows, in the form and units of `fit`.
        return_terms : bool, default=False
            Whether to return the terms of the bound as well.

        Returns
        -------
        elbo : ndarray of shape (n,)
            The bound of Proposition 1 in nats, for densities of standardised values, with
            expectations taken at the latent means and the bound of Theorem 1 for the KL divergence
            of the marginal latents; of the steps that are reconstructed. With `return_terms` a dict
            of arrays that add up to "elbo": "reconstruction", "kl_marginal" and "kl_conditional".
        """
        check_is_fitted(self)
        return self._elbo(self._windows(X), None, return_terms)
