"""Where the linear path starts: a ridge regression in closed form."""

import torch
from torch import Tensor

from skdive.batches import WindowBatches
from skdive.layers import LinearPath

MAX_WINDOWS = 1 << 14  # evenly spaced; more would not change the weights


def ridge_weights(data: WindowBatches, sources: Tensor | None, batch_size: int = 2048) -> Tensor:
    """Weights of `LinearPath` that forecast best among linear maps, (lookback + 2, horizon).

    The normal equations are summed over the windows and channels of the training data; the
    penalty is chosen by generalised cross-validation (Golub, Heath and Wahba, 1979), which needs
    nothing but these sums.
    """
    n, dim = len(data), data.x.length + 1
    n_used = min(n, MAX_WINDOWS)
    steps = torch.arange(n_used, device=data.x.device)
    index = steps * (n - 1) // max(1, n_used - 1)
    count, sums = 0, []
    for rows in index.split(min(batch_size, 2 * data.x.chunk)):  # a bounded number of values
        batch = data.take(rows)
        x = batch.inputs["x"] if sources is None else batch.inputs["x"][:, sources]
        assert batch.y is not None
        residual = batch.y - x[..., -1:]  # (batch, channel, horizon)
        both = torch.cat([LinearPath.inputs(x), residual], dim=2).flatten(0, 1)
        ones = torch.ones(len(both), 1, dtype=both.dtype, device=both.device)
        both = torch.cat([both, ones], dim=1)
        sums.append((both.T @ both).double().cpu())
        count += len(both)
    total = torch.stack(sums).sum(0)
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
