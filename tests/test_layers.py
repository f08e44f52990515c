import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from skdive.layers import (
    AttentionFusion,
    ChannelDropout,
    ConcatFusion,
    Gaussian,
    GaussianHead,
    RBFLayer,
    WindowDecoder,
    WindowDropout,
    WindowEncoder,
    norm_windows,
)

PRIORS = [[0.5, 0.3, 0.2], [0.9, 0.1], [1.0]]  # two factors are padded


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_samples_of_a_gaussian_have_its_moments_and_pass_gradients():
    q = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0], requires_grad=True))
    samples = Gaussian(q.mean.expand(100_000, 2), q.scale.expand(100_000, 2)).sample()

    assert_close(samples.mean(0), q.mean, atol=0.05, rtol=0)
    assert_close(samples.std(0), q.scale, atol=0, rtol=0.02)
    samples.sum().backward()
    assert q.scale.grad.abs().min() > 0


# ---------------------------------------------------------------------------------------------
# Window norm


def test_the_norm_measures_from_the_last_step_in_standard_deviations():
    x = torch.randn(5, 3, 20) * 4 + 7
    same, values, level, scale = norm_windows(x, min_scale=0)

    assert same is x
    assert_close(level, x[:, :, -1])
    assert_close(scale, x.std(2, correction=0))
    assert_close(values, (x - x[:, :, -1:]) / x.std(2, correction=0, keepdim=True))


def test_the_norm_takes_level_and_scale_out_of_a_window():
    x = torch.randn(5, 3, 20, dtype=torch.float64)
    factor = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
    shift = torch.tensor([-100.0, 0.0, 3.0], dtype=torch.float64)
    before = norm_windows(x, min_scale=0)
    after = norm_windows(x * factor[:, None] + shift[:, None], min_scale=0)

    assert_close(after.values, before.values)
    assert_close(after.level, before.level * factor + shift)
    assert_close(after.scale, before.scale * factor)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e6])
def test_a_constant_window_stays_flat_and_its_gradient_finite(value):
    x = torch.full((2, 3, 8), value, requires_grad=True)
    _, values, level, scale = norm_windows(x, min_scale=0.01)

    assert (values == 0).all()
    assert (level == value).all()
    assert_close(scale, torch.full((2, 3), 0.01))
    (values.sum() + scale.sum()).backward()
    assert x.grad.isfinite().all()


# ---------------------------------------------------------------------------------------------
# Encoder and decoder


def test_channel_dropout_hides_whole_channels_and_keeps_the_mean():
    x = torch.ones(4000, 3, 5)
    hidden = ChannelDropout(0.3)(x)

    assert ((hidden == 0).all(2) | (hidden == 1 / 0.7).all(2)).all()
    assert_close((hidden == 0).float().mean().item(), 0.3, atol=0.02, rtol=0)
    assert_close(hidden.mean().item(), 1.0, atol=0.03, rtol=0)


def test_channel_dropout_leaves_single_channels_and_evaluation_alone():
    hide = ChannelDropout(0.9)
    single, several = torch.randn(50, 1, 4), torch.randn(50, 3, 4)

    assert hide(single) is single
    assert hide.eval()(several) is several


def test_window_dropout_sets_whole_windows_to_zero_in_training():
    hide, x = WindowDropout(0.3), torch.ones(4000, 3, 5)
    hidden = hide(x)

    assert (hidden == hidden[:, :1, :1]).all()
    assert set(hidden.unique().tolist()) == {0.0, 1.0}
    assert_close((hidden == 0).float().mean().item(), 0.3, atol=0.02, rtol=0)
    assert hide.eval()(x) is x


@pytest.mark.parametrize("n_channels", [1, 2, 16, 17, 40])
def test_shapes_of_encoder_and_decoder(n_channels):
    window = norm_windows(torch.randn(3, n_channels, 12))
    features = WindowEncoder(12, n_channels, width=8, dropout=0.0)(window)

    assert features.shape == (3, 8)
    assert WindowDecoder(5, n_channels, width=8)(features).shape == (3, n_channels, 5)


@pytest.mark.parametrize("changed", ["values", "level", "scale"])
@pytest.mark.parametrize("channel", [0, 19])
def test_the_encoder_sees_values_level_and_scale_of_every_channel(changed, channel):
    encoder = WindowEncoder(6, 20, width=8, dropout=0.0).eval()
    window = norm_windows(torch.randn(1, 20, 6))
    other = getattr(window, changed).clone()
    other[:, channel] += 1

    assert not torch.equal(encoder(window), encoder(window._replace(**{changed: other})))


