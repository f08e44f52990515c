"""What the network is made of: torch modules, from small to large."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, softplus

MAX_GROUPS = 16  # of channels, between the linear maps over time and over channels


class Gaussian(NamedTuple):
    """A diagonal Gaussian, such as the posterior of a latent."""

    mean: Tensor
    scale: Tensor

    def sample(self) -> Tensor:
        """Draw one reparametrised sample."""
        return self.mean + self.scale * torch.randn_like(self.scale)


class NormedWindow(NamedTuple):
    """Windows, and what they are relative to their own level and scale."""

    x: Tensor  # (batch, channel, lookback)
    values: Tensor  # (x - level) / scale
    level: Tensor  # (batch, channel)
    scale: Tensor  # (batch, channel)

    def of(self, channels: Tensor) -> "NormedWindow":
        """Only some of the channels."""
        return NormedWindow(*(part[:, channels] for part in self))


def norm_windows(x: Tensor, min_scale: float = 0.01) -> NormedWindow:
    """Instance norm: distances from the last step, in standard deviations of the window.

    Forecasts continue a window from where it ends, which is why the level is the last step, not
    the mean. `min_scale`, in standard deviations of the training data, keeps a flat window flat
    instead of blowing up its rounding errors.
    """
    level = x[..., -1]
    distance = x - level.unsqueeze(2)
    # Not torch.var, which is several times slower.
    mean_square = torch.linalg.vector_norm(distance, dim=2).square() / x.shape[2]
    variance = (mean_square - distance.mean(2).square()).clamp(min=0)
    scale = (variance + min_scale**2).sqrt()
    return NormedWindow(x, distance / scale.unsqueeze(2), level, scale)


class ChannelDropout(nn.Module):
    """Hide whole channels of some windows in training, so that none is relied upon alone."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:  # (batch, channel, feature)
        if not self.training or x.shape[1] == 1:
            return x
        kept = torch.rand(x.shape[0], x.shape[1], 1, dtype=x.dtype, device=x.device) >= self.p
        return x * (kept / (1 - self.p))


class WindowDropout(nn.Module):
    """Set some windows to zero in training, so that the rest has to do without them."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:  # (batch, channel, feature)
        if not self.training or not self.p:
            return x
        return x * (torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device) >= self.p)


class ResidualBlock(nn.Module):
    """``h + MLP(LayerNorm(h))``."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, h: Tensor) -> Tensor:  # (batch, width)
        return h + self.narrow(gelu(self.wide(self.norm(h))))


class WindowEncoder(nn.Module):
    """A window to a vector of features, at a cost linear in the number of channels.

    A linear map over time that all channels share, a linear map of channels to a few groups, and a
    residual block. Together the two maps are a linear map of the whole window of low rank, without
    a weight for each pair of time step and channel. Level and scale count as two more steps.
    """

    def __init__(
        self, lookback: int, n_channels: int, width: int, dropout: float, hide_place: float = 0.0
    ):
        super().__init__()
        groups, rank = min(n_channels, MAX_GROUPS), width // 2
        self.hide = ChannelDropout(0.3 if dropout else 0.0)
        self.hide_place = WindowDropout(hide_place)
        self.over_time = nn.Linear(lookback + 2, rank)
        self.over_channels = channel_map(n_channels, groups)
        self.mix = nn.Linear(rank * groups, width)
        self.dropout = nn.Dropout(dropout)
        self.block = ResidualBlock(width)

    def forward(self, window: NormedWindow) -> Tensor:
        of_steps, of_place = self.over_time.weight.split([window.x.shape[2], 2], dim=1)
        shape = self.hide(linear(window.values, of_steps))  # hidden where it is short
        place = self.hide_place(torch.stack([window.level, window.scale.log()], dim=2))
        h = self.over_channels(shape + linear(place, of_place, self.over_time.bias))
        return self.block(self.dropout(self.mix(h.flatten(1))))  # (batch, width)


