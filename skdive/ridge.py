"""Ridge regressions in closed form: the start of the linear path, and the maps of classes."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from skdive.batches import Batch, WindowBatches
from skdive.maps import ClassRidge, LinearPath
from skdive.model import DeepDIVE

MAX_WINDOWS, MAX_HELD_OUT = 1 << 16, 1 << 14  # evenly spaced, for the maps of classes
MAX_ROWS = 1 << 17  # windows times channels, evenly spaced; more would not change the weights


def ridge_weights(data: WindowBatches, sources: Tensor | None) -> Tensor:
    """Weights of `LinearPath` that forecast best among linear maps, (lookback + 1, horizon).

    The normal equations are summed over the windows and channels of the training data; the
    penalty is chosen by generalised cross-validation (Golub, Heath and Wahba, 1979), which needs
    nothing but these sums.
    """
    dim = data.x.length
    count, total = 0, torch.zeros(1, dtype=torch.float64)
    for window, _, y in evenly_spaced(data, MAX_ROWS // data.x.n_channels):
        assert y is not None
        x = window.x if sources is None else window.x[:, sources]
        level = x[..., -1:]
        parts = [x - level, y - level, torch.ones_like(level)]
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


def evenly_spaced(data: WindowBatches, at_most: int) -> Iterator[Batch]:
    """Some windows of a data set, in batches."""
    n_used = max(1, min(len(data), at_most))
    index = torch.arange(n_used, device=data.x.device) * (len(data) - 1) // max(1, n_used - 1)
    return map(data.take, index.split(data.x.chunk))


@torch.no_grad()
def fit_class_ridge(
    module: DeepDIVE,
    ridge: LinearPath,
    train: WindowBatches,
    valid: WindowBatches,
    loss: Callable[[Tensor], Tensor],
) -> ClassRidge | None:
    """Maps of classes whose forecast, in the mean with that of the latents, is the best.

    One factor after the other, the errors of what comes before are regressed on the windows of
    each class. Its penalty, up to infinity, is the best on `valid`, where the network has to tell
    the classes.
    """
    first = next(evenly_spaced(train, 4096))
    assert first.y is not None
    x = first.window.x - first.window.level.unsqueeze(2)
    y = first.y - module.targets(first.window).level.unsqueeze(2)
    n_classes = module.marginal.rbf.log_priors.isfinite().sum(1).tolist()
    maps = ClassRidge(ridge, x, y, n_classes)
    features, codes, of_latents, error = _held_out(module, maps, valid)
    best = loss((of_latents + error) / 2).mean()
    for factor, n in enumerate(maps.n_classes):
        values, vectors, rotated = _regressions(module, maps, train, factor, n)
        import os
        if os.environ.get('DBG'): print('   dbg', factor, 'best so far', float(best))
        classes = slice(maps.first[factor], maps.first[factor] + n)
        chosen = None
        for penalty in torch.logspace(0, 7, 22, dtype=torch.float64):
            weights = vectors @ (rotated / (values + penalty).unsqueeze(2))
            maps.weights[classes] = weights.to(maps.weights)
            added = maps.write(maps.of_factor(features, factor, codes[:, factor]))
            found = loss((of_latents + error - added) / 2).mean()
            if found < best:
                best, chosen = found, (maps.weights[classes].clone(), added)
        maps.weights[classes] = 0 if chosen is None else chosen[0]
        error = error if chosen is None else error - chosen[1]
    import os
    if os.environ.get('DBG'): print('   dbg net %.4f ridge+maps %.4f both %.4f'%tuple(float(loss(v).mean()) for v in (of_latents,error,(of_latents+error)/2)))
    shares = {0.0: of_latents, 0.5: (of_latents + error) / 2, 1.0: error}
    maps.share = min(shares, key=lambda share: loss(shares[share]).mean())
    return maps if maps.share else None


def _held_out(module: DeepDIVE, maps: ClassRidge, valid: WindowBatches) -> list[Tensor]:
    """Of held-out windows: features, classes, errors of the latents' forecast and the ridge's."""
    found = []
    for window, _, y in evenly_spaced(valid, MAX_HELD_OUT):
        assert y is not None
        b, a = module.infer(window)
        of_latents = module.forecast(window, b, module.fuse(b, a)[:, 1])
        codes = maps.codes(module.classes(b))
        ridge = maps.ridge(module.targets(window))
        found.append((maps.read(window), codes, y - of_latents, y - ridge))
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def _regressions(
    module: DeepDIVE, maps: ClassRidge, train: WindowBatches, factor: int, n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues and -vectors of the windows of each class, and their products with errors."""
    dim, size = maps.weights.shape[1:]
    gram = maps.weights.new_zeros(n, dim, dim, dtype=torch.float64)
    products = maps.weights.new_zeros(n, dim, size, dtype=torch.float64)
    for window, codes, y in evenly_spaced(train, MAX_WINDOWS):
        features = maps.read(window)
        error = maps.condense(y - maps(window, module.targets(window), codes))
        of_class = maps.codes(codes)[:, factor]
        for k in of_class.unique().tolist():
            if k >= 0:
                rows = of_class == k
                gram[k] += (features[rows].T @ features[rows]).double()
                products[k] += (features[rows].T @ error[rows]).double()
    values, vectors = torch.linalg.eigh(gram)
    return values.clamp(min=0), vectors, vectors.mT @ products
