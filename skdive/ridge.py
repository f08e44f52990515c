"""Ridge regressions in closed form: where the linear path starts, and the maps of classes."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from skdive.batches import Batch, WindowBatches, chunk_of
from skdive.linear import ClassRidge, LinearPath, with_all
from skdive.model import DeepDIVE

MAX_ROWS = 1 << 17  # windows times channels, evenly spaced; more would not change the weights
MAX_COMPONENTS, MAX_WINDOWS = 1 << 12, 1 << 16  # windows that the maps of classes come from
MAX_HELD_OUT = 1 << 23  # values of futures, or features, that their penalties are chosen on
PENALTIES = torch.logspace(0, 7, 15, dtype=torch.float64)
BLOCKS = 4  # of the time of each series, on each of which maps are tried that have not seen it
SHARES = (0.0, 0.25, 0.5)  # of the forecast


def ridge_weights(data: WindowBatches, sources: Tensor | None, robust: bool = False) -> Tensor:
    """Weights of `LinearPath` that forecast best among linear maps, (lookback + 1, horizon).

    The normal equations are summed over the windows and channels of the training data; the
    penalty is chosen by generalised cross-validation (Golub, Heath and Wahba, 1979), which needs
    nothing but these sums. If `robust`, the futures of a channel have Laplace noise in common,
    and the regression is repeated with weights of one over the size of their errors.
    """
    weights, size = _ridge(data, sources)
    for _ in range(2 * robust):
        weights, size = _ridge(data, sources, weights, size)
    return weights


def _ridge(
    data: WindowBatches,
    sources: Tensor | None,
    before: Tensor | None = None,
    size: float = 1.0,
) -> tuple[Tensor, float]:
    """A regression, and the size of its errors; weighted by those of the one before."""
    dim = data.x.length
    count, total = 0, torch.zeros(1, dtype=torch.float64)
    for window, _, y, _ in evenly_spaced(data, MAX_ROWS // data.x.n_channels):
        assert y is not None
        x = window.x if sources is None else window.x[:, sources]
        level = x[..., -1:]
        parts = [x - level, y - level, torch.ones_like(level)]
        both = torch.cat(parts, dim=2).flatten(0, 1)
        count += len(both)
        if before is not None:
            by_rows = before.to(both)
            errors = both[:, dim:-1] - both[:, :dim] @ by_rows[:-1] - by_rows[-1]
            both *= _weights(errors, size).sqrt()
        total = total + (both.T @ both).cpu().double()
    total *= count / total[-1, -1]
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
    left = (yy - explained).clamp(min=torch.finfo(torch.float32).eps * yy)
    best = (left / (1 - freedom / count).clamp(min=1e-6).square()).argmin()
    weights = vectors @ (rotated * shrunk[best].unsqueeze(1))
    bias = mean[dim:] - mean[:dim] @ weights
    size = float((left[best] / xy.shape[1] / count).sqrt())
    return torch.cat([weights, bias.unsqueeze(0)]), size


def _weights(errors: Tensor, size: float) -> Tensor:
    """Weights (row, 1) that turn least squares into least distances of the rows' errors.

    They are bounded, relative to the usual size of an error.
    """
    own = torch.linalg.vector_norm(errors, dim=1, keepdim=True) / errors.shape[1] ** 0.5
    tiny = torch.finfo(own.dtype).tiny
    return (size + tiny) / (own + 0.05 * size + tiny)


def evenly_spaced(data: WindowBatches, at_most: int, largest: int = 0) -> Iterator[Batch]:
    """Windows of a data set at equal distances, in batches for tensors of at most that size."""
    return map(data.take, rows_of(data, at_most, largest))


def rows_of(data: WindowBatches, at_most: int, largest: int = 0) -> Iterable[Tensor]:
    """The rows of such windows, batch by batch."""
    assert data.y is not None
    largest = max(largest, data.y.length * data.y.n_channels)
    n_used = max(1, min(len(data), at_most))
    index = torch.arange(n_used, device=data.x.device) * (len(data) - 1) // max(1, n_used - 1)
    return index.split(chunk_of(data.x, largest))


@torch.no_grad()
def fit_class_ridge(
    module: DeepDIVE,
    start: LinearPath,
    train: WindowBatches,
    valid: WindowBatches,
    robust: bool = False,
) -> ClassRidge:
    """A second forecast, whose mean with that of the latents has a small held-out error.

    One factor after the other, what is left of the futures is regressed on the windows of each
    class. All classes of a factor share a penalty, which has to pass twice. Blocked
    cross-validation, over quarters of the time of each series, admits those whose maps are of use
    by more than a standard error: a season that lasts is easily taken for a rule. Of these, the
    one with the smallest mean absolute error of both forecasts on `valid`, where the network has
    to tell the classes, is taken, if there is a gain. If `robust`, windows weigh one over the size
    of their errors.
    """
    x = (w.x - w.level.unsqueeze(2) for w, *_ in evenly_spaced(train, MAX_COMPONENTS))
    y = (
        y - module.targets(w).level.unsqueeze(2)
        for w, _, y, _ in evenly_spaced(train, MAX_COMPONENTS)
        if y is not None
    )
    ridge = ClassRidge(start, x, y, module.n_classes)
    features, codes, of_latents, error = _held_out(module, ridge, valid)
    for factor in (f for f, size in enumerate(ridge.sizes) if size):
        size = float(error.square().mean().sqrt()) if robust else None
        risks, values, vectors, products = _regressions(module, ridge, train, factor, size)
        maps, chosen, least = ridge.maps(factor), None, (of_latents + error).abs().mean()
        for penalty in PENALTIES[risks < 1]:
            maps.copy_(vectors @ (products / (values + penalty).unsqueeze(2)))
            added = ridge.write(ridge.add(factor, features, codes[:, factor]))
            found = (of_latents + error - added).abs().mean()
            if found < least:
                least, chosen = found, (maps.clone(), added)
        maps.zero_()
        if chosen is not None:
            error = error - chosen[1]
            maps.copy_(chosen[0])
    errors = {s: float(of_latents.lerp(error, s).abs().mean()) for s in SHARES}
    ridge.share.fill_(min(errors, key=lambda s: errors[s]))
    return ridge


def _held_out(module: DeepDIVE, ridge: ClassRidge, valid: WindowBatches) -> list[Tensor]:
    """Features and classes of held-out windows; errors of the latents' forecast and the ridge's."""
    found = []
    largest = max(module.horizon * len(ridge.future_channels), ridge.maps(0).shape[1])
    for window, _, y, _ in evenly_spaced(valid, MAX_HELD_OUT // largest, module.largest):
        assert y is not None
        b, a = module.infer(window)
        of_latents = module.forecast(window, b, module.fuse(b, a)[:, 1])
        of_start = ridge.start(module.targets(window))
        codes = with_all(module.classes(b))
        found.append((ridge.read(window), codes, y - of_latents, y - of_start))
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def _regressions(
    module: DeepDIVE, ridge: ClassRidge, train: WindowBatches, factor: int, size: float | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Risks of the penalties, and the normal equations of the classes of a factor.

    The equations are in the coordinates of their eigenvectors: values (class, feature), vectors
    (class, feature, feature) and products (class, feature, component).
    """
    n, dim, n_written = ridge.maps(factor).shape
    gram = ridge.weights.new_zeros(BLOCKS, n, dim, dim, device="cpu")
    products, squares = gram.new_zeros(BLOCKS, n, dim, n_written), gram.new_zeros(BLOCKS, n)
    for index in rows_of(train, MAX_WINDOWS):
        window, codes, y, _ = train.take(index)
        features = ridge.read(window)
        left = y - ridge(window, module.targets(window), codes)
        weights = features.new_ones(1) if size is None else _weights(left.flatten(1), size)
        weighted, left = weights * features, ridge.condense(left)
        column = with_all(codes)[:, factor]
        block = (BLOCKS * train.progress[index]).long()
        for b, k in torch.stack([block, column], 1)[column >= 0].unique(dim=0).tolist():
            rows = (block == b) & (column == k)
            gram[b, k] += (weighted[rows].T @ features[rows]).cpu()
            products[b, k] += (weighted[rows].T @ left[rows]).cpu()
            squares[b, k] += (weights * left.square())[rows].sum().cpu()
    values, vectors, total = gram.new_empty(n, dim), gram[0], products.sum(0)
    errors = torch.zeros(BLOCKS, len(PENALTIES), dtype=torch.float64)
    for k in range(n):
        errors += _errors_of_blocks(gram[:, k].double(), products[:, k].double())
        values[k], vectors[k] = torch.linalg.eigh(gram[:, k].sum(0).double())  # in place
        total[k] = vectors[k].T @ total[k]
    tiny = torch.finfo(torch.float32).tiny
    without = squares.sum(1, keepdim=True) + tiny
    ratios = (errors + without) / without  # (block, penalty)
    risks = ratios.mean(0) + ratios.std(0) / BLOCKS**0.5
    return risks, values.clamp(min=0), vectors, total


def _errors_of_blocks(gram: Tensor, products: Tensor) -> Tensor:
    """What maps of a class change in the squared error of blocks they have not seen.

    Parameters
    ----------
    gram : Tensor of shape (block, feature, feature)
    products : Tensor of shape (block, feature, component)

    Returns
    -------
    errors : Tensor of shape (block, penalty)
    """
    errors = products.new_empty(BLOCKS, len(PENALTIES))
    for b, (own_gram, own_products) in enumerate(zip(gram, products, strict=True)):
        values, vectors = torch.linalg.eigh(gram.sum(0) - own_gram)
        seen = vectors.T @ (products.sum(0) - own_products)
        own_gram, own_products = vectors.T @ own_gram @ vectors, vectors.T @ own_products
        for i, penalty in enumerate(PENALTIES):
            maps = seen / (values.clamp(min=0) + penalty).unsqueeze(1)
            errors[b, i] = (maps * (own_gram @ maps - 2 * own_products)).sum()
    return errors
