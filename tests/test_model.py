import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from skdive.layers import norm_windows
from skdive.linear import ClassRidge, LinearPath
from skdive.model import DeepDIVE


def infer(module, x, codes=None):
    return module.infer(norm_windows(x), codes)


def heads(module, x, b, a):
    return module.heads(norm_windows(x), b, a)


def run(module, x, codes=None):
    """Both outputs of a network from latent means."""
    return heads(module, x, *infer(module, x, codes))


def fill(value, *parts):
    """Set all parameters of some modules."""
    for part in parts:
        for parameter in part.parameters():
            torch.nn.init.constant_(parameter, value)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that torch computes."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            self.size = max(self.size, tensor.numel())
        return out


@pytest.fixture
def x():
    return torch.randn(6, 2, 10)


# ---------------------------------------------------------------------------------------------
# Which path leads where


def test_the_reconstruction_sees_x_through_the_latents_only(make_module, x):
    module = make_module()
    x.requires_grad_()
    b, a = (latent.detach() for latent in infer(module, x))
    outputs = heads(module, x, b, a)
    (seen,) = torch.autograd.grad(
        outputs.reconstruction.sum(), x, retain_graph=True, materialize_grads=True
    )
    (forecast_seen,) = torch.autograd.grad(outputs.forecast.sum(), x)

    assert (seen == 0).all()
    assert (forecast_seen != 0).any()
    assert_close(module.decode(b, a), outputs.reconstruction)  # and decode has no x to look at


def test_the_reconstruction_depends_on_x_when_the_latents_do(make_module, x):
    x.requires_grad_()
    module = make_module()
    (seen,) = torch.autograd.grad(module.decode(*infer(module, x)).sum(), x)
    assert (seen != 0).any()


def test_without_latent_path_the_forecast_is_the_linear_path(make_module, x):
    module = make_module()
    fill(0, module.conditional.forecast, module.conditional.gated)
    b, a = infer(module, x)

    assert_close(run(module, x).forecast, module.conditional.linear(norm_windows(x)))
    assert torch.equal(heads(module, x, b + 1, a - 1).forecast, heads(module, x, b, a).forecast)


def test_the_latent_path_is_in_units_of_the_scale_of_a_window(make_module, x):
    module = make_module()
    b, a = infer(module, x)
    whole = run(module, x).forecast
    latent = module.conditional.forecast(module.fuse(b, a)[:, 1])
    fill(0, module.conditional.forecast)
    rest = heads(module, x, b, a).forecast

    assert_close(whole, rest + norm_windows(x).scale.unsqueeze(2) * latent)


def test_without_linear_path_the_forecast_is_that_of_the_latents_alone(make_module, x):
    plain = make_module(linear_path=False)
    b, a = infer(plain, x)
    expected = plain.conditional.forecast(plain.fuse(b, a)[:, 1])

    assert torch.equal(run(plain, x).forecast, expected)
    assert torch.equal(heads(plain, 3 * x + 1, b, a).forecast, expected)
    assert not torch.allclose(heads(plain, x, b + 1, a).forecast, expected)
    assert not torch.allclose(heads(plain, x, b, a + 1).forecast, expected)


@pytest.mark.parametrize("told", [-1, 2])
def test_the_second_forecast_is_of_classes_told_or_inferred_and_counts_by_its_share(
    make_module, x, told
):
    """Also where b could not tell the class, since prototypes are alike."""
    module, window = make_module(), norm_windows(x)
    if told == 2:
        fill(0, module.marginal.rbf)
    known = torch.tensor([[told, -1]]).expand(6, 2)
    of_latents = module(window, known)
    start, y = LinearPath(10, 4), torch.randn(6, 2, 4)
    module.ridge = ridge = ClassRidge(start, [x], [y], module.n_classes)
    ridge.weights.normal_()
    ridge.share.fill_(0.25)
    b, _ = infer(module, x)
    codes = module.marginal.rbf.log_posteriors(b).argmax(2)
    assert (codes > 0).any(0).all() or told == 2
    codes = torch.where(known >= 0, known, codes)

    expected = 0.75 * of_latents + 0.25 * ridge(window, window, codes)
    assert_close(module(window, known), expected)


@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("silenced", ["marginal", "conditional"])
def test_a_latent_counts_through_its_token_alone(make_module, x, fusion, silenced):
    module = make_module(fusion=fusion)
    *marginal_tokens, conditional_token = module.conditional.tokens
    fill(0, *(marginal_tokens if silenced == "marginal" else [conditional_token]))
    b, a = infer(module, x)
    before = heads(module, x, b, a)
    new_b, new_a = heads(module, x, b + 1, a), heads(module, x, b, a + 1)

    for now, moves in [(new_b, silenced != "marginal"), (new_a, silenced != "conditional")]:
        for output, old in zip(now, before, strict=True):
            assert torch.equal(output, old) is not moves


