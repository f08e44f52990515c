"""What the network is: the DeepDIVE module."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skdive.layers import (
    AttentionFusion,
    ConcatFusion,
    Gaussian,
    GaussianHead,
    NormedWindow,
    RBFLayer,
    WindowDecoder,
    WindowEncoder,
)
from skdive.linear import RANK, ClassRidge, GatedPath, LinearPath

FUSIONS: dict[str, Callable[..., nn.Module]] = {
    "attention": AttentionFusion,
    "concat": ConcatFusion,
}


class Outputs(NamedTuple):
    """What the heads say of a batch of windows."""

    reconstruction: Tensor  # (batch, channel, lookback)
    forecast: Tensor | None  # (batch, target, horizon)


class MarginalPath(nn.Module):
    """What the marginal phase trains: encoder, posterior and prototypes of the blocks b_i."""

    def __init__(
        self,
        shape: tuple[int, int],
        priors: list[list[float]],
        dim: int,
        width: int,
        dropout: tuple[float, float],
    ):
        super().__init__()
        self.rbf = RBFLayer(priors, dim)
        if priors:
            self.encoder = WindowEncoder(*shape, width, *dropout)
            self.head = GaussianHead(width, len(priors) * dim, min_scale=RBFLayer.min_scale)


class ConditionalPath(nn.Module):
    """What the conditional phase trains: encoder and posterior of a, fusion and heads."""

    def __init__(
        self,
        shape: tuple[int, int],
        dims: list[int],
        conditional_dim: int,
        future: tuple[int, int],
        width: int,
        dropout: tuple[float, float],
        fusion: str,
        linear_path: bool,
    ):
        super().__init__()
        lookback, n_channels = shape
        horizon, n_targets = future
        if conditional_dim:
            self.encoder = WindowEncoder(lookback, n_channels, width, *dropout)
            known = width + sum(dims) - conditional_dim  # features of x, next to all of b
            self.head = GaussianHead(known, conditional_dim, min_scale=1e-3)
        self.tokens = nn.ModuleList(nn.Linear(dim, width) for dim in dims)
        self.fusion = FUSIONS[fusion](len(dims), 2 if horizon else 1, width)
        self.reconstruct = WindowDecoder(lookback, n_channels, width)
        self.log_scale_x = nn.Parameter(torch.full((n_channels, 1), -1.0))
        self.linear: LinearPath | None = None
        if horizon:
            self.forecast = WindowDecoder(horizon, n_targets, width)
            self.forecast.start_at_zero()
            self.log_scale_y = nn.Parameter(torch.full((1, horizon), -1.0))
            if linear_path:
                self.linear = LinearPath(lookback, horizon)
                self.gated = GatedPath(lookback, horizon, width)


class DeepDIVE(nn.Module):
    """The network: x to latents (b, a), and latents to reconstruction and forecast.

    Windows x are (batch, channel, lookback), futures (batch, target, horizon): time last, where
    memory is contiguous. All series are standardised: one unit is a standard deviation of the
    training data.

    Parameters
    ----------
    lookback, n_channels : int
        Shape of a window x.
    priors : list of lists of float
        Class priors of each factor. Empty for the conditional-only model, DeepDIVE-(a).
    horizon : int
        Steps of the forecast; 0 for a network that only reconstructs.
    sources : sequence of int
        The channel of x that each target continues.
    marginal_dim : int
        Dimensions of the latent block of a factor.
    conditional_dim : int
        Dimensions of the conditional latent. 0 for the marginal-only model, DeepDIVE-(b).
    width : int
        Width of encoders, tokens and decoders.
    dropout : float
        Dropout in the encoders.
    fusion : {"attention", "concat"}
        How the tokens of the latents are joined.
    linear_path : bool
        Whether the forecast also sees x through a linear map.
    """

    def __init__(
        self,
        lookback: int,
        n_channels: int,
        priors: list[list[float]],
        horizon: int = 0,
        sources: tuple[int, ...] = (),
        marginal_dim: int = 8,
        conditional_dim: int = 32,
        width: int = 128,
        dropout: float = 0.1,
        fusion: str = "attention",
        linear_path: bool = True,
    ):
        super().__init__()
        shape = (lookback, n_channels)
        self.n_factors, self.marginal_dim = len(priors), marginal_dim
        self.n_classes = [len(prior) for prior in priors]
        self.conditional_dim, self.horizon = conditional_dim, horizon
        self.sources: Tensor | None  # None: each target continues the channel of its number
        aligned = tuple(sources) == tuple(range(n_channels))
        self.register_buffer("sources", None if aligned else torch.tensor(sources))
        self.ridge: ClassRidge | None = None  # a second forecast, after training
        # A forecast is not to depend on the level of the series, which drifts; labels may.
        dropouts = dropout, 0.5 if dropout and horizon else 0.0
        self.marginal = MarginalPath(shape, priors, marginal_dim, width, dropouts)
        dims = [marginal_dim] * len(priors) + [conditional_dim] * bool(conditional_dim)
        self.conditional = ConditionalPath(
            shape,
            dims,
            conditional_dim,
            (horizon, len(sources)),
            width,
            dropouts,
            fusion,
            linear_path,
        )
        self.largest = max(  # values of a window in the largest tensor, which bound memory
            n_channels * max(lookback, width // 2),
            len(sources) * max(horizon, width // 2, RANK if linear_path else 0),
            width * max(8, len(dims)),  # four heads of two tasks, 16 groups of channels, tokens
            self.marginal.rbf.log_priors.numel(),
        )

    def infer_marginals(self, window: NormedWindow) -> Gaussian:
        """``q(b_i | x)``, (batch, factor, dim)."""
        if not self.n_factors:
            empty = window.x.new_zeros(len(window.x), 0, self.marginal_dim)
            return Gaussian(empty, empty)
        blocks = (self.n_factors, self.marginal_dim)
        mean, scale = self.marginal.head(self.marginal.encoder(window))
        return Gaussian(mean.unflatten(1, blocks), scale.unflatten(1, blocks))

    def infer_conditional(self, window: NormedWindow, b: Tensor) -> Gaussian:
        """``q(a | x, b)``, (batch, dim): the features of x next to the blocks of b."""
        if not self.conditional_dim:
            empty = window.x.new_zeros(len(window.x), 0)
            return Gaussian(empty, empty)
        h = self.conditional.encoder(window)
        return self.conditional.head(torch.cat([h, b.flatten(1)], dim=1))

    def infer(self, window: NormedWindow, codes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent means b (batch, factor, dim) and a (batch, dim) of windows.

        Blocks whose code (batch, factor) is not -1 are the prototype of that class instead.
        """
        b = self.infer_marginals(window).mean
        if codes is not None:
            b = self.told(b, codes)
        return b, self.infer_conditional(window, b).mean

    def told(self, b: Tensor, codes: Tensor) -> Tensor:
        """Blocks b, but prototypes where the code of a class is known, not -1."""
        return torch.where(codes.unsqueeze(2) >= 0, self.marginal.rbf.prototypes(codes), b)

    def fuse(self, b: Tensor, a: Tensor) -> Tensor:
        """Join the F + 1 tokens of the latents into a vector per task, (batch, task, width)."""
        latents = [*b.unbind(1), *([a] if self.conditional_dim else [])]
        embedded = [embed(z) for embed, z in zip(self.conditional.tokens, latents, strict=True)]
        return self.conditional.fusion(torch.stack(embedded, dim=1))

    def decode(self, b: Tensor, a: Tensor) -> Tensor:
        """The mean of ``p(x | a, b)``: a window from its latents and nothing else."""
        return self.conditional.reconstruct(self.fuse(b, a)[:, 0])

    def forecast(
        self, window: NormedWindow, b: Tensor, fused: Tensor, codes: Tensor | None = None
    ) -> Tensor:
        """The mean of ``p(y | a, b, x)``, where `fused` is the latents' vector for this task.

        What `codes` (batch, factor) does not say, where it is -1, b does.
        """
        forecast = self.conditional.forecast(fused)
        if self.conditional.linear is None:
            return forecast
        targets = self.targets(window)
        forecast = forecast * targets.scale.unsqueeze(2)
        forecast = forecast + self.conditional.gated(targets, fused)
        forecast = forecast + self.conditional.linear(targets)
        if self.ridge is None:
            return forecast
        told = self.classes(b)
        if codes is not None:
            told = torch.where(codes >= 0, codes, told)
        return forecast.lerp(self.ridge(window, targets, told), self.ridge.share)

    def targets(self, window: NormedWindow) -> NormedWindow:
        """The channels of a window that are forecast."""
        return window if self.sources is None else window.of(self.sources)

    def classes(self, b: Tensor) -> Tensor:
        """The class of each factor that blocks b (batch, factor, dim) tell, (batch, factor)."""
        if not self.n_factors:
            return torch.empty(len(b), 0, dtype=torch.int64, device=b.device)
        return self.marginal.rbf.log_posteriors(b).argmax(2)

    def heads(self, window: NormedWindow, b: Tensor, a: Tensor) -> Outputs:
        """The means of ``p(x | a, b)`` and ``p(y | a, b, x)``."""
        fused = self.fuse(b, a)
        reconstruction = self.conditional.reconstruct(fused[:, 0])
        if not self.horizon:
            return Outputs(reconstruction, None)
        return Outputs(reconstruction, self.forecast(window, b, fused[:, 1]))

    def forward(self, window: NormedWindow, codes: Tensor | None = None) -> Tensor:
        """Forecast from latent means."""
        b, a = self.infer(window, codes)
        return self.forecast(window, b, self.fuse(b, a)[:, 1], codes)
