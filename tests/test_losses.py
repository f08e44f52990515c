import math

import numpy as np
import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)
from torch.testing import assert_close

from skdive.layers import Gaussian, RBFLayer
from skdive.losses import (
    conditional_kl,
    gaussian_nll,
    kernel_kl,
    kl_parts,
    laplace_nll,
    marginal_cross_entropy,
    marginal_kl_bound,
)

PRIORS = [[0.5, 0.3, 0.2], [0.9, 0.1]]  # the second factor is padded
N_SAMPLES = 20_000


def normal(q):
    return Independent(Normal(q.mean, q.scale), 1)


@pytest.fixture
def rbf():
    layer = RBFLayer(PRIORS, dim=2).double()
    torch.nn.init.normal_(layer.centres, std=1.5)
    torch.nn.init.normal_(layer.raw_scales)
    return layer.requires_grad_(False)


@pytest.fixture
def q():
    """Marginal posteriors of four windows, (batch, factor, dim)."""
    shape = (4, 2, 2)
    mean, scale = torch.randn(shape).double(), 0.3 + torch.rand(shape).double()
    return Gaussian(mean.requires_grad_(), scale.requires_grad_())


def prior_of(rbf, f):
    """The mixture p(b_f) by torch.distributions."""
    n = len(PRIORS[f])
    kernels = Independent(Normal(rbf.centres[f, :n], rbf.scales[f, :n, None].expand(n, 2)), 1)
    return MixtureSameFamily(Categorical(torch.tensor(PRIORS[f], dtype=torch.float64)), kernels)


def sampled_kl(q, rbf, f):
    """Monte-Carlo samples of KL(q || p) of factor f, (sample, batch), and where they were drawn."""
    q_f = Independent(Normal(q.mean[:, f], q.scale[:, f]), 1)
    b = q_f.sample((N_SAMPLES,))  # (sample, batch, dim)
    return q_f.log_prob(b) - prior_of(rbf, f).log_prob(b), b


def close_to_mean(value, samples):
    """Whether a value lies within five standard errors of a Monte-Carlo estimate."""
    return (value - samples.mean(0)).abs() < 5 * samples.std(0) / math.sqrt(N_SAMPLES)


def bound_of(q, rbf, codes):
    return marginal_kl_bound(kernel_kl(q, rbf.centres, rbf.scales), rbf.log_priors, codes)


@pytest.mark.parametrize(("nll", "noise"), [(gaussian_nll, Normal), (laplace_nll, Laplace)])
@pytest.mark.parametrize("over", [(0, 2), (2,), (0,)])
def test_likelihoods_match_torch(nll, noise, over):
    """As means over the axes along which the scale does not change."""
    target, mean = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    log_scale = torch.randn(6, 5, 4, dtype=torch.float64).mean(over, keepdim=True)
    expected = -noise(mean, log_scale.exp()).log_prob(target)
    assert_close(nll(target, mean, log_scale, over), expected.mean(over, keepdim=True))


def test_the_kl_of_the_conditional_latent_matches_torch_and_monte_carlo():
    q = Gaussian(torch.randn(4, 3), 0.2 + torch.rand(4, 3))
    prior = Independent(Normal(torch.zeros(4, 3), torch.ones(4, 3)), 1)
    a = normal(q).sample((N_SAMPLES,))
    sampled = normal(q).log_prob(a) - prior.log_prob(a)

    assert_close(conditional_kl(q), kl_divergence(normal(q), prior))
    assert close_to_mean(conditional_kl(q), sampled).all()


def test_the_kl_of_no_conditional_latent_is_zero():
    assert torch.equal(conditional_kl(Gaussian(*torch.zeros(2, 4, 0))), torch.zeros(4))


def test_the_kl_from_each_kernel_matches_torch(q, rbf):
    found = kernel_kl(q, rbf.centres, rbf.scales)

    assert found.shape == (4, 2, 3)
    for f, prior in enumerate(PRIORS):
        for k in range(len(prior)):
            scale = rbf.scales[f, k].expand(4, 2)
            kernel = Independent(Normal(rbf.centres[f, k].expand(4, 2), scale), 1)
            q_f = Independent(Normal(q.mean[:, f], q.scale[:, f]), 1)
            assert_close(found[:, f, k], kl_divergence(q_f, kernel))


