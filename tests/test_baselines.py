"""The baselines: a plain VAE and a beta-TCVAE on the network of DeepDIVE."""

import copy
import inspect
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from torch.testing import assert_close

from skdive import (
    BetaTCVAEForecaster,
    DeepDIVEEncoder,
    DeepDIVEForecaster,
    VAEForecaster,
    Windows,
    sliding_windows,
)
from skdive.batches import CHUNK, Batch
from skdive.layers import Gaussian, norm_windows
from skdive.losses import conditional_kl, kl_parts
from skdive.objective import FEW, Objective, TotalCorrelationObjective

BASELINES = [VAEForecaster, BetaTCVAEForecaster]
PARTS = ("mutual_information", "total_correlation", "dimension_wise_kl")
SMALL = {"hidden_dim": 16, "latent_dim": 4, "batch_size": 64, "max_epochs": 2, "device": "cpu"}


def make(Estimator=VAEForecaster, **options):
    return Estimator(**{**SMALL, "random_state": 0, **options})


@pytest.fixture(scope="module")
def w():
    """Two noisy channels with a daily cycle, float64."""
    rng = np.random.default_rng(0)
    t = np.arange(400)[:, None]
    values = np.sin(2 * np.pi * (t / 24 + [0, 0.2])) * [1, 3] + rng.normal(0, 0.1, (400, 2))
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    frame = pd.DataFrame(values, index=index, columns=["east", "west"])
    return sliding_windows(frame, 24, 6, marginals=["hour"], dtype=np.float64)


# ---------------------------------------------------------------------------------------------
# Estimators


@pytest.mark.parametrize("Estimator", BASELINES)
def test_nothing_is_said_of_marginals(Estimator, w):
    model = make(Estimator).fit(w.X, w.y)
    for method in ("fit", "predict", "transform", "sample", "sample_y", "score_samples"):
        assert not any(
            "marginal" in p for p in inspect.signature(getattr(model, method)).parameters
        )
    assert not any("marginal" in name or "conditional" in name for name in model.get_params())
    for name in ("predict_marginals", "predict_marginals_proba", "prototypes_", "classes_"):
        assert not hasattr(model, name)


@pytest.mark.parametrize("Estimator", BASELINES)
def test_what_a_fitted_model_answers(Estimator, w):
    model = make(Estimator, max_epochs=8, lr=0.01).fit(w.X, w.y)
    names = [f"latent_{j}" for j in range(4)]
    embedded = copy.deepcopy(model).set_output(transform="pandas").transform(w.X)

    assert list(embedded.columns) == model.get_feature_names_out().tolist() == names
    assert model.predict(w.X).shape == (len(w), 12)
    assert model.score(w.X, w.y) > 0.9
    assert_allclose(model.inverse_transform(embedded), model.reconstruct(w.X), atol=1e-10)
    terms = model.score_samples(w.X, w.y, return_terms=True)
    assert set(terms) == {"elbo", "reconstruction", "forecast", "kl_conditional"}
    total = terms.pop("elbo")
    assert_allclose(sum(terms.values()), total)
    assert_allclose(model.score_samples(w.X), total - terms["forecast"])
    assert model.score_samples(np.asarray(w.X) * 20).max() < model.score_samples(w.X).min()


@pytest.mark.parametrize("options", [{"beta": 0.1}, {"beta": 2.0, "linear_path": False}])
def test_the_vae_is_deepdive_without_marginals(w, options):
    """Bit by bit: encoder, heads, likelihoods and training are the same."""
    sizes = dict(hidden_dim=16, batch_size=64, max_epochs=2, device="cpu", random_state=0)
    deepdive = DeepDIVEForecaster(conditional_dim=4, **sizes, **options).fit(w.X, w.y)
    vae = make(**options).fit(w.X, w.y)
    assert_array_equal(vae.predict(w.X), deepdive.predict(w.X))
    assert_array_equal(vae.reconstruct(w.X), deepdive.reconstruct(w.X))


