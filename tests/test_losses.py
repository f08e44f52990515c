import math

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