@pytest.mark.parametrize(("f", "k"), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)])
def test_theorem_1(q, rbf, f, k):
    """KL(q || p) + E_q[-log r_k(b)] = KL(q || p(. | k)) - log pi_k."""
    kl, b = sampled_kl(q, rbf, f)
    everywhere = torch.zeros(N_SAMPLES * 4, 2, 2, dtype=torch.float64)
    everywhere[:, f] = b.flatten(0, 1)
    codes = torch.full((N_SAMPLES * 4, 2), -1)
    codes[:, f] = k
    entropy = marginal_cross_entropy(rbf.log_posteriors(everywhere), codes)
    left = kl + entropy[:, f].unflatten(0, (N_SAMPLES, 4))
    right = bound_of(q, rbf, codes[:4])[:, f]

    assert (entropy[:, 1 - f] == 0).all()
    assert close_to_mean(right, left).all()
    assert ((right > kl.mean(0)) | close_to_mean(right, kl)).all()  # the entropy is the gap


@pytest.mark.parametrize("f", [0, 1])
def test_the_bound_without_labels_lies_between_the_kl_and_every_labelled_bound(q, rbf, f):
    kl, _ = sampled_kl(q, rbf, f)
    unlabelled = bound_of(q, rbf, torch.full((4, 2), -1))[:, f]

    assert ((unlabelled > kl.mean(0)) | close_to_mean(unlabelled, kl)).all()
    for k in range(len(PRIORS[f])):
        assert (unlabelled < bound_of(q, rbf, torch.full((4, 2), k))[:, f]).all()


def test_the_bound_without_labels_is_the_formula_of_the_notes(q, rbf):
    """-log sum_k pi_k exp(-KL(q || p(. | k)))."""
    kls = kernel_kl(q, rbf.centres, rbf.scales)
    expected = -(rbf.log_priors.exp() * (-kls).exp()).sum(2).log()
    assert_close(bound_of(q, rbf, torch.full((4, 2), -1)), expected)


def test_with_one_class_a_label_says_nothing(q):
    rbf = RBFLayer([[1.0], [1.0]], dim=2).double()
    known, unknown = (bound_of(q, rbf, torch.full((4, 2), code)) for code in (0, -1))

    assert_close(known, unknown)
    assert_close(known, kernel_kl(q, rbf.centres, rbf.scales)[:, :, 0])  # the KL itself


def test_labelled_and_unlabelled_windows_mix(q, rbf):
    codes = torch.tensor([[0, -1], [-1, 1], [2, 0], [-1, -1]])
    mixed = bound_of(q, rbf, codes)
    unlabelled = bound_of(q, rbf, torch.full((4, 2), -1))
    labelled = bound_of(q, rbf, codes.clamp(0))

    assert torch.equal(mixed, torch.where(codes >= 0, labelled, unlabelled))


def test_the_cross_entropy_matches_torch_and_ignores_unknown_labels(rbf):
    b = torch.randn(4, 2, 2, dtype=torch.float64)
    codes = torch.tensor([[0, -1], [-1, 1], [2, 0], [-1, -1]])
    log_posteriors = rbf.log_posteriors(b)
    expected = torch.nn.functional.nll_loss(
        log_posteriors.transpose(1, 2), codes, ignore_index=-1, reduction="none"
    )

    assert_close(marginal_cross_entropy(log_posteriors, codes), expected)


@pytest.mark.parametrize("code", [-1, 0, 1])
def test_padded_classes_give_no_nan_in_values_or_gradients(q, rbf, code):
    rbf.requires_grad_(True)
    codes = torch.full((4, 2), code)
    bound = bound_of(q, rbf, codes)
    entropy = marginal_cross_entropy(rbf.log_posteriors(q.mean), codes)
    (bound.sum() + entropy.sum()).backward()

    for values in (bound, entropy, q.mean.grad, q.scale.grad, *(p.grad for p in rbf.parameters())):
        assert values.isfinite().all()
    assert (rbf.centres.grad[1, 2] == 0).all()  # the padded class learns nothing


def test_unlabelled_windows_teach_the_kernels_but_not_the_classifier(q, rbf):
    rbf.requires_grad_(True)
    unknown = torch.full((4, 2), -1)
    marginal_cross_entropy(rbf.log_posteriors(q.mean), unknown).sum().backward()
    assert (rbf.centres.grad == 0).all()

    bound_of(q, rbf, unknown).sum().backward()
    assert (rbf.centres.grad[:, :2] != 0).all()


# ---------------------------------------------------------------------------------------------
# Minibatch-weighted sampling


def posteriors(n, dim):
    q = Gaussian(torch.randn(n, dim).double(), 0.2 + torch.rand(n, dim).double())
    return Gaussian(q.mean.requires_grad_(), q.scale.requires_grad_())