def test_an_encoder_without_the_place_of_a_window_sees_its_shape():
    encoder = WindowEncoder(6, 20, width=8, dropout=0.0, hide_place=1.0)
    window = norm_windows(torch.randn(1, 20, 6))
    moved = window._replace(level=window.level + 1, scale=window.scale + 1)

    assert torch.equal(encoder(window), encoder(moved))
    assert not torch.equal(encoder(window), encoder(window._replace(values=window.values + 1)))


@pytest.mark.parametrize("build", [WindowEncoder, WindowDecoder], ids=lambda cls: cls.__name__)
def test_parameters_grow_linearly_with_the_channels(build):
    options = (0.0,) if build is WindowEncoder else ()
    sizes = [n_parameters(build(168, n, 128, *options)) for n in (100, 200, 300)]
    per_channel = (sizes[1] - sizes[0]) / 100

    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    assert per_channel <= 16 + 168  # groups, and the bias of the decoder


def test_a_decoder_that_starts_at_zero_still_learns():
    decoder = WindowDecoder(5, 3, width=8)
    decoder.start_at_zero()
    output = decoder(torch.randn(4, 8))

    assert (output == 0).all()
    (output - 1).square().sum().backward()
    assert decoder.over_time.weight.grad.abs().max() > 0


def test_the_scale_of_a_head_stays_above_its_minimum():
    mean, scale = GaussianHead(8, 3, min_scale=0.1)(1e4 * torch.randn(50, 8))

    assert mean.shape == scale.shape == (50, 3)
    assert scale.min() >= 0.1
    assert not torch.equal(mean, scale)


# ---------------------------------------------------------------------------------------------
# RBF layer


@pytest.fixture
def rbf():
    layer = RBFLayer(PRIORS, dim=2).double()
    torch.nn.init.normal_(layer.raw_scales)
    return layer


def test_kernels_are_gaussians_around_the_prototypes(rbf):
    b = torch.randn(7, 3, 2, dtype=torch.float64)
    scales = rbf.scales.unsqueeze(2).expand_as(rbf.centres)
    kernels = Independent(Normal(rbf.centres, scales), 1)  # (factor, class)

    assert_close(rbf.log_kernels(b), kernels.log_prob(b.unsqueeze(2)))


def test_posteriors_follow_bayes_rule(rbf):
    b = torch.randn(7, 3, 2, dtype=torch.float64)
    posteriors = rbf.log_posteriors(b).exp()

    for f, prior in enumerate(PRIORS):
        n, pi = len(prior), torch.tensor(prior, dtype=torch.float64)
        scales = rbf.scales[f, :n, None].expand(n, 2)
        kernels = Independent(Normal(rbf.centres[f, :n], scales), 1)
        mixture = MixtureSameFamily(Categorical(pi), kernels)
        joint = pi * kernels.log_prob(b[:, f, None]).exp()
        expected = joint / mixture.log_prob(b[:, f]).exp().unsqueeze(1)
        # The priors are kept in float32.
        assert_close(posteriors[:, f, :n], expected, rtol=1e-6, atol=1e-7)


def test_padded_classes_have_no_probability_and_no_gradient(rbf):
    b = torch.randn(7, 3, 2, dtype=torch.float64, requires_grad=True)
    log_posteriors = rbf.log_posteriors(b)
    padded = rbf.log_priors == -math.inf
    log_posteriors[:, ~padded].sum().backward()

    assert padded.tolist() == [[False] * 3, [False, False, True], [False, True, True]]
    assert (log_posteriors.exp()[:, padded] == 0).all()
    assert_close(log_posteriors.exp().sum(2), torch.ones(7, 3, dtype=torch.float64))
    for gradient in (b.grad, rbf.centres.grad, rbf.raw_scales.grad):
        assert gradient.isfinite().all()
    assert (rbf.centres.grad[padded] == 0).all()
    assert (rbf.raw_scales.grad[padded] == 0).all()


def test_posteriors_are_finite_far_from_all_prototypes(rbf):
    posteriors = rbf.log_posteriors(torch.full((1, 3, 2), 1e6, dtype=torch.float64)).exp()
    assert_close(posteriors.sum(2), torch.ones(1, 3, dtype=torch.float64))


