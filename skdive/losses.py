"""What the network optimises: the terms of the evidence lower bound, one function each.

The equations are numbered as in the paper (arXiv 2501.08710): Proposition 1 is the bound of the
joint likelihood of a window and its future, Theorem 1 the bound of the KL divergence of the
marginal latents by a cross entropy. The three parts of the KL divergence that beta-TCVAE weighs are
from arXiv 1802.04942. All terms are in nats.
"""

import math

import torch
from torch import Tensor

from skdive.layers import Gaussian, squared_distances


def gaussian_nll(target: Tensor, mean: Tensor, log_scale: Tensor, over: tuple[int, ...]) -> Tensor:
    r"""Negative log-likelihood of a Gaussian, as the mean over axes along which its scale is one.

    :math:`-\log p = (x - \mu)^2 / 2 s^2 + \log s + \tfrac12 \log 2 \pi`, the reconstruction and
    forecast terms of Proposition 1 for Gaussian noise of scale :math:`s`. The axes `over` are kept.
    """
    error = _mean((mean - target).square(), over)
    return 0.5 * error * (-2 * log_scale).exp() + log_scale + 0.5 * math.log(2 * math.pi)


def laplace_nll(target: Tensor, mean: Tensor, log_scale: Tensor, over: tuple[int, ...]) -> Tensor:
    r"""Negative log-likelihood of a Laplace distribution, as the mean over such axes.

    :math:`-\log p = |x - \mu| / s + \log 2 s`, the reconstruction and forecast terms of
    Proposition 1 for Laplace noise of scale :math:`s`. The axes `over` are kept.
    """
    error = _mean((mean - target).abs(), over)
    return error * (-log_scale).exp() + log_scale + math.log(2)


def _mean(values: Tensor, over: tuple[int, ...]) -> Tensor:
    """``values.mean(over, keepdim=True)``, whose gradient costs a pass over the values less."""
    if not over:
        return values
    total = values.sum(over, keepdim=True)
    return total * (total.numel() / values.numel())


LIKELIHOODS = {"laplace": laplace_nll, "gaussian": gaussian_nll}


def conditional_kl(q: Gaussian) -> Tensor:
    r"""KL divergence of the conditional latent from its prior, (batch,).

    :math:`KL(q(a | x, b) \| N(0, I))`, the second half of the split of the KL term of
    Proposition 1. The prior does not depend on b, so that a is pressed to hold nothing that the
    marginal latents already say.
    """
    return (0.5 * (q.mean.square() + q.scale.square() - 1) - q.scale.log()).sum(-1)


def kernel_kl(q: Gaussian, centres: Tensor, scales: Tensor) -> Tensor:
    r"""KL divergence of marginal posteriors from each class kernel, (batch, factor, class).

    :math:`KL(q(b_i | x) \| p(b_i | k_i))` between the diagonal Gaussian q, (batch, factor, dim),
    and isotropic Gaussians around centres (factor, class, dim) with scales (factor, class).
    """
    dim = centres.shape[-1]
    squared = squared_distances(q.mean, centres)
    spread = q.scale.square().sum(-1, keepdim=True)
    entropy = q.scale.log().sum(-1, keepdim=True)  # up to a constant
    return (squared + spread) * (0.5 / scales.square()) + dim * (scales.log() - 0.5) - entropy


def marginal_kl_bound(kernel_kls: Tensor, log_priors: Tensor, codes: Tensor) -> Tensor:
    r"""Upper bound of the KL divergence of each marginal latent from its prior, (batch, factor).

    Theorem 1, for a window of class k: :math:`KL(q \| p(b)) \le KL(q \| p(b | k)) - \log \pi_k`;
    the gap is the cross entropy of the RBF layer. Where the label is unknown (code -1) the tightest
    such bound that needs none,
    :math:`-\log \sum_k \pi_k \exp(-KL(q \| p(b | k)))`.
    """
    per_class = kernel_kls - log_priors  # infinite for padded classes
    labelled = per_class.gather(2, codes.clamp(0).unsqueeze(2)).squeeze(2)
    unlabelled = -torch.logsumexp(-per_class, dim=2)
    return torch.where(codes >= 0, labelled, unlabelled)


def marginal_cross_entropy(log_posteriors: Tensor, codes: Tensor) -> Tensor:
    r"""Cross entropy of the RBF layer, (batch, factor); 0 where the label is unknown (code -1).

    :math:`-\log r_{ik}(b)` at a sample b of :math:`q(b_i | x)`: the gap of Theorem 1.
    """
    picked = log_posteriors.gather(2, codes.clamp(0).unsqueeze(2)).squeeze(2)
    return torch.where(codes >= 0, -picked, torch.zeros_like(picked))


def kl_parts(q: Gaussian, z: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Three parts of the KL divergence of a latent from its prior, by minibatch-weighted sampling.

    The mean over all windows of :math:`KL(q(z | x) \| N(0, I))` is the sum of the *index-code
    mutual information* :math:`E \log q(z | x) - E \log q(z)`, the *total correlation*
    :math:`E \log q(z) - \sum_d E \log q(z_d)` and the *dimension-wise* divergence
    :math:`\sum_d KL(q(z_d) \| N(0, 1))`, where :math:`q(z)` is the mean of the posteriors of all n
    windows (Chen et al. 2018, section 3). It is estimated from the posteriors of a batch of M
    windows (section 3.1),

    .. math:: \log q(z) \approx \log \tfrac{1}{n M} \sum_{j=1}^M q(z | x_j),

    and so is each :math:`\log q(z_d)`. The estimate is biased, and n only moves it by constants:
    with D dimensions and a batch of all windows, the total correlation is overestimated by
    :math:`(D - 1) \log n`. Time and memory grow with the square of M.

    Parameters
    ----------
    q : Gaussian
        Posteriors of the batch, (batch, dim).
    z : Tensor of shape (batch, dim)
        A sample of each.
    n : int
        Windows that there are in all.

    Returns
    -------
    mutual_information, total_correlation, dimension_wise_kl : Tensors of shape (batch,)
        Their sum is the estimate :math:`\log q(z | x) - \log p(z)` of the divergence.

    References
    ----------
    Chen, Li, Grosse and Duvenaud, "Isolating sources of disentanglement in variational
    autoencoders", NeurIPS 2018, arXiv 1802.04942.
    """
    pairs = gaussian_log_density(z.unsqueeze(1), q.mean, q.scale)  # (of z_i, by x_j, dim)
    log_share = -math.log(n * len(z))
    own = gaussian_log_density(z, q.mean, q.scale).sum(1)
    together = pairs.sum(2).logsumexp(1) + log_share
    apart = (pairs.logsumexp(1) + log_share).sum(1)
    prior = gaussian_log_density(z, torch.zeros_like(z), torch.ones_like(z)).sum(1)
    return own - together, together - apart, apart - prior


def gaussian_log_density(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log-density of independent Gaussians, one for each dimension."""
    return -0.5 * ((z - mean) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)
