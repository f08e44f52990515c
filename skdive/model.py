"""What the network is: the DeepDIVE module."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from skdive.layers import (
    AttentionFusion,
    ConcatFusion,
    Gaussian,
    GaussianHead,
    LinearPath,
    RBFLayer,
    WindowDecoder,
    WindowEncoder,
    WindowNorm,
)

FUSIONS = {"attention": AttentionFusion, "concat": ConcatFusion}


class Outputs(NamedTuple):
    """What the heads say of a batch of windows."""

    reconstruction: Tensor  # (batch, channel, lookback)
    forecast: Tensor | None  # (batch, target, horizon)


class DeepDIVE(nn.Module):
    """The network: x to latents (b, a), and latents to reconstruction and forecast.

    Windows x are (batch, channel, lookback), futures (batch, target, horizon): the long dimension last,
    where memory is contiguous. All series are standardised: one unit is a standard deviation of the
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
        n_factors, shape = len(priors), (lookback, n_channels)
        n_tasks = 2 if horizon else 1
        self.n_factors, self.marginal_dim = n_factors, marginal_dim
        self.conditional_dim, self.horizon = conditional_dim, horizon
        self.sources: Tensor | None  # None: each target continues the channel of its number
        aligned = tuple(sources) == tuple(range(n_channels))
        self.register_buffer("sources", None if aligned else torch.tensor(sources))
        self.norm = WindowNorm()
        # The marginal path, trained in the marginal phase ...
        self.marginal = nn.Module()
        self.marginal.rbf = RBFLayer(priors, marginal_dim)
        if n_factors:
            self.marginal.encoder = WindowEncoder(*shape, width, dropout)
            self.marginal.head = GaussianHead(
                width, n_factors * marginal_dim, min_scale=RBFLayer.min_scale
            )
        # ... and everything else, trained in the conditional phase.
        self.conditional = nn.Module()
        if conditional_dim:
            self.conditional.encoder = WindowEncoder(*shape, width, dropout)
            self.conditional.head = GaussianHead(
                width + n_factors * marginal_dim, conditional_dim, min_scale=1e-3
            )
        dims = [marginal_dim] * n_factors + [conditional_dim] * bool(conditional_dim)
        self.conditional.tokens = nn.ModuleList(nn.Linear(dim, width) for dim in dims)
        self.conditional.fusion = FUSIONS[fusion](len(dims), n_tasks, width)
        self.conditional.reconstruct = WindowDecoder(*shape, width)
        self.conditional.log_scale_x = nn.Parameter(torch.full((n_channels, 1), -1.0))
        if horizon:
            self.conditional.forecast = WindowDecoder(horizon, len(sources), width)
            self.conditional.forecast.start_at_zero()
            self.conditional.linear = LinearPath(lookback, horizon) if linear_path else None
            self.conditional.log_scale_y = nn.Parameter(torch.full((horizon,), -1.0))

    def infer_marginals(self, x: Tensor) -> Gaussian:
        """``q(b_i | x)``, (batch, factor, dim)."""
        if not self.n_factors:
            return Gaussian(*(x.new_zeros(len(x), 0, self.marginal_dim) for _ in range(2)))
        blocks = (self.n_factors, self.marginal_dim)
        mean, scale = self.marginal.head(self.marginal.encoder(self.norm(x)))
        return Gaussian(mean.unflatten(1, blocks), scale.unflatten(1, blocks))

    def infer_conditional(self, x: Tensor, b: Tensor) -> Gaussian:
        """``q(a | x, b)``, (batch, dim): the features of x next to the blocks of b."""
        if not self.conditional_dim:
            return Gaussian(*(x.new_zeros(len(x), 0) for _ in range(2)))
        h = self.conditional.encoder(self.norm(x))
        return self.conditional.head(torch.cat([h, b.flatten(1)], dim=1))

    def infer(self, x: Tensor, codes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Latent means b (batch, factor, dim) and a (batch, dim) of windows.

        Blocks whose code (batch, factor) is not -1 are the prototype of that class instead.
        """
        b = self.infer_marginals(x).mean
        if codes is not None:
            b = torch.where(codes.unsqueeze(2) >= 0, self.marginal.rbf.prototypes(codes), b)
        return b, self.infer_conditional(x, b).mean

    def fuse(self, b: Tensor, a: Tensor) -> Tensor:
        """Join the F + 1 tokens of the latents into a vector per task, (batch, task, width)."""
        latents = [*b.unbind(1), *([a] if self.conditional_dim else [])]
        embedded = [embed(z) for embed, z in zip(self.conditional.tokens, latents, strict=True)]
        return self.conditional.fusion(torch.stack(embedded, dim=1))

    def decode(self, b: Tensor, a: Tensor) -> Tensor:
        """The mean of ``p(x | a, b)``: a window from its latents and nothing else."""
        return self.conditional.reconstruct(self.fuse(b, a)[:, 0])

    def heads(self, x: Tensor, b: Tensor, a: Tensor) -> Outputs:
        """The means of ``p(x | a, b)`` and ``p(y | a, b, x)``."""
        fused = self.fuse(b, a)
        reconstruction = self.conditional.reconstruct(fused[:, 0])
        if not self.horizon:
            return Outputs(reconstruction, None)
        x = x if self.sources is None else x[:, self.sources]
        window = self.norm(x)
        latent = self.conditional.forecast(fused[:, 1]) * window.scale.unsqueeze(2)
        linear = self.conditional.linear
        direct = window.level.unsqueeze(2) if linear is None else linear(x)
        return Outputs(reconstruction, direct + latent)

    def forward(self, x: Tensor, codes: Tensor | None = None) -> Outputs:
        """Reconstruction and forecast from latent means."""
        return self.heads(x, *self.infer(x, codes))