def test_kernels_do_not_lose_precision_under_autocast():
    rbf = RBFLayer(PRIORS, dim=8)
    b = (rbf.centres[:, 0] + 0.3 * torch.randn(100, *rbf.centres[:, 0].shape)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = rbf.log_kernels(b)
    assert_close(found, rbf.log_kernels(b.float()))


def test_kernels_cannot_collapse():
    rbf = RBFLayer(PRIORS, dim=2)
    torch.nn.init.constant_(rbf.raw_scales, -1e4)
    assert_close(rbf.scales, torch.full((3, 3), rbf.min_scale))


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_prototypes_start_apart(dim):
    (centres,) = RBFLayer([[0.25] * 4], dim).centres.detach()
    assert torch.pdist(centres).min() > 0.1


@pytest.mark.parametrize("n", [1, 2, 4, 24])
def test_prototypes_on_a_line_are_told_apart_and_of_order_1(n):
    rbf = RBFLayer([[1 / n] * n], dim=1)
    (centres,) = rbf.centres.detach()
    assert centres.abs().max() == 2
    assert torch.equal(rbf.log_posteriors(centres[:, None]).argmax(2)[:, 0], torch.arange(n))
    if n > 1:
        neighbours = (centres[0] + centres[1])[None, None] / 2
        fall = rbf.log_kernels(centres[:1, None]) - rbf.log_kernels(neighbours)
        assert 0.2 < fall[0, 0, 0] < 0.6  # half a spacing is about one scale


def test_prototypes_are_picked_by_code(rbf):
    codes = torch.tensor([[2, 0, 0], [-1, 1, -1]])
    picked = rbf.prototypes(codes)

    assert picked.shape == (2, 3, 2)
    assert torch.equal(picked[0], rbf.centres[[0, 1, 2], [2, 0, 0]])
    assert torch.equal(picked[1, 1], rbf.centres[1, 1])


# ---------------------------------------------------------------------------------------------
# Fusion


def test_attention_weighs_the_tokens_per_task_and_head():
    fusion = AttentionFusion(n_tokens=3, n_tasks=2, width=8, n_heads=4)
    torch.nn.init.normal_(fusion.queries)
    tokens = torch.randn(5, 3, 8)
    weights = fusion.attention(tokens)

    assert weights.shape == (5, 3, 8)
    assert (weights > 0).all()
    assert_close(weights.sum(1), torch.ones(5, 8))
    key = fusion.key(tokens).reshape(5, 3, 4, 2)
    query = fusion.queries.reshape(2, 4, 2)
    scores = torch.einsum("nthd,qhd->ntqh", key, query) / math.sqrt(2)
    assert_close(weights, scores.softmax(1).flatten(2))


def test_attention_starts_near_equal_and_learns_to_choose():
    fusion = AttentionFusion(n_tokens=3, n_tasks=1, width=8)
    tokens = torch.randn(5, 3, 8)
    assert_close(fusion.attention(tokens), torch.full((5, 3, 4), 1 / 3), atol=0.02, rtol=0)

    tokens[0, 1] *= 10
    with torch.no_grad():
        fusion.queries.copy_(1e4 * fusion.key(tokens[0, 1]))  # asks for the second token
    assert_close(fusion.attention(tokens[:1])[0, 1], torch.ones(4))


def test_attention_fuses_the_values_that_it_weighs():
    fusion = AttentionFusion(n_tokens=3, n_tasks=2, width=8, n_heads=4)
    torch.nn.init.normal_(fusion.queries)
    tokens = torch.randn(5, 3, 8)
    values = fusion.value(tokens).reshape(5, 3, 2, 4, 2)  # (batch, token, task, head, d)
    weights = fusion.attention(tokens).unflatten(2, (2, 4))
    fused = 3 * torch.einsum("ntqh,ntqhd->nqhd", weights, values)

    assert_close(fusion(tokens), fusion.out(fused.reshape(5, 2, 8)))


def test_attention_does_not_care_for_the_order_of_tokens_but_concatenation_does():
    tokens = torch.randn(5, 3, 8)
    attention, concat = AttentionFusion(3, 2, width=8), ConcatFusion(3, 2, width=8)

    assert_close(attention(tokens), attention(tokens.flip(1)))
    assert concat(tokens).shape == (5, 2, 8)
    assert not torch.allclose(concat(tokens), concat(tokens.flip(1)))