@pytest.mark.parametrize("Estimator", BASELINES)
def test_there_is_one_phase(Estimator, w):
    model = make(Estimator).fit(w.X, w.y)
    phases = {key for key in model.net_.history[-1] if key.startswith("train_loss_")}
    assert phases == {"train_loss_conditional"}
    assert sum(p.numel() for p in model.net_.module_.marginal.parameters()) == 0


def test_the_history_has_the_parts_of_the_divergence(w):
    history = make(BetaTCVAEForecaster).fit(w.X, w.y).net_.history
    for part in ("train", "valid"):
        assert all(np.isfinite(history[:, f"{part}_{term}"]).all() for term in PARTS)
    assert "train_kl_conditional" not in history[-1]


@pytest.mark.parametrize("Estimator", BASELINES)
def test_verbose_prints_the_loss_but_not_its_terms(Estimator, w, capsys):
    make(Estimator, verbose=1).fit(w.X, w.y)
    header = capsys.readouterr().out.splitlines()[0].split()
    losses = ["train_loss", "train_loss_conditional", "valid_forecast", "valid_loss"]
    assert header == ["epoch", *losses, "dur"]


def total_correlation(model, w):
    """Of the Gaussian with the moments of the aggregate posterior."""
    module, scale = model.net_.module_, model._scale_x
    x = torch.from_numpy(scale.apply(np.asarray(w.X))).swapaxes(1, 2)
    window = norm_windows(x)
    with torch.no_grad():
        q = module.infer_conditional(window, module.infer_marginals(window).mean)
    cov = np.cov(q.mean.numpy().T) + np.diag(q.scale.square().mean(0).numpy())
    return 0.5 * (np.log(np.diag(cov)).sum() - np.linalg.slogdet(cov)[1])


def test_beta_presses_the_total_correlation(w):
    options = dict(max_epochs=25, lr=0.01, early_stopping=False, likelihood="gaussian")
    found = [
        total_correlation(make(BetaTCVAEForecaster, beta=beta, **options).fit(w.X, w.y), w)
        for beta in (0.0, 1.0, 30.0)
    ]
    assert found[2] < 0.5 * found[1] < 0.5 * found[0]


def test_beta_presses_the_divergence(w):
    def divergence(beta):
        model = make(beta=beta, max_epochs=15, lr=0.01, early_stopping=False).fit(w.X, w.y)
        return -model.score_samples(w.X, return_terms=True)["kl_conditional"].mean()

    free, weighed, pressed = divergence(0.0), divergence(0.1), divergence(150.0)
    assert pressed < 0.01 < 0.1 < weighed < 0.5 * free


@pytest.mark.parametrize("Estimator", BASELINES)
def test_copies_predict_the_same(Estimator, w):
    model = make(Estimator).fit(w.X, w.y)
    expected = model.predict(w.X[:5])
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_array_equal(other.predict(w.X[:5]), expected)
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert_array_equal(again.fit(w.X, w.y).predict(w.X[:5]), expected)
    other = clone(model).set_params(random_state=1).fit(w.X, w.y)
    assert np.abs(other.predict(w.X[:5]) - expected).max() > 0