def test_each_latent_has_a_token(make_module, x):
    module = make_module()
    seen = []
    module.conditional.fusion.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    b, a = infer(module, x)
    module.fuse(b, a)

    for token in range(3):  # of b_1, b_2 and a
        moved = torch.cat([b.flatten(1), a], dim=1)
        moved[:, 2 * token : 2 * token + 2] += 1
        module.fuse(moved[:, :4].unflatten(1, (2, 2)), moved[:, 4:])
        differs = (seen[-1] != seen[0]).any(dim=2)
        assert differs.tolist() == [[n == token for n in range(3)]] * 6


@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize(
    ("priors", "conditional_dim", "n_tokens"),
    [([[0.5, 0.5], [0.2, 0.8]], 3, 3), ([[0.5, 0.5]], 0, 1), ([], 3, 1), ([[1.0]] * 5, 1, 6)],
)
def test_fusion_is_over_the_factors_and_the_conditional_latent(
    make_module, x, fusion, priors, conditional_dim, n_tokens
):
    module = make_module(priors, conditional_dim=conditional_dim, fusion=fusion)
    seen = []
    module.conditional.fusion.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    run(module, x)

    (tokens,) = seen
    assert tokens.shape == (6, n_tokens, 16)
    if fusion == "attention":
        weights = module.conditional.fusion.attention(tokens)
        assert weights.shape[:2] == (6, n_tokens)
        assert weights.shape[2] % 2 == 0  # both tasks
        assert_close(weights.sum(1), torch.ones(6, weights.shape[2]))


def test_the_conditional_posterior_depends_on_x_and_b(make_module, x):
    module = make_module()
    b = module.infer_marginals(norm_windows(x)).mean
    q_a = module.infer_conditional(norm_windows(x), b)

    for other in (
        module.infer_conditional(norm_windows(x + 1), b),
        module.infer_conditional(norm_windows(x), b + 1),
    ):
        assert not torch.allclose(other.mean, q_a.mean)
        assert not torch.allclose(other.scale, q_a.scale)


def test_each_half_of_the_network_is_a_path_of_its_own(make_module, x):
    """The marginal latents need nothing of the conditional path."""
    module = make_module()
    before = module.infer_marginals(norm_windows(x)).mean
    fill(0, module.conditional)

    assert torch.equal(module.infer_marginals(norm_windows(x)).mean, before)
    paths = [*module.marginal.parameters(), *module.conditional.parameters()]
    assert {id(p) for p in paths} == {id(p) for p in module.parameters()}
    assert len(paths) == len(list(module.parameters()))


# ---------------------------------------------------------------------------------------------
# Inference


def test_known_labels_replace_inferred_blocks(make_module, x):
    module = make_module()
    inferred, a = infer(module, x)
    codes = torch.tensor([[2, -1], [-1, 1], [-1, -1], [0, 0], [1, -1], [-1, 0]])
    b, told_a = infer(module, x, codes)

    for n in range(6):
        for f in range(2):
            known = codes[n, f] >= 0
            expected = module.marginal.rbf.centres[f, codes[n, f]] if known else inferred[n, f]
            assert torch.equal(b[n, f], expected)
    assert_close(
        told_a, module.infer_conditional(norm_windows(x), b).mean
    )  # a is inferred given the label
    assert_close(told_a[2], a[2])
    assert not torch.allclose(told_a[0], a[0])


def test_the_forward_pass_is_the_forecast(make_module, x):
    module = make_module()
    codes = torch.tensor([[2, -1]] * 6)
    assert torch.equal(module(norm_windows(x), codes), run(module, x, codes).forecast)


def test_a_wholly_unknown_label_changes_nothing(make_module, x):
    module = make_module()
    unknown = run(module, x, torch.full((6, 2), -1))

    for output, expected in zip(unknown, run(module, x), strict=True):
        assert torch.equal(output, expected)


def test_prediction_is_deterministic_and_window_by_window(make_module, x):
    module = make_module(dropout=0.5)
    together, alone = run(module, x), run(module, x[2:3])

    assert torch.equal(run(module, x).forecast, together.forecast)
    assert_close(alone.forecast, together.forecast[2:3])
    assert_close(alone.reconstruction, together.reconstruction[2:3])


def test_posteriors_have_a_block_per_factor(make_module, x):
    module = make_module()
    q_b = module.infer_marginals(norm_windows(x))
    q_a = module.infer_conditional(norm_windows(x), q_b.mean)

    assert q_b.mean.shape == q_b.scale.shape == (6, 2, 2)
    assert q_a.mean.shape == q_a.scale.shape == (6, 3)
    assert q_b.scale.min() > 0
    assert q_a.scale.min() > 0