class WindowDecoder(nn.Module):
    """The mirror image of `WindowEncoder`: features to ``steps`` values of every channel."""

    def __init__(self, steps: int, n_channels: int, width: int):
        super().__init__()
        groups, rank = min(n_channels, MAX_GROUPS), width // 2
        self.groups = groups
        self.block = ResidualBlock(width)
        self.mix = nn.Linear(width, rank * groups)
        self.over_channels = channel_map(groups, n_channels)
        self.over_time = nn.Linear(rank, steps)

    def start_at_zero(self) -> None:
        """Begin training with an output of zero."""
        nn.init.zeros_(self.over_time.weight)
        nn.init.zeros_(self.over_time.bias)

    def forward(self, h: Tensor) -> Tensor:
        h = self.mix(gelu(self.block(h))).unflatten(1, (self.groups, -1))  # (batch, group, rank)
        return self.over_time(self.over_channels(h))  # (batch, channel, step)


class ChannelMap(nn.Module):
    """A linear map over channels."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out, bias=False)

    def forward(self, h: Tensor) -> Tensor:  # (batch, channel, feature)
        return self.linear(h.transpose(1, 2)).transpose(1, 2)


def channel_map(n_in: int, n_out: int) -> nn.Module:
    """A map of channels to groups or back; nothing where each channel is a group."""
    return nn.Identity() if n_in == n_out else ChannelMap(n_in, n_out)


class GaussianHead(nn.Module):
    """A linear map of features to a Gaussian whose scale stays above ``min_scale``."""

    def __init__(self, width: int, dim: int, min_scale: float):
        super().__init__()
        self.linear = nn.Linear(width, 2 * dim)
        self.min_scale = min_scale

    def forward(self, h: Tensor) -> Gaussian:
        mean, raw_scale = self.linear(h).chunk(2, dim=-1)
        return Gaussian(mean, self.min_scale + softplus(raw_scale - 1))


def squared_distances(b: Tensor, centres: Tensor) -> Tensor:
    """Of blocks (batch, factor, dim) from centres (factor, class, dim): (batch, factor, class).

    As a matrix product, which takes a fraction of the time and memory of all differences.
    """
    b = b.to(centres.dtype)
    with torch.autocast(b.device.type, enabled=False):  # what is left of the sum is small
        product = torch.einsum("bfd,fkd->bfk", b, centres)
    squared = b.square().sum(-1, keepdim=True) + centres.square().sum(-1) - 2 * product
    return squared.clamp(min=0)


class RBFLayer(nn.Module):
    r"""The prototypes of all classes of all factors: kernels :math:`p(b_i | k_i)`.

    A kernel is an isotropic Gaussian around a learnable centre :math:`c_{ik}` (the prototype) with
    a learnable scale :math:`s_{ik}`. Weighted with the class priors, a factor's kernels form the
    prior of its latent block, :math:`p(b_i) = \sum_k \pi_{ik} p(b_i | k)`; the posterior of its
    components is the classifier :math:`r_{ik}(b) = \pi_{ik} p(b | k) / p(b)` of Theorem 1.

    Factors with fewer classes than the largest one are padded with classes of prior 0.
    """

    min_scale = 0.1  # a kernel cannot collapse to a point

    def __init__(self, priors: list[list[float]], dim: int):
        super().__init__()
        shape = len(priors), max(map(len, priors), default=0)
        self.log_priors: Tensor
        self.register_buffer("log_priors", torch.full(shape, -math.inf))  # (factor, class)
        self.centres = nn.Parameter(torch.zeros(*shape, dim))  # (factor, class, dim)
        self.raw_scales = nn.Parameter(torch.full(shape, 0.5))
        with torch.no_grad():
            for factor, prior in enumerate(priors):
                self.log_priors[factor, : len(prior)] = torch.tensor(prior).log()
                self._spread(self.centres[factor, : len(prior)], self.raw_scales[factor])

    def _spread(self, centres: Tensor, raw_scales: Tensor) -> None:
        """Start a factor's prototypes a few kernel scales apart, and b with values of order 1.

        Classes on a line are close to each other, and so their scales are small. A long line would
        take the encoder long to reach, and drown the other latents in the heads.
        """
        n, dim = centres.shape
        if dim > 1:
            centres.normal_(std=2)
            return
        centres[:, 0] = torch.linspace(-2, 2, n)
        half_way = 2 / max(n - 1, 1)  # to the next prototype
        raw_scales.fill_(math.log(math.expm1(max(half_way - self.min_scale, 0.01))))

    @property
    def scales(self) -> Tensor:
        """Scales of the kernels, (factor, class)."""
        return self.min_scale + softplus(self.raw_scales)

    def log_kernels(self, b: Tensor) -> Tensor:
        """``log p(b_i | k_i)`` of blocks b (batch, factor, dim), as (batch, factor, class)."""
        squared = squared_distances(b, self.centres)
        log_norm = b.shape[-1] * (self.scales.log() + 0.5 * math.log(2 * math.pi))
        return squared * (-0.5 / self.scales.square()) - log_norm

    def log_posteriors(self, b: Tensor) -> Tensor:
        """``log r_ik(b)`` of blocks b (batch, factor, dim), as (batch, factor, class)."""
        return (self.log_kernels(b) + self.log_priors).log_softmax(-1)

    def prototypes(self, codes: Tensor) -> Tensor:
        """Centres of the classes in codes (batch, factor), as (batch, factor, dim).

        Unknown classes, code -1, give whatever class comes first: mask them.
        """
        return self.centres[torch.arange(len(self.centres), device=codes.device), codes.clamp(0)]


class AttentionFusion(nn.Module):
    """Cross-attention: the learned query of each task attends over the tokens of all latents.

    The queries are parameters, so that the map to the keys can be joined with them, and tokens are
    averaged before they are mapped to values; both are the usual attention in a cheaper order.
    """

    def __init__(self, n_tokens: int, n_tasks: int, width: int, n_heads: int = 4):
        super().__init__()
        self.n_tokens, self.n_tasks, self.n_heads = n_tokens, n_tasks, n_heads
        # Small queries: training starts from equal attention to all tokens.
        self.queries = nn.Parameter(0.02 * torch.randn(n_tasks, width))
        self.key = nn.Linear(width, width, bias=False)  # one would move all scores alike
        self.value = nn.Linear(width, n_tasks * width)  # each task reads a token in its own way
        self.out = nn.Linear(width, width)

    def attention(self, tokens: Tensor) -> Tensor:
        """Weights (batch, token, task * head), which sum to 1 over the tokens."""
        queries = self.queries.unflatten(-1, (self.n_heads, -1))  # (task, head, d)
        key = self.key.weight.unflatten(0, (self.n_heads, -1))  # (head, d, width)
        asked = torch.einsum("qhd,hdw->qhw", queries, key).flatten(0, 1)
        return (linear(tokens, asked) / math.sqrt(queries.shape[-1])).softmax(dim=1)

    def forward(self, tokens: Tensor) -> Tensor:  # (batch, token, width)
        weights = self.n_tokens * self.attention(tokens)
        read = weights.transpose(1, 2) @ tokens  # (batch, task * head, width)
        value = self.value.weight.unflatten(0, (self.n_tasks * self.n_heads, -1))
        fused = torch.einsum("bqw,qdw->bqd", read, value).flatten(1)
        fused = fused + self.n_tokens * self.value.bias
        return self.out(fused.unflatten(1, (self.n_tasks, -1)))  # (batch, task, width)


class ConcatFusion(nn.Module):
    """The ablation of `AttentionFusion`: each task has a linear map of all tokens."""

    def __init__(self, n_tokens: int, n_tasks: int, width: int):
        super().__init__()
        self.n_tasks = n_tasks
        self.out = nn.Linear(n_tokens * width, n_tasks * width)

    def forward(self, tokens: Tensor) -> Tensor:  # (batch, token, width)
        return self.out(tokens.flatten(1)).unflatten(1, (self.n_tasks, -1))
