"""What the forecast reads straight from the window, by linear maps."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from skdive.layers import NormedWindow

RANK = 32  # of the change that the latents make to the linear path
MAX_STEPS, MAX_FUTURE, MAX_CHANNELS = 64, 32, 8  # principal components that maps read and write
MAX_CLASSES = 64  # of a factor that has maps


class LinearPath(nn.Module):
    """The forecast's direct view of x: one linear map over time that all channels share.

    It continues each channel from its level: ``level + W (x - level) + c``. With weights of zero it
    repeats the last step; `set_weights` starts it at a ridge regression. The level itself has no
    weight: a series may drift to where it has never been.
    """

    def __init__(self, lookback: int, horizon: int):
        super().__init__()
        self.map = nn.Linear(lookback, horizon)
        self.set_weights(torch.zeros(lookback + 1, horizon))

    def set_weights(self, weights: Tensor) -> None:
        """Set weights (lookback + 1, horizon) of the steps and the bias."""
        with torch.no_grad():
            self.map.weight.copy_(weights[:-1].T)
            self.map.bias.copy_(weights[-1])

    def forward(self, window: NormedWindow) -> Tensor:
        change = window.scale.unsqueeze(2) * linear(window.values, self.map.weight) + self.map.bias
        return window.level.unsqueeze(2) + change  # (batch, channel, horizon)


class GatedPath(nn.Module):
    """How the latents change the linear path: ``U diag(g) V (x - level)``, with gates g of z.

    What follows from the shape of a window depends on when it is, or whose it is. A gate lets the
    latents turn up or down, or around, what a feature of the shape does to the future.
    """

    def __init__(self, lookback: int, horizon: int, width: int):
        super().__init__()
        self.read = nn.Linear(lookback, RANK)
        self.gate = nn.Linear(width, RANK)
        self.write = nn.Linear(RANK, horizon)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(self, window: NormedWindow, fused: Tensor) -> Tensor:
        gated = self.read(window.values) * self.gate(fused).unsqueeze(1)  # (batch, channel, rank)
        return window.scale.unsqueeze(2) * self.write(gated)  # (batch, channel, horizon)


class ClassRidge(nn.Module):
    """A second forecast, which is linear in x for windows of the same classes.

    The ridge regression that the linear path starts at, which all channels share, and maps from
    all channels to all targets on top of it: one for all windows, and one for each class of each
    factor. A map reads the first principal components of steps and channels, and writes such
    components of the future; `skdive.ridge` finds its weights.

    Parameters
    ----------
    start : LinearPath
        The ridge regression.
    x : Iterable of tensors of shape (batch, channel, lookback)
        Windows, as distances from their level, for principal components.
    y : Iterable of tensors of shape (batch, target, horizon)
        Their futures, as distances from that level.
    n_classes : list of int
        Classes of each factor. A factor with more than 64 has no maps.
    """

    constant = 3.0  # a feature next to the components, for what a class adds in any case
    steps: Tensor
    channels: Tensor
    future_steps: Tensor
    future_channels: Tensor
    weights: Tensor
    share: Tensor

    def __init__(
        self, start: LinearPath, x: Iterable[Tensor], y: Iterable[Tensor], n_classes: list[int]
    ):
        super().__init__()
        self.start = start
        for name, parts, n_steps in (("", x, MAX_STEPS), ("future_", y, MAX_FUTURE)):
            channels, steps = components(parts)
            self.register_buffer(f"{name}channels", channels[:, :MAX_CHANNELS])
            self.register_buffer(f"{name}steps", steps[:, :n_steps])
        # Of the forecast; the rest is that of the latents.
        self.register_buffer("share", self.steps.new_tensor(0.5))
        n_features = self.steps.shape[1] * self.channels.shape[1] + 1
        n_written = self.future_steps.shape[1] * self.future_channels.shape[1]
        # The class of all windows, and those of each factor.
        self.sizes = [1, *(n if n <= MAX_CLASSES else 0 for n in n_classes)]
        shape = sum(self.sizes), n_features, n_written
        self.register_buffer("weights", self.steps.new_zeros(shape))

    def maps(self, factor: int) -> Tensor:
        """Weights of the classes of a factor, (class, feature, component); 0 is of all windows."""
        return self.weights.split(self.sizes)[factor]

    def read(self, window: NormedWindow) -> Tensor:
        """Components of windows, (batch, feature)."""
        change = window.x - window.level.unsqueeze(2)
        parts = self.channels.T @ (change @ self.steps)
        return pad(parts.flatten(1), (0, 1), value=self.constant)

    def condense(self, y: Tensor) -> Tensor:
        """Components of futures (batch, target, horizon), (batch, component)."""
        return (self.future_channels.T @ (y @ self.future_steps)).flatten(1)

    def write(self, parts: Tensor) -> Tensor:
        """Futures (batch, target, horizon) of components."""
        parts = parts.unflatten(1, (-1, self.future_steps.shape[1]))
        return self.future_channels @ (parts @ self.future_steps.T)

    def add(self, factor: int, features: Tensor, codes: Tensor) -> Tensor:
        """What the maps of a factor add for classes (batch,), as components; 0 for code -1."""
        added = features.new_zeros(len(features), self.weights.shape[2])
        for k in codes.unique().tolist():
            if 0 <= k < self.sizes[factor]:
                rows = (codes == k).nonzero().squeeze(1)
                added[rows] = features[rows] @ self.maps(factor)[k]
        return added

    def forward(self, window: NormedWindow, targets: NormedWindow, codes: Tensor) -> Tensor:
        """Forecast (batch, target, horizon), given classes (batch, factor)."""
        features = self.read(window)
        added = torch.stack(
            [self.add(f, features, column) for f, column in enumerate(with_all(codes).unbind(1))]
        )
        return self.start(targets) + self.write(added.sum(0))


def with_all(codes: Tensor) -> Tensor:
    """Codes (batch, factor) after a factor with one class, that of all windows."""
    return pad(codes, (1, 0))


def components(parts: Iterable[Tensor]) -> list[Tensor]:
    """Principal components of channels and of steps, of tensors (batch, channel, step).

    They are the columns of orthonormal matrices, the first ones first.
    """
    grams = [torch.zeros(1, dtype=torch.float64)] * 2
    for part in parts:
        for i, flat in enumerate((part.transpose(1, 2).flatten(0, 1), part.flatten(0, 1))):
            grams[i] = grams[i] + (flat.T @ flat).cpu().double()
    return [torch.linalg.eigh(gram).eigenvectors.flip(1).to(part) for gram in grams]