@pytest.mark.parametrize("Estimator", BASELINES)
def test_a_search_over_windows(Estimator, w):
    class NeverMaterialised(Windows):
        def __array__(self, dtype=None, copy=None):
            raise AssertionError("materialised")

    X = NeverMaterialised(w.X.base, w.X.starts, w.X.length, names=w.X.names)
    folds = TimeSeriesSplit(3, gap=w.embargo)
    search = GridSearchCV(make(Estimator, max_epochs=1), {"beta": [0.0, 1.0]}, cv=folds)
    search.fit(X, w.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.n_iter_ == 1


@pytest.mark.parametrize("Estimator", BASELINES)
@pytest.mark.parametrize("shape", [(), (6,), (6, 2)])
def test_predict_looks_like_y(Estimator, w, shape):
    Y = np.asarray(w.y).reshape(len(w), 6, 2)
    y = {(): Y[:, 0, 0], (6,): Y[..., 0], (6, 2): Y}[shape]
    valid = {"X_val": w.X[:9], "y_val": y[:9]}
    model = make(Estimator, max_epochs=1).fit(w.X, y, **valid)
    assert model.predict(w.X[:7]).shape == (7, *shape)
    assert model.sample_y(w.X[:7], 3).shape == (7, *shape, 3)


@pytest.mark.parametrize("Estimator", BASELINES)
def test_autocast(Estimator, w):
    X, y = np.asarray(w.X, dtype=np.float32), np.asarray(w.y, dtype=np.float32)
    plain, half = (make(Estimator, autocast=flag).fit(X, y) for flag in (False, True))
    assert half.predict(X).dtype == np.float32
    assert_allclose(half.predict(X), plain.predict(X), atol=0.15)
    assert half.net_.history[-1, "train_loss"] == pytest.approx(
        plain.net_.history[-1, "train_loss"], rel=0.05
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of what torch.compile imports
def test_a_traced_fit_is_as_good(w, monkeypatch):
    """The batches differ in size, which the estimate depends on."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = (
        make(BetaTCVAEForecaster, compile=flag, max_epochs=4).fit(w.X, w.y)
        for flag in (False, True)
    )
    for term in (*PARTS, "forecast"):
        found = [model.net_.history[-1, f"train_{term}"] for model in (plain, compiled)]
        assert found[1] == pytest.approx(found[0], rel=0.05, abs=0.2), term
    pickle.loads(pickle.dumps(compiled))


def test_a_batch_is_enough_windows_to_compare(w):
    with pytest.raises(ValueError, match="batch_size must be at least 2, 2 for each process, got"):
        make(BetaTCVAEForecaster, batch_size=1).fit(w.X, w.y)
    make(BetaTCVAEForecaster, batch_size=2, max_epochs=1).fit(w.X[:20], w.y[:20])


# ---------------------------------------------------------------------------------------------
# The objective of beta-TCVAE


@pytest.fixture
def batch():
    empty = torch.empty(6, 0, dtype=torch.long)
    return Batch(norm_windows(torch.randn(6, 2, 10)), empty, torch.randn(6, 2, 4))


@pytest.mark.parametrize("training", [True, False])
def test_its_terms_are_the_parts(make_module, batch, training, monkeypatch):
    module, objective = make_module(priors=()), TotalCorrelationObjective("laplace", 6.0, 40)
    monkeypatch.setattr(Gaussian, "sample", lambda self: self.mean + 0.7 * self.scale)
    losses = objective(module, batch, "conditional", training)
    q = module.infer_conditional(batch.window, torch.empty(6, 0, 2))
    parts = [part.mean() for part in kl_parts(q, q.sample(), 40)]

    assert set(losses.terms) == {"reconstruction", "forecast", *PARTS}
    assert_close([losses.terms[name] for name in PARTS], parts)
    values = 2 * 10 + 2 * 4  # of a window and its future
    rest = losses.terms["forecast"] + 0.2 * losses.terms["reconstruction"]
    assert_close(losses.total, rest + (parts[0] + 6 * parts[1] + parts[2]) / values)


def test_it_evaluates_the_heads_at_the_means(make_module, batch):
    module = make_module(priors=())
    expected = Objective("laplace", 1.0)(module, batch, "conditional").terms
    found = TotalCorrelationObjective("laplace", 1.0, 40)(module, batch, "conditional").terms
    for name in ("reconstruction", "forecast"):
        assert_close(found[name], expected[name])


def test_with_beta_1_it_is_the_bound(make_module, batch):
    """In expectation over its samples."""
    module = make_module(priors=())
    bound = Objective("gaussian", 1.0)(module, batch, "conditional").total
    objective = TotalCorrelationObjective("gaussian", 1.0, 40)
    with torch.no_grad():
        found = [objective(module, batch, "conditional").total for _ in range(500)]
    found = torch.stack(found)
    assert (found.mean() - bound).abs() < 5 * found.std() / 500**0.5
    assert found.std() > 0


def test_densities_are_computed_in_full_precision():
    """In bfloat16 a sample would be off its mean by more than a small scale."""
    q = Gaussian(torch.full((4, 2), 3.0).bfloat16(), torch.full((4, 2), 1e-3).bfloat16())
    terms = TotalCorrelationObjective("laplace", 6.0, 40).divergences(q)
    exact = conditional_kl(Gaussian(*(t.double() for t in q))).mean()
    assert sum(terms.values()).dtype == torch.float32
    assert sum(terms.values()).item() == pytest.approx(exact.item(), abs=3)


def test_a_step_is_not_divided(w, monkeypatch):
    """Large windows are computed in parts; a comparison of all windows of the batch is not."""
    whole = make(BetaTCVAEForecaster).fit(w.X, w.y)
    monkeypatch.setitem(CHUNK, "cpu", 20 * 24 * 2)  # a step would take five windows at a time
    large = make(BetaTCVAEForecaster).fit(w.X, w.y)
    terms = [f"{part}_{term}" for part in ("train", "valid") for term in PARTS]
    assert_allclose(large.net_.history[:, terms], whole.net_.history[:, terms], rtol=1e-8)
    assert_allclose(large.predict(w.X), whole.predict(w.X), rtol=1e-8)


def test_validation_compares_as_many_windows_as_training(w):
    """Else the two estimates would have another bias."""
    model = make(BetaTCVAEForecaster, batch_size=16, max_epochs=1)
    sizes = {True: set(), False: set()}
    forward = TotalCorrelationObjective.forward

    def watched(self, module, batch, phase, training=False):
        sizes[training].add(len(batch.codes))
        return forward(self, module, batch, phase, training)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TotalCorrelationObjective, "forward", watched)
        model.fit(w.X, w.y, X_val=w.X[:40], y_val=w.y[:40])
    assert sizes[False] == {16, 8}
    assert max(sizes[True]) == 16


# ---------------------------------------------------------------------------------------------
# Samples, which all forecasters have


def fit_deepdive(w, **options):
    small = dict(hidden_dim=16, marginal_dim=2, conditional_dim=4, max_epochs=2, random_state=0)
    held_out = {name: options.pop(name) for name in ("X_val", "y_val") if name in options}
    return DeepDIVEForecaster(**{**small, **options}).fit(w.X, w.y, w.marginals, **held_out)


@pytest.fixture(scope="module")
def models(w):
    fits = {Estimator.__name__: make(Estimator).fit(w.X, w.y) for Estimator in BASELINES}
    return {**fits, "DeepDIVEForecaster": fit_deepdive(w)}


NAMES = ["VAEForecaster", "BetaTCVAEForecaster", "DeepDIVEForecaster"]


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_repeatable_and_leave_random_numbers_alone(models, w, name):
    model = models[name]
    before = torch.get_rng_state()
    for draw in (lambda seed: model.sample(5, seed), lambda seed: model.sample_y(w.X[:5], 2, seed)):
        assert_array_equal(draw(0), draw(0))
        assert np.abs(draw(0) - draw(1)).max() > 0
        assert np.abs(draw(None) - draw(None)).max() > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types_of_samples(models, w, name):
    model = models[name]
    assert model.sample().shape == (1, 24, 2)
    assert model.sample_y(w.X[:3]).shape == (3, 12, 1)
    assert model.sample(2).dtype == model.sample_y(w.X[:3]).dtype == np.float64
    flat = make(n_channels=2, max_epochs=1).fit(np.asarray(w.X[:50]).reshape(50, -1), w.y[:50])
    assert flat.sample(3).shape == (3, 48)
    for draw in (model.sample, lambda n: model.sample_y(w.X, n)):
        with pytest.raises(ValueError, match="n_samples must be at least 1, got 0"):
            draw(0)
        with pytest.raises(TypeError, match=r"n_samples must be an int, got 1\.5"):
            draw(1.5)


def silence_heads(model):
    """Decode nothing of the latents, and forecast nothing but the linear path."""
    heads = model.net_.module_.conditional
    with torch.no_grad():
        for decoder in (heads.reconstruct, heads.forecast):
            decoder.start_at_zero()
        heads.log_scale_x.copy_(torch.tensor([[-1.0], [0.5]]))
        heads.log_scale_y.copy_(torch.linspace(-2, 1, 6))
    return model


@pytest.mark.parametrize(("likelihood", "factor"), [("gaussian", 1.0), ("laplace", 2**0.5)])
def test_noise_has_the_learned_scales(w, likelihood, factor):
    """In the units of the series; a Laplace distribution of scale s has deviation sqrt(2) s."""
    model = silence_heads(make(likelihood=likelihood).fit(w.X, w.y))
    units = model._scale_x.std * factor
    x = model.sample(3000, random_state=0)
    assert_allclose(x.std((0, 1)), np.exp([-1.0, 0.5]) * units, rtol=0.05)
    assert_allclose(x.mean((0, 1)), model._scale_x.mean, atol=0.05)

    y = model.sample_y(w.X[:2], 4000, random_state=0).reshape(2, 6, 2, 4000)
    assert_allclose(y.mean(-1).reshape(2, 12), model.predict(w.X[:2]), atol=0.5)
    scales = np.exp(np.linspace(-2, 1, 6))[:, None] * units
    assert_allclose(y.std(-1), np.broadcast_to(scales, (2, 6, 2)), rtol=0.1)
    between = np.corrcoef((y - y.mean(-1, keepdims=True)).reshape(24, -1))
    assert np.abs(between - np.eye(24)).max() < 0.1  # windows, steps and targets are independent
    peak = np.abs(y - y.mean(-1, keepdims=True)) < 0.2 * y.std(-1, keepdims=True)
    expected = {"gaussian": 0.1585, "laplace": 1 - np.exp(-0.2 * 2**0.5)}[likelihood]
    assert peak.mean() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("likelihood", ["laplace", "gaussian"])
@pytest.mark.parametrize("held_out", [True, False])
def test_the_scales_are_the_most_likely_ones_for_held_out_windows(w, likelihood, held_out):
    train, valid = w[:200], w[260:]
    options = dict(X_val=valid.X, y_val=valid.y) if held_out else {}
    model = fit_deepdive(train, likelihood=likelihood, early_stopping=held_out, **options)
    judged = valid if held_out else train
    y, forecast = (np.asarray(v).reshape(-1, 6, 2) for v in (judged.y, model.predict(judged.X)))
    x = np.asarray(judged.X) - model.reconstruct(judged.X)
    of_y, of_x = (np.abs(e / model._scale_x.std) for e in (y - forecast, x))
    if likelihood == "gaussian":
        of_y, of_x = of_y**2, of_x**2
    own, n = of_y.mean(0), len(judged)
    expected = [(n * own + FEW * own.mean(0)) / (n + FEW), of_x.mean((0, 1))]
    heads = model.net_.module_.conditional
    found = [heads.log_scale_y.exp().detach().numpy().T, heads.log_scale_x[:, 0].exp().detach()]
    for scale, size in zip(found, expected, strict=True):
        assert_allclose(scale, size if likelihood == "laplace" else size**0.5, rtol=1e-4)


def test_intervals_hold_their_share_for_each_target():
    """After a short fit as well, and for targets that differ in what can be known of them."""
    hours = np.arange(1500)
    noise = np.random.default_rng(0).normal(size=1500)
    series = np.column_stack([np.sin(hours * np.pi / 12) + 0.1 * noise[::-1], noise])
    train, test = sliding_windows(series, 24, 6).split_fractions(0.7, 0.3)
    model = fit_deepdive(train, max_epochs=4)
    y, draws = np.asarray(test.y).reshape(-1, 6, 2), model.sample_y(test.X, 200, random_state=0)
    low, high = np.quantile(draws.reshape(-1, 6, 2, 200), [0.1, 0.9], axis=-1)
    covered = ((low <= y) & (y <= high)).mean((0, 1))
    assert covered == pytest.approx([0.8, 0.8], abs=0.1)
    widths = (high - low).mean((0, 1))
    assert widths[1] > 3 * widths[0]


def test_samples_with_labels(models, w):
    model, rare = models["DeepDIVEForecaster"], w.marginals.iloc[[3]]
    same = pd.concat([rare] * 3000)
    blocks, prototypes = [], model.prototypes_
    decode = model.inverse_transform
    model.inverse_transform = lambda Z: (blocks.append(Z), decode(Z))[1]
    try:
        model.sample(3000, random_state=0, marginals=same)
    finally:
        del model.inverse_transform
    for f, name in enumerate(model.factor_names_):
        code = model.classes_[f].tolist().index(rare[name].iloc[0])
        found = blocks[0][:, 2 * f : 2 * f + 2]
        assert_allclose(found.mean(0), prototypes[name][code], atol=0.1)
    with pytest.raises(ValueError, match="2 rows, but there are 3"):
        model.sample(3, marginals=same[:2])


def test_samples_of_the_future_with_labels(w):
    model = fit_deepdive(w, max_epochs=10, lr=0.01, linear_path=False)
    X, labels = w.X[[10, 16]], w.marginals.iloc[[3, 3]]
    draws = model.sample_y(X, 2000, random_state=0, marginals=labels)
    told, inferred = model.predict(X, labels), model.predict(X)
    error = np.abs(np.median(draws, axis=-1) - told).max()
    assert error < 0.2 * np.abs(told - inferred).max()


@pytest.mark.parametrize("likelihood", ["laplace", "gaussian"])
def test_samples_of_the_future_are_those_of_the_latents(w, likelihood):
    """Mean and variance against an independent simulation with torch's distributions."""
    model = fit_deepdive(w, likelihood=likelihood, max_epochs=10, lr=0.01, linear_path=False)
    module, heads = model.net_.module_, model.net_.module_.conditional
    heads.log_scale_y.data.fill_(-9.0)  # so that the latents are what varies
    x = torch.from_numpy(model._scale_x.apply(np.asarray(w.X[5:6]))).swapaxes(1, 2)
    window = norm_windows(x.expand(4000, -1, -1))
    with torch.no_grad():
        b = torch.distributions.Normal(*module.infer_marginals(window)).sample()
        a = torch.distributions.Normal(*module.infer_conditional(window, b)).sample()
        expected = module.heads(window, b, a).forecast.numpy().swapaxes(1, 2)
    expected = model._scale_y.undo(expected).reshape(4000, 12)
    found, again = model.sample_y(w.X[[5, 5]], 4000, random_state=0).swapaxes(1, 2)

    independent = np.corrcoef(found.T, again.T)[:12, 12:]
    assert np.abs(independent).max() < 0.1
    assert_allclose(found.mean(0), expected.mean(0), atol=5 * expected.std() / 4000**0.5)
    assert_allclose(np.cov(found.T), np.cov(expected.T), atol=0.1 * expected.var(0).max())
    assert expected.std() > 20 * np.exp(-9)


def test_samples_of_windows_decode_the_prior(w):
    """Labels by their share of the windows, blocks around their prototypes, a from N(0, I)."""
    labels = np.where(np.arange(len(w)) % 4 == 0, "rare", "common")
    model = DeepDIVEForecaster(hidden_dim=16, marginal_dim=2, conditional_dim=3, max_epochs=1)
    model.fit(w.X, w.y, labels)
    decoded = []
    model.inverse_transform = lambda Z: (decoded.append(Z), np.zeros((len(Z), 24, 2)))[1]
    model.sample(20_000, random_state=0)
    b, a = np.split(decoded[0], [2], axis=1)

    assert_allclose(a.mean(0), np.zeros(3), atol=0.04)
    assert_allclose(np.cov(a.T), np.eye(3), atol=0.05)
    share = np.array([0.75, 0.25])
    centres = model.prototypes_["factor0"]
    rbf = model.net_.module_.marginal.rbf
    assert_allclose(rbf.log_priors[0].exp(), share, atol=0.01)
    scales = rbf.scales[0].detach().numpy()
    mean = share @ centres
    between = (share[:, None] * (centres - mean)).T @ (centres - mean)
    within = (share @ scales**2) * np.eye(2)
    assert_allclose(b.mean(0), mean, atol=0.1)
    assert_allclose(np.cov(b.T), between + within, rtol=0.05, atol=0.1)


def test_the_encoder_has_no_futures_to_sample():
    assert not hasattr(DeepDIVEEncoder(), "sample_y")