def density(z, mean, scale):
    return np.exp(-0.5 * ((z - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))


def test_the_parts_of_the_kl_are_those_of_the_paper():
    """Equation by equation, window by window: log q(z) = log 1/(NM) sum_j q(z | x_j)."""
    n, M, D = 50, 7, 3
    q = posteriors(M, D)
    z = q.sample()
    mean, scale, samples = (t.detach().numpy() for t in (*q, z))
    expected = np.empty((3, M))
    for i in range(M):
        joint, dims = 0.0, np.zeros(D)
        for j in range(M):
            each = [density(samples[i, d], mean[j, d], scale[j, d]) for d in range(D)]
            joint += np.prod(each) / (n * M)
            dims += np.array(each) / (n * M)
        own = np.sum(np.log([density(samples[i, d], mean[i, d], scale[i, d]) for d in range(D)]))
        prior = np.sum(np.log([density(samples[i, d], 0, 1) for d in range(D)]))
        expected[:, i] = [
            own - np.log(joint),
            np.log(joint) - np.log(dims).sum(),
            np.log(dims).sum() - prior,
        ]

    assert_close(torch.stack(kl_parts(q, z, n)), torch.from_numpy(expected))


def test_the_parts_add_up_to_the_kl():
    """To its one-sample estimate for each window, whose expectation is the closed form."""
    q = posteriors(5, 3)
    sums = torch.stack([sum(kl_parts(q, q.sample(), 100)) for _ in range(2000)]).detach()
    error = (sums.mean(0) - conditional_kl(q)).abs() / (sums.std(0) / math.sqrt(2000))
    assert (error < 5).all()


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_parts_match_the_closed_form_of_a_gaussian_aggregate(rho):
    """In a batch of all windows, whose posteriors together make up a Gaussian q(z)."""
    n, D, scale = 2000, 3, 0.4
    deviations = torch.tensor([1.0, 2.0, 0.8], dtype=torch.float64)
    cov = torch.full((D, D), rho, dtype=torch.float64).fill_diagonal_(1)
    cov = cov * deviations * deviations.unsqueeze(1)
    means = torch.randn(n, D).double()
    means = torch.linalg.solve_triangular(  # of covariance I, without sampling error
        torch.linalg.cholesky((means - means.mean(0)).T.cov(correction=0)),
        (means - means.mean(0)).T,
        upper=False,
    )
    q = Gaussian((torch.linalg.cholesky(cov) @ means).T, torch.full((n, D), scale).double())
    cov = cov + scale**2 * torch.eye(D)
    variances = cov.diagonal()
    information, correlation, dimensions = (part.mean() for part in kl_parts(q, q.sample(), n))

    offset = math.log(n)  # what a batch of all windows is off by, once for each log q
    half_logdet = 0.5 * torch.logdet(cov)
    assert_close(information - offset, half_logdet - D * math.log(scale), atol=0.15, rtol=0)
    assert_close(
        correlation - (D - 1) * offset,
        0.5 * variances.log().sum() - half_logdet,
        atol=0.1,
        rtol=0,
    )
    kl = 0.5 * (variances - 1 - variances.log()).sum()
    assert_close(dimensions + D * offset, kl, atol=0.15, rtol=0)


def test_gradients_of_the_parts_match_differences():
    """With respect to all posteriors, which every window of the batch is compared with."""
    q, noise = posteriors(4, 2), torch.randn(4, 2).double()

    def parts(mean, scale):
        return kl_parts(Gaussian(mean, scale), mean + scale * noise, 10)

    assert torch.autograd.gradcheck(parts, tuple(q))


def test_one_dimension_has_no_total_correlation():
    q = posteriors(6, 1)
    assert_close(kl_parts(q, q.sample(), 10)[1], torch.zeros(6).double())


def test_the_number_of_windows_only_moves_the_parts_by_constants():
    q = posteriors(6, 3)
    z = q.sample()
    few, many = kl_parts(q, z, 10), kl_parts(q, z, 1000)
    for one, other, count in zip(few, many, (1, 2, -3), strict=True):
        assert_close(other - one, torch.full((6,), count * math.log(100)).double())
    gradients = [
        torch.autograd.grad(parts[1].mean(), q, retain_graph=True) for parts in (few, many)
    ]
    assert_close(*gradients)
    assert all((g != 0).any() for g in gradients[0])


def test_windows_far_apart_give_finite_parts():
    q = Gaussian(torch.tensor([[0.0, 0.0], [50.0, -50.0]]), torch.full((2, 2), 1e-3))
    q = Gaussian(*(t.requires_grad_() for t in q))
    parts = kl_parts(q, q.sample(), 10)
    sum(part.sum() for part in parts).backward()
    assert all(t.isfinite().all() for t in (*parts, q.mean.grad, q.scale.grad))
