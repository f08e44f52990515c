"""The pieces the network is built of, small to large."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

MIN_SCALE = 0.1  # of a kernel and of a marginal posterior: neither can collapse to a point


class Gaussian(NamedTuple):
    """A diagonal Gaussian, e.g. the posterior of a latent."""

    mean: Tensor
    scale: Tensor

    def sample(self) -> Tensor:
        return self.mean + self.scale * torch.randn_like(self.scale)


class WindowNorm(nn.Module):
    """Instance norm: each channel of each window to mean 0 and standard deviation 1.

    ``min_scale``, in standard deviations of the training data, keeps a flat window flat
    instead of blowing its rounding noise up.
    """

    def __init__(self, min_scale: float = 1e-2):
        super().__init__()
        self.min_scale = min_scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level = x.mean(dim=1)  # (batch, channel)
        centred = x - level.unsqueeze(1)  # (batch, lookback, channel)
        scale = (centred.square().mean(dim=1) + self.min_scale**2).sqrt()  # (batch, channel)
        return centred / scale.unsqueeze(1), level, scale


class RBFLayer(nn.Module):
    r"""Prototypes of the classes of every factor: the kernels :math:`p(b_i | k_i)`.

    Each kernel is an isotropic Gaussian with a learnable centre and scale. The mixture of a
    factor's kernels, weighted with the empirical class priors, is the prior of its latent block,
    and the posterior of the mixture's components is the classifier
    :math:`r_{ik}(b) = \pi_{ik} p(b | k) / p(b)`. Factors with fewer classes than the largest are
    padded with components of prior 0.

    Parameters
    ----------
    priors : list of (n_classes,) tensors
        Class priors of each factor.
    dim : int
        Dimensions of each factor's latent block.
    """

    def __init__(self, priors: list[Tensor], dim: int):
        super().__init__()
        n_classes = max(map(len, priors), default=0)
        log_priors = torch.full((len(priors), n_classes), -math.inf)
        centres = torch.zeros(len(priors), n_classes, dim)
        for factor, prior in enumerate(priors):
            log_priors[factor, : len(prior)] = prior.log()
            centres[factor, : len(prior)] = spread_points(len(prior), dim)
        self.log_priors: Tensor
        self.register_buffer("log_priors", log_priors)  # (factor, class)
        self.centres = nn.Parameter(centres)  # (factor, class, dim)
        self.raw_scales = nn.Parameter(torch.full((len(priors), n_classes), 0.5))

    @property
    def scales(self) -> Tensor:  # (factor, class)
        return MIN_SCALE + nn.functional.softplus(self.raw_scales)

    def log_kernels(self, b: Tensor) -> Tensor:
        """``log p(b_i | k_i)`` of points b (batch, factor, dim), as (batch, factor, class)."""
        squared = (b.unsqueeze(2) - self.centres).square().sum(-1)  # (batch, factor, class)
        scales = self.scales
        log_norm = b.shape[-1] * (scales.log() + 0.5 * math.log(2 * math.pi))
        return -0.5 * squared / scales.square() - log_norm

    def log_posteriors(self, b: Tensor) -> Tensor:
        """``log r_ik(b)``, (batch, factor, class); padded classes have probability 0."""
        return (self.log_kernels(b) + self.log_priors).log_softmax(-1)


def spread_points(n: int, dim: int) -> Tensor:
    """Starting prototypes, some kernel widths apart: on a line in 1-D, else in random directions."""
    if dim == 1:
        return torch.linspace(-1, 1, n).unsqueeze(1) * n
    return 2.0 * torch.randn(n, dim)


class WindowEncoder(nn.Module):
    """Features of a window, at a cost linear in the number of channels.

    A linear map over time, shared by all channels, turns every channel into a few temporal
    features; a linear map over channels gathers them into a few channel groups; a residual
    network mixes the groups.
    """

    def __init__(self, lookback: int, n_channels: int, features: int, width: int, dropout: float):
        super().__init__()
        groups = channel_groups(n_channels)
        self.temporal = nn.Linear(lookback + 2, features)
        self.channel = nn.Parameter(torch.zeros(n_channels, features))
        self.gather = nn.Linear(n_channels, groups, bias=False)
        self.project = nn.Linear(groups * features, width)
        self.block = ResidualBlock(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, normed: Tensor, level: Tensor, scale: Tensor) -> Tensor:
        x = torch.cat([normed, level.unsqueeze(1), scale.log().unsqueeze(1)], dim=1)
        h = self.temporal(x.transpose(1, 2)) + self.channel  # (batch, channel, feature)
        h = nn.functional.gelu(h).transpose(1, 2)  # (batch, feature, channel)
        h = self.gather(h).flatten(1)  # (batch, feature * group)
        return self.block(self.dropout(self.project(h)))  # (batch, width)


class WindowDecoder(nn.Module):
    """The mirror image of `WindowEncoder`: features of a window to ``steps`` of each channel."""

    def __init__(self, width: int, features: int, steps: int, n_channels: int, dropout: float):
        super().__init__()
        groups = channel_groups(n_channels)
        self.block = ResidualBlock(width, dropout)
        self.project = nn.Linear(width, groups * features)
        self.scatter = nn.Linear(groups, n_channels, bias=False)
        self.channel = nn.Parameter(torch.zeros(n_channels, features))
        self.temporal = nn.Linear(features, steps)

    def forward(self, h: Tensor) -> Tensor:
        h = self.project(self.block(h)).unflatten(1, (-1, self.scatter.in_features))
        h = nn.functional.gelu(self.scatter(h).transpose(1, 2) + self.channel)
        return self.temporal(h).transpose(1, 2)  # (batch, step, channel)


def channel_groups(n_channels: int) -> int:
    return min(n_channels, 16)


class ResidualBlock(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.net = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        return h + self.net(self.norm(h))


class AttentionFusion(nn.Module):
    """Cross-attention: the learned query of each task attends over the tokens of all latents."""

    def __init__(self, n_tokens: int, n_tasks: int, width: int, n_heads: int = 4):
        super().__init__()
        self.n_heads = n_heads
        self.queries = nn.Parameter(torch.randn(n_tasks, width))
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def weights(self, tokens: Tensor) -> Tensor:
        """Attention of every task over the tokens, (batch, token, task, head)."""
        keys = self.key(tokens).unflatten(-1, (1, self.n_heads, -1))  # (batch, token, 1, head, d)
        queries = self.queries.unflatten(-1, (self.n_heads, -1))  # (task, head, d)
        scores = (keys * queries).sum(-1) / math.sqrt(queries.shape[-1])
        return scores.softmax(dim=1)

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.value(tokens).unflatten(-1, (1, self.n_heads, -1))
        fused = (self.weights(tokens).unsqueeze(-1) * values).sum(dim=1)  # (batch, task, head, d)
        return self.out(fused.flatten(2))  # (batch, task, width)


class ConcatFusion(nn.Module):
    """The ablation of `AttentionFusion`: a linear map of all tokens, one per task."""

    def __init__(self, n_tokens: int, n_tasks: int, width: int):
        super().__init__()
        self.n_tasks = n_tasks
        self.out = nn.Linear(n_tokens * width, n_tasks * width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(tokens.flatten(1)).unflatten(1, (self.n_tasks, -1))


class LinearPath(nn.Module):
    """The forecast's direct dependence on x: one linear map over time, shared by all channels.

    It continues a window from its level, ``level + W (x - level) + v level + c``, so that with
    all weights at zero the forecast is the level of the window.
    """

    def __init__(self, lookback: int, horizon: int):
        super().__init__()
        self.map = nn.Linear(lookback + 1, horizon)
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, centred: Tensor, level: Tensor) -> Tensor:
        x = torch.cat([centred, level.unsqueeze(1)], dim=1)  # (batch, lookback + 1, channel)
        return level.unsqueeze(1) + self.map(x.transpose(1, 2)).transpose(1, 2)
