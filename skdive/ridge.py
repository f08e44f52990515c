"""Where the linear path starts: a ridge regression in closed form."""

import torch
from torch import Tensor

from skdive.batches import WindowBatches

MAX_ROWS = 1 << 17  # windows times channels, evenly spaced; more would not change the weights


def ridge_weights(data: WindowBatches, sources: Tensor | None) -> Tensor:
    """Weights of `LinearPath` that forecast best among linear maps, (lookback + 2, horizon).

    The normal equations are summed over the windows and channels of the training data; the
    penalty is chosen by generalised cross-validation (Golub, Heath and Wahba, 1979), which needs
    nothing but these sums.
    """
    n, dim = len(data), data.x.length + 1
    n_used = max(1, min(n, MAX_ROWS // data.x.n_channels))
    steps = torch.arange(n_used, device=data.x.device)
    index = steps * (n - 1) // max(1, n_used - 1)
    count, total = 0, torch.zeros(1, dtype=torch.float64)
    for rows in index.split(data.x.chunk):
        window, _, y = data.take(rows)
        assert y is not None
        x = window.x if sources is None else window.x[:, sources]
        level = x[..., -1:]
        parts = [x - level, level, y - level, torch.ones_like(level)]
        both = torch.cat(parts, dim=2).flatten(0, 1)
        total = total + (both.T @ both).double().cpu()
        count += len(both)
    mean = total[-1, :-1] / count
    gram = total[:-1, :-1] - count * torch.outer(mean, mean)  # centred: the bias goes unpenalised
    xx, xy, yy = gram[:dim, :dim], gram[:dim, dim:], gram[dim:, dim:].diagonal().sum()

    values, vectors = torch.linalg.eigh(xx)
    values = values.clamp(min=0)
    rotated = vectors.T @ xy  # (dim, horizon)
    penalties = torch.logspace(-2, 6, 33, dtype=torch.float64).unsqueeze(1)  # (penalty, 1)
    shrunk = 1 / (values + penalties)  # (penalty, dim)
    freedom = (values * shrunk).sum(1)
    explained = (rotated.square().sum(1) * (values + 2 * penalties) * shrunk.square()).sum(1)
    error = (yy - explained).clamp(min=0) / (1 - freedom / count).clamp(min=1e-6).square()
    weights = vectors @ (rotated * shrunk[error.argmin()].unsqueeze(1))
    bias = mean[dim:] - mean[:dim] @ weights
    return torch.cat([weights, bias.unsqueeze(0)])