# ---------------------------------------------------------------------------------------------
# Variants


@pytest.mark.parametrize("fusion", ["attention", "concat"])
@pytest.mark.parametrize("horizon", [0, 4])
@pytest.mark.parametrize(
    ("priors", "conditional_dim"), [([], 3), ([[0.5, 0.5]], 0), ([[0.5, 0.5]], 3)]
)
def test_ablations_run_forwards_and_backwards(
    make_module, x, fusion, horizon, priors, conditional_dim
):
    """Conditional-only DeepDIVE-(a), marginal-only DeepDIVE-(b) and both."""
    module = make_module(
        priors,
        conditional_dim=conditional_dim,
        horizon=horizon,
        sources=(0, 1) if horizon else (),
        fusion=fusion,
    )
    b, a = infer(module, x, torch.zeros(6, len(priors), dtype=torch.long))
    reconstruction, forecast = run(module, x)

    assert b.shape == (6, len(priors), 2)
    assert a.shape == (6, conditional_dim)
    assert reconstruction.shape == x.shape
    assert forecast is None if not horizon else forecast.shape == (6, 2, 4)
    (reconstruction.sum() + (0 if forecast is None else forecast.sum())).backward()
    for name, parameter in module.conditional.named_parameters():
        assert name.startswith("log_scale") or parameter.grad.isfinite().all(), name


def test_a_target_continues_its_source(make_module):
    x = torch.randn(6, 3, 10)
    module = make_module(n_channels=3, sources=(2, 0))
    fill(0, module.conditional.forecast, module.conditional.gated, module.conditional.linear)

    assert torch.equal(run(module, x).forecast, x[:, [2, 0], -1:].expand(6, 2, 4))


def test_the_linear_path_and_the_scale_are_those_of_the_source(make_module):
    x = torch.randn(6, 3, 10) * torch.tensor([1.0, 5.0, 50.0])[:, None]
    module = make_module(n_channels=3, sources=(2, 0))
    window, fused = norm_windows(x[:, [2, 0]]), module.fuse(*infer(module, x))[:, 1]
    direct = module.conditional.linear(window) + module.conditional.gated(window, fused)
    latent = module.conditional.forecast(fused)

    assert_close(run(module, x).forecast, direct + window.scale.unsqueeze(2) * latent)


@pytest.mark.parametrize(("horizon", "dropout", "p"), [(4, 0.1, 0.5), (4, 0.0, 0.0), (0, 0.1, 0.0)])
def test_training_hides_the_place_of_windows_that_are_forecast(make_module, horizon, dropout, p):
    module = make_module(horizon=horizon, dropout=dropout)
    for path in (module.marginal, module.conditional):
        assert path.encoder.hide_place.p == p


def test_float64(make_module, x):
    module = make_module().double()
    b, a = infer(module, x.double(), torch.tensor([[0, -1]] * 6))
    outputs = run(module, x.double())

    for tensor in (b, a, *outputs, module.marginal.rbf.log_posteriors(b)):
        assert tensor.dtype == torch.float64
    assert_close(outputs.forecast, run(module.float(), x).forecast.double(), atol=1e-4, rtol=1e-4)


def test_a_new_network_forecasts_what_its_linear_path_says():
    module = DeepDIVE(10, 2, [[0.5, 0.5]], horizon=4, sources=(0, 1), width=16).eval()
    x = torch.randn(3, 2, 10)
    assert torch.equal(run(module, x).forecast, x[:, :, -1:].expand(3, 2, 4))


def test_the_default_network_is_small_at_321_channels():
    priors = [[1 / n] * n for n in (24, 12, 7)]  # hour, month, day of the week
    module = DeepDIVE(168, 321, priors, horizon=24, sources=tuple(range(321)))
    assert sum(parameter.numel() for parameter in module.parameters()) < 2_000_000


# ---------------------------------------------------------------------------------------------
# Memory


@pytest.mark.parametrize(
    "options",
    [
        dict(lookback=500),
        dict(horizon=500),
        dict(width=256, lookback=4),
        dict(width=64, n_channels=40, sources=range(40), lookback=4),
        dict(width=16, priors=[[0.1] * 10] * 30),
        dict(width=16, priors=[[0.001] * 1000], fusion="concat"),
    ],
    ids=["long", "far", "wide", "many channels", "many factors", "many classes"],
)
def test_the_largest_tensor_of_a_window_is_known(make_module, options):
    module = make_module(**options)
    x = torch.randn(500, options.get("n_channels", 2), options.get("lookback", 10))
    with Largest() as found, torch.inference_mode():
        window = norm_windows(x)
        b = module.infer_marginals(window).mean
        module.marginal.rbf.log_posteriors(b)
        module(window)
    assert found.size == 500 * module.largest
