"""What the forecast reads straight from the window, by linear maps."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from skdive.layers import NormedWindow

RANK = 32  # of the change that the latents make to the linear path
MAX_STEPS, MAX_CHANNELS = 64, 8  # components that the maps of classes read, and write


class LinearPath(nn.Module):
    """The forecast's direct view of x: one linear map over time that all channels share.

    It continues each channel from its level: ``level + W (x - level) + c``. With weights of zero it
    repeats the last step; `set_weights` starts it at a ridge regression.
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

    What follows from the shape of a window depends on when it is, who it is and what they do; a
    gate lets the latents turn a feature of the shape up, down or around.
    """

    def __init__(self, lookback: int, horizon: int, width: int):
        super().__init__()
        self.read = nn.Linear(lookback, RANK)
        self.gate = nn.Linear(width, RANK)
        self.write = nn.Linear(RANK, horizon)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def forward(self, window: NormedWindow, fused: Tensor) -> Tensor:
        gated = self.read(window.values) * self.gate(fused).unsqueeze(1)
        return window.scale.unsqueeze(2) * self.write(gated)  # (batch, channel, horizon)


class ClassRidge(nn.Module):
    """A second forecast, of ridge regressions: one over time, that all channels share, corrected
    by maps of all channels, one for all windows and one for each class of each factor.

    A map reads principal components of the steps and of the channels,
    and writes such components of the future; their weights come from a regression, see
    `skdive.ridge`.

    Parameters
    ----------
    x, y : Tensor of shape (batch, channel, step)
        Windows and futures, relative to the level of the window: what components are taken from.
    n_classes : list of int
        Classes of each factor.
    """

    constant = 3.0  # next to the components, for what a class adds in any case

    def __init__(self, ridge: LinearPath, x: Tensor, y: Tensor, n_classes: list[int]):
        super().__init__()
        self.ridge = ridge
        self.share = 0.5  # of the forecast
        self.steps: Tensor
        self.channels: Tensor
        self.future_steps: Tensor
        self.future_channels: Tensor
        self.weights: Tensor
        self.first: Tensor
        for name, part, size in (("", x, MAX_STEPS), ("future_", y, MAX_STEPS // 2)):
            self.register_buffer(f"{name}steps", components(part, 2, size))
            self.register_buffer(f"{name}channels", components(part, 1, MAX_CHANNELS))
        self.n_classes = [1, *n_classes]
        first = torch.tensor(self.n_classes).cumsum(0) - torch.tensor(self.n_classes)
        self.register_buffer("first", first)
        shape = sum(self.n_classes), self.n_features, self.steps_out * self.channels_out
        self.register_buffer("weights", x.new_zeros(shape))

    @property
    def n_features(self) -> int:
        return self.steps.shape[1] * self.channels.shape[1] + 1

    @property
    def steps_out(self) -> int:
        return self.future_steps.shape[1]

    @property
    def channels_out(self) -> int:
        return self.future_channels.shape[1]

    def read(self, window: NormedWindow) -> Tensor:
        """Components of windows, (batch, feature)."""
        change = window.x - window.level.unsqueeze(2)
        parts = self.channels.T @ (change @ self.steps)
        return nn.functional.pad(parts.flatten(1), (0, 1), value=self.constant)

    def condense(self, y: Tensor) -> Tensor:
        """Components of futures (batch, target, horizon), as (batch, component)."""
        return (self.future_channels.T @ (y @ self.future_steps)).flatten(1)

    def write(self, parts: Tensor) -> Tensor:
        """Futures (batch, target, horizon) of components."""
        parts = parts.unflatten(1, (self.channels_out, self.steps_out))
        return self.future_channels @ (parts @ self.future_steps.T)

    def of_factor(self, features: Tensor, factor: int, codes: Tensor) -> Tensor:
        """What the maps of the classes (batch,) of a factor add; nothing where a code is -1."""
        out = features.new_zeros(len(features), self.weights.shape[2])
        for k in codes.unique().tolist():
            if k >= 0:
                rows = (codes == k).nonzero().squeeze(1)
                out[rows] = features[rows] @ self.weights[self.first[factor] + k]
        return out

    def forward(self, window: NormedWindow, targets: NormedWindow, codes: Tensor) -> Tensor:
        """Forecast of the targets, given the class of each factor (batch, factor)."""
        features, codes = self.read(window), self.codes(codes)
        parts = [self.of_factor(features, f, column) for f, column in enumerate(codes.unbind(1))]
        return self.ridge(targets) + self.write(torch.stack(parts).sum(0))

    @staticmethod
    def codes(codes: Tensor) -> Tensor:
        """Classes (batch, 1 + factor), where the first factor has one class, of all windows."""
        return nn.functional.pad(codes, (1, 0))


def components(values: Tensor, axis: int, size: int) -> Tensor:
    """Principal components along an axis, orthonormal, (length of the axis, component)."""
    flat = values.transpose(axis, 2).flatten(0, 1)
    gram = (flat.T @ flat).double()
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(1)
    return vectors[:, : min(size, len(gram))].to(values)
