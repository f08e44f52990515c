import io
import pickle
from inspect import signature
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback, EarlyStopping
from torch.testing import assert_close

from skdive import DeepDIVEEncoder, DeepDIVEForecaster, Interleaving
from skdive.batches import CHUNK, Batch
from skdive.layers import Gaussian, WindowEncoder, norm_windows
from skdive.objective import Objective
from skdive.ridge import fit_class_ridge, ridge_weights

MARGINAL = ("cross_entropy", "kl_marginal")
CONDITIONAL = ("reconstruction", "forecast", "kl_conditional")


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def moments(optimizer):
    """What an optimiser remembers of each of its parameters."""
    groups = [group["params"] for group in optimizer.param_groups]
    state = [optimizer.state.get(p, {}) for params in groups for p in params]
    return [(s["exp_avg"].clone(), s["exp_avg_sq"].clone()) for s in state if s]


class Step(NamedTuple):
    """What there is just after a step of an optimiser."""

    path: str  # that the optimiser trains
    live: dict
    reached: set  # parameters with a gradient
    conditional: list  # moments of each optimiser
    marginal: list


class Recorder(Callback):
    """Takes snapshots of the training: after every step, batch and epoch."""

    def on_train_begin(self, net, **kwargs):
        self.start = weights(net.live_)
        self.steps, self.batches, self.epochs = [], [self.start], []
        self.paths = [""]  # that were trained, by batch
        optimizers = {"conditional": net.optimizer_, "marginal": net.optimizer_marginal_}

        def watch(path):
            def after_step(*_):
                self.paths[-1] += path[0]
                reached = {name for name, p in net.live_.named_parameters() if p.grad is not None}
                live = weights(net.live_)
                self.steps.append(Step(path, live, reached, *map(moments, optimizers.values())))

            return after_step

        for path, optimizer in optimizers.items():
            optimizer.register_step_post_hook(watch(path))

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.batches.append(weights(net.live_))
            self.paths.append("")

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(weights(net.module_))


class BatchLosses(Callback):
    """Keeps the losses of batches, of training and of validation."""

    def initialize(self):
        self.found = {True: [], False: []}
        return self

    def on_batch_end(self, net, training=False, loss=None, **kwargs):
        self.found[training].append(float(loss))


class Interrupt(Callback):
    """Raises an error at the n-th call of one of skorch's hooks."""

    def __init__(self, hook, n):
        self.calls = n
        setattr(self, hook, self._count)

    def _count(self, net, **kwargs):
        self.calls -= 1
        if not self.calls:
            raise KeyboardInterrupt


LOOKBACK, HORIZON = 8, 3


@pytest.fixture(scope="module")
def data():
    """70 windows of two noisy channels, their futures and labels of two factors."""
    t = np.arange(80)[:, None]
    rng = np.random.default_rng(0)
    series = np.sin(t / 3 + [0, 1]) + 0.3 * rng.normal(size=(80, 2))
    rows = np.lib.stride_tricks.sliding_window_view(series, LOOKBACK + HORIZON, axis=0)
    rows = rows.swapaxes(1, 2)
    labels = np.column_stack([np.arange(70) % 3, np.arange(70) // 4 % 3])
    return rows[:, :LOOKBACK].copy(), rows[:, LOOKBACK:].copy(), labels


@pytest.fixture
def noise_as_trained(monkeypatch):
    """The scales of the noise are not measured after the training."""
    monkeypatch.setattr(Objective, "log_scales", lambda *args: {})


def make(**options):
    small = dict(hidden_dim=8, marginal_dim=2, conditional_dim=3, batch_size=16, max_epochs=3)
    return DeepDIVEForecaster(**{**small, "device": "cpu", "random_state": 0, **options})


def fit(data, *callbacks, labelled=True, **options):
    X, y, labels = data
    return make(callbacks=list(callbacks), **options).fit(X, y, labels if labelled else None)


def record(data, *callbacks, **options):
    recorder = Recorder()
    fit(data, *callbacks, recorder, **options)
    return recorder


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def same(moments, others):
    pairs = zip(moments, others, strict=False)
    return len(moments) == len(others) and all(
        torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True)
    )


def of_path(weights, path):
    return {name for name in weights if name.startswith(path)}


def parameters_of(weights):
    """Names of the parameters among the weights; buffers never change."""
    return {name for name in weights if not name.endswith(("log_priors", "sources"))}


# ---------------------------------------------------------------------------------------------
# Interleaving


def test_every_batch_goes_through_both_phases(data):
    recorder = record(data, early_stopping=False)
    assert recorder.paths == ["mc"] * 15 + [""]  # 70 windows are 5 batches, in 3 epochs


@pytest.mark.parametrize(
    ("schedule", "unit", "expected"),
    [
        (["conditional", "marginal"], "batch", ["cm"] * 15),
        (("marginal", "conditional", "conditional"), "batch", ["mcc"] * 15),
        (["joint"], "batch", ["cm"] * 15),
        (("marginal", "conditional"), "epoch", ["m"] * 5 + ["c"] * 5 + ["m"] * 5),
        (["joint", "marginal", "conditional"], "epoch", ["cm"] * 5 + ["m"] * 5 + ["c"] * 5),
        (["conditional"], "epoch", ["c"] * 15),
    ],
)
def test_the_schedule_that_is_passed_replaces_the_default(data, schedule, unit, expected):
    """Turns by epoch go on from one to the next; a joint step is one of both optimisers."""
    recorder = record(data, Interleaving(schedule, unit), early_stopping=False)
    assert recorder.paths[:-1] == expected


def test_there_is_one_interleaving(data):
    mine = Interleaving()
    for callback, expected in [(mine, [mine]), (("turns", mine), [mine]), (Recorder(), [None])]:
        callbacks = fit(data, callback, max_epochs=1).net_.callbacks_
        found = [cb for _, cb in callbacks if isinstance(cb, Interleaving)]
        assert len(found) == 1
        assert expected in ([None], found)


def test_every_fit_starts_with_the_first_phase(data):
    recorder = Recorder()
    model = make(callbacks=[Interleaving(unit="epoch"), recorder], early_stopping=False)
    for _ in range(2):
        model.fit(*data)
        assert recorder.paths[0] == "m"


@pytest.mark.parametrize("unit", ["batch", "epoch"])
def test_without_factors_every_phase_is_conditional(data, unit):
    recorder = record(data, Interleaving(unit=unit), labelled=False, early_stopping=False)
    assert recorder.paths[:-1] == ["c"] * 15


@pytest.mark.parametrize("unit", ["batch", "epoch"])
def test_a_phase_changes_its_own_path_and_no_other(data, unit):
    """Its parameters, their gradients and, bit by bit, the state of its optimiser."""
    steps = record(data, Interleaving(unit=unit), early_stopping=False, max_epochs=4).steps
    assert {step.path for step in steps} == {"marginal", "conditional"}

    for before, after in pairwise(steps):
        trained = after.path
        frozen = "conditional" if trained == "marginal" else "marginal"
        moved = changed(before.live, after.live)
        assert moved
        assert moved <= of_path(after.live, trained)
        assert after.reached <= of_path(after.live, trained)
        assert same(getattr(after, frozen), getattr(before, frozen))
        assert len(getattr(after, trained)) == len(of_path(after.live, trained) & after.reached)
        assert not same(getattr(after, trained), getattr(before, trained))


def test_each_path_is_trained_as_a_whole(data):
    """Once the layers that start at zero have moved, no parameter stays where it is."""
    steps = record(data, early_stopping=False).steps
    for before, after in pairwise(steps[4:]):
        path = of_path(after.live, after.path) & parameters_of(after.live)
        assert changed(before.live, after.live) == path


def test_the_first_step_trains_one_path(data):
    recorder = record(data)
    first = recorder.steps[0]
    assert changed(recorder.start, first.live) <= of_path(recorder.start, "marginal")
    assert not first.conditional  # its optimiser has not begun


def test_joint_training_changes_every_parameter_in_a_step(data):
    recorder = record(data, Interleaving(["joint"]))
    for before, after in pairwise(recorder.batches[2:]):
        assert changed(before, after) == parameters_of(after)
    assert recorder.steps[0].reached >= parameters_of(recorder.start)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (("marginal", "both"), r"schedule must be a sequence of phases out of .*'both'"),
        ((), r"schedule must be a sequence of phases out of .*got \(\)"),
        ("joint", r"schedule must be a sequence of phases out of .*got 'joint'"),
    ],
)
def test_invalid_schedules(data, schedule, message):
    with pytest.raises(ValueError, match=message):
        fit(data, Interleaving(schedule))


def test_invalid_unit(data):
    with pytest.raises(ValueError, match=r"unit must be 'batch' or 'epoch', got 'step'"):
        fit(data, Interleaving(unit="step"))


# ---------------------------------------------------------------------------------------------
# Objective


@pytest.fixture
def batch():
    codes = torch.tensor([[0, -1], [-1, 1], [2, 0], [-1, -1], [1, 1], [0, 0]])
    return Batch(norm_windows(torch.randn(6, 2, 10)), codes, torch.randn(6, 2, 4))


@pytest.mark.parametrize(
    ("phase", "names"),
    [
        ("marginal", MARGINAL),
        ("conditional", CONDITIONAL),
        ("joint", (*MARGINAL, *CONDITIONAL)),
    ],
)
def test_a_phase_computes_its_own_terms(make_module, batch, phase, names):
    terms = Objective()(make_module(), batch, phase, training=True).terms
    assert tuple(terms) == names
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())


@pytest.mark.parametrize("term", CONDITIONAL)
def test_gradients_of_the_heads_reach_the_marginal_path_in_joint_training_only(
    make_module, batch, term, monkeypatch
):
    monkeypatch.setattr("skdive.objective.KNOWN_SHARE", 0.5)
    module = make_module().train()
    for phase, reached in [("conditional", False), ("joint", True)]:
        module.zero_grad()
        Objective()(module, batch, phase, training=True).terms[term].backward()
        gradients = [p.grad for p in module.marginal.encoder.parameters()]
        gradients.append(module.marginal.rbf.centres.grad)  # the heads are told some prototypes
        assert all((g is not None and bool(g.any())) is reached for g in gradients)


def test_the_heads_are_not_computed_in_the_marginal_phase(make_module, batch):
    module = make_module()
    module.conditional.fusion.register_forward_hook(lambda *_: pytest.fail("computed"))
    Objective()(module, batch, "marginal", training=True)


def test_latents_are_samples_in_training_and_means_elsewhere(make_module, batch):
    module = make_module()

    def twice(phase, training):
        return [Objective()(module, batch, phase, training).terms for _ in range(2)]

    first, second = twice("joint", training=False)
    assert first == second
    first, second = twice("joint", training=True)
    assert all(first[name] != second[name] for name in ("cross_entropy", "forecast"))


@pytest.mark.parametrize("likelihood", ["laplace", "gaussian"])
def test_the_terms_are_those_of_the_bound(make_module, batch, likelihood):
    """In evaluation: per value of x and y, per window for the divergences."""
    module = make_module()
    window, codes = batch.window, batch.codes
    terms = Objective(likelihood)(module, batch, "joint").terms
    noise = {"laplace": torch.distributions.Laplace, "gaussian": torch.distributions.Normal}
    outputs, heads = module.heads(window, *module.infer(window)), module.conditional
    q_b = module.infer_marginals(window)
    q_a = torch.distributions.Normal(*module.infer_conditional(window, q_b.mean))
    prior = torch.distributions.Normal(0.0, 1.0)
    entropy = torch.nn.functional.nll_loss(
        module.marginal.rbf.log_posteriors(q_b.mean).transpose(1, 2), codes, reduction="sum",
        ignore_index=-1,
    )  # fmt: skip
    expected = {
        "reconstruction": -noise[likelihood](outputs.reconstruction, heads.log_scale_x.exp())
        .log_prob(window.x)
        .mean(),
        "forecast": -noise[likelihood](outputs.forecast, heads.log_scale_y.exp())
        .log_prob(batch.y)
        .mean(),
        "kl_conditional": torch.distributions.kl_divergence(q_a, prior).sum(1).mean(),
        "cross_entropy": entropy / 6,
    }

    assert_close({name: terms[name] for name in expected}, expected)


def test_the_cross_entropy_is_a_mean_over_known_labels(make_module, batch):
    """However few they are, and also as the mean over the parts of a batch."""
    module, codes = make_module(), batch.codes
    batch = batch._replace(labelled=(codes >= 0).float().mean(0))
    b = module.infer_marginals(batch.window).mean
    expected = sum(
        torch.nn.functional.nll_loss(log_posteriors, factor, ignore_index=-1)
        for log_posteriors, factor in zip(
            module.marginal.rbf.log_posteriors(b).unbind(1), codes.unbind(1), strict=True
        )
    )
    parts = [
        batch._replace(window=type(batch.window)(*(v[k] for v in batch.window)), codes=codes[k])
        for k in (slice(0, 3), slice(3, 6))
    ]
    whole, *halves = (Objective()(module, part, "marginal").terms for part in (batch, *parts))
    assert_close(whole["cross_entropy"], expected)
    assert_close(sum(half["cross_entropy"] for half in halves) / 2, expected)


def test_beta_weighs_the_divergences(make_module, batch):
    module = make_module()
    for phase, divergence, share in [
        ("marginal", "kl_marginal", 1),
        ("conditional", "kl_conditional", 1 / (2 * 10 + 2 * 4)),  # per value of x and y
    ]:
        without, with_beta = (Objective(beta=beta)(module, batch, phase) for beta in (0.0, 2.0))
        extra = 2 * share * without.terms[divergence]
        assert_close(with_beta.total, without.total + extra)


def test_the_joint_loss_is_the_sum_of_both_phases(make_module, batch):
    module, objective = make_module(), Objective()
    halves = [objective(module, batch, phase).total for phase in ("marginal", "conditional")]
    assert_close(objective(module, batch, "joint").total, sum(halves))


@pytest.mark.parametrize("schedule", [("marginal", "conditional"), ("joint",)])
def test_a_batch_in_parts_makes_the_same_step(data, monkeypatch, schedule):
    """Without noise, gradients that add up over the parts are those of the whole batch."""
    monkeypatch.setattr(Gaussian, "sample", lambda self: self.mean)
    monkeypatch.setattr("skdive.objective.KNOWN_SHARE", 0.0)
    options = dict(dropout=0.0, max_epochs=2, early_stopping=False)
    whole = fit(data, Interleaving(schedule), **options)
    monkeypatch.setitem(CHUNK, "cpu", 20 * 8 * 2)  # a step takes five windows at a time
    parts = fit(data, Interleaving(schedule), **options)

    for one, other in zip(whole.net_.history, parts.net_.history, strict=True):
        assert_allclose(one["train_loss"], other["train_loss"], rtol=1e-6)
    assert_close(weights(whole.net_.module_), weights(parts.net_.module_), atol=1e-6, rtol=0)


def test_evaluation_takes_fewer_windows_at_a_time_where_the_network_is_wide(data, monkeypatch):
    seen = {True: set(), False: set()}
    forward = WindowEncoder.forward

    def watched(self, window):
        seen[self.training].add(len(window.x))
        return forward(self, window)

    monkeypatch.setattr(WindowEncoder, "forward", watched)
    monkeypatch.setitem(CHUNK, "cpu", 6 * 8 * 64)  # six windows of the largest layer
    model = fit(data, hidden_dim=64, batch_size=32, max_epochs=1)
    assert seen[True] == {32, 21}  # a step of 53 windows
    assert seen[False] == {3, 1, 6}  # after training, as many at a time as in predictions
    seen[False].clear()
    model.predict(data[0])
    model.score_samples(data[0], data[1])
    assert seen[False] == {6, 4}


# ---------------------------------------------------------------------------------------------
# History


@pytest.mark.parametrize("at_once", [1000, 16])
def test_callbacks_are_told_the_loss_of_the_batch(data, monkeypatch, at_once):
    """Of all its phases and of all its parts."""
    monkeypatch.setitem(CHUNK, "cpu", at_once * 8 * 8)
    losses = BatchLosses()
    model = fit(data, losses, batch_size=1000, max_epochs=1)
    for training, name in ((True, "train_loss"), (False, "valid_loss")):
        assert losses.found[training] == pytest.approx(model.net_.history[:, name], rel=1e-5)


def test_the_history_has_every_term_of_every_phase(data):
    history = fit(data, verbose=0).net_.history
    for part in ("train", "valid"):
        for term in (*MARGINAL, *CONDITIONAL, "loss"):
            assert np.isfinite(history[:, f"{part}_{term}"]).all()
    assert np.isfinite(history[:, ("train_loss_marginal", "train_loss_conditional")]).all()
    assert "train_loss_joint" not in history[-1]


def test_the_history_of_phases_that_last_an_epoch(data):
    history = fit(data, Interleaving(unit="epoch")).net_.history
    for epoch, (present, absent) in enumerate([("marginal", "conditional"), ("conditional",) * 2]):
        assert f"train_loss_{present}" in history[epoch]
        assert history[epoch, "train_loss"] == history[epoch, f"train_loss_{present}"]
        assert present == absent or f"train_loss_{absent}" not in history[epoch]
    assert np.isfinite(history[:, "valid_forecast"]).all()


def test_the_history_of_joint_training(data):
    epoch = fit(data, Interleaving(["joint"])).net_.history[-1]
    assert epoch["train_loss"] == epoch["train_loss_joint"]
    assert {f"train_{term}" for term in (*MARGINAL, *CONDITIONAL)} <= set(epoch)


@pytest.mark.usefixtures("noise_as_trained")
def test_the_validation_loss_is_the_objective_at_the_averaged_weights(data):
    X, y, labels = data
    model = make(early_stopping=False, max_epochs=1)
    model.fit(X, y, labels, X_val=X[:7], y_val=y[:7], marginals_val=labels[:7])
    model.net_.module_.ridge = None  # the second forecast comes after training
    terms = model.score_samples(X[:7], y[:7], return_terms=True)
    found = model.net_.history[-1]

    for name, size in [("reconstruction", 8 * 2), ("forecast", 3 * 2), ("kl_conditional", 1)]:
        assert_allclose(found[f"valid_{name}"], -terms[name].mean() / size, rtol=1e-6)


@pytest.mark.parametrize("unit", ["batch", "epoch"])
def test_a_verbose_fit_prints_a_line_per_epoch(data, capsys, unit):
    fit(data, Interleaving(unit=unit), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    assert "valid_loss" in lines[0]


# ---------------------------------------------------------------------------------------------
# What is kept of a training


def overfitted(data):
    """A fit whose validation gets worse after a while."""
    recorder = Recorder()
    model = fit(data, recorder, lr=0.003, max_epochs=60, n_iter_no_change=3)
    best = int(np.argmin(model.net_.history[:, "valid_forecast"]))
    assert 0 < best < model.n_iter_ - 1 < 59
    return model, recorder, best


@pytest.mark.usefixtures("noise_as_trained")
def test_early_stopping_restores_the_best_weights(data):
    model, recorder, best = overfitted(data)

    assert model.n_iter_ == best + 1 + 3
    assert not changed(recorder.epochs[best], weights(model.net_.module_))
    assert changed(recorder.epochs[best + 1], weights(model.net_.module_))


def test_without_early_stopping_training_goes_on_with_all_windows(data):
    model = fit(data, lr=0.05, max_epochs=12, early_stopping=False)
    assert model.n_iter_ == 12
    assert "valid_loss" not in model.net_.history[-1]


@pytest.mark.usefixtures("noise_as_trained")
def test_the_kept_weights_are_a_running_average_of_the_trained_ones(data):
    """Step s of n has weight (s + 1) (s + 2), which reaches back over a third of the steps."""
    recorder = Recorder()
    model = fit(data, recorder, early_stopping=False, lr=0.05)
    kept = weights(model.net_.module_)

    for path in ("marginal", "conditional"):
        trail = [recorder.start, *(s.live for s in recorder.steps if s.path == path)]
        share = torch.tensor([(s + 1) * (s + 2) for s in range(len(trail))], dtype=torch.float64)
        share /= share.sum()
        for name in of_path(kept, path) & parameters_of(kept):
            average = sum(w * live[name] for w, live in zip(share, trail, strict=True))
            assert_close(kept[name], average)
            assert not torch.allclose(kept[name], trail[-1][name])


def test_training_starts_from_the_ridge(data):
    X, y, _ = data
    model = fit(data, lr=1e-12, max_epochs=1, early_stopping=False)
    ridge = fit(data, lr=1e-12, max_epochs=1, early_stopping=False, labelled=False)
    repeated = np.broadcast_to(X[:, -1:], y.shape)

    assert_allclose(model.predict(X), ridge.predict(X), rtol=1e-6)
    assert np.square(model.predict(X) - y).sum() < 0.7 * np.square(repeated - y).sum()


@pytest.mark.parametrize(("likelihood", "robust"), [("laplace", True), ("gaussian", False)])
@pytest.mark.parametrize("regression", [ridge_weights, fit_class_ridge])
def test_regressions_are_robust_if_the_likelihood_is(
    data, monkeypatch, regression, likelihood, robust
):
    seen = []

    def watched(*args, **kwargs):
        seen.append(signature(regression).bind(*args, **kwargs).arguments["robust"])
        return regression(*args, **kwargs)

    monkeypatch.setattr(f"skdive.training.{regression.__name__}", watched)
    fit(data, likelihood=likelihood, max_epochs=1)
    assert seen == [robust]


def test_training_lowers_the_losses(data):
    history = fit(data, max_epochs=30, early_stopping=False, lr=0.01).net_.history
    for term in ("cross_entropy", "reconstruction", "forecast"):
        assert history[-1, f"train_{term}"] < history[0, f"train_{term}"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_network_has_the_dtype_of_the_data(data, dtype):
    X, y, labels = data
    model = make(max_epochs=1).fit(X.astype(dtype), y.astype(dtype), labels)

    assert {p.dtype for p in model.net_.module_.parameters()} == {getattr(torch, dtype.__name__)}
    assert model.predict(X.astype(dtype)).dtype == dtype


def test_a_fitted_net_can_be_pickled(data):
    X, _, labels = data
    model = fit(data, Interleaving(unit="epoch"))
    net = pickle.loads(pickle.dumps(model.net_))

    assert not changed(weights(model.net_.module_), weights(net.module_))
    assert net.history == model.net_.history
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict(X, labels), model.predict(X, labels))


def test_only_what_prediction_needs_is_kept(data):
    net = fit(data).net_
    buffer = io.BytesIO()
    torch.save(net.module_.state_dict(), buffer)

    assert not {"live_", "optimizer_", "optimizer_marginal_"} & set(vars(net))
    assert not net.module_.training
    assert len(pickle.dumps(net)) < 2 * buffer.tell()


# ---------------------------------------------------------------------------------------------
# Random numbers


def test_equal_seeds_give_bitwise_equal_fits(data):
    torch.manual_seed(1)
    one = fit(data, dropout=0.3)
    torch.manual_seed(2)
    two, other = fit(data, dropout=0.3), fit(data, dropout=0.3, random_state=1)

    assert not changed(weights(one.net_.module_), weights(two.net_.module_))
    assert changed(weights(one.net_.module_), weights(other.net_.module_))
    keys = ["train_loss", "valid_loss"]
    assert one.net_.history[:, keys] == two.net_.history[:, keys]


@pytest.mark.parametrize("lr", [0.001, 1e30])
def test_a_fit_leaves_the_global_random_numbers_alone(data, lr):
    """Even one that fails."""
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    try:
        fit(data, lr=lr)
    except ValueError:
        assert lr == 1e30

    assert torch.equal(torch.get_rng_state(), before[0])
    assert_array_equal(np.random.get_state()[1], before[1][1])  # noqa: NPY002
    assert np.random.get_state()[2] == before[1][2]  # noqa: NPY002


# ---------------------------------------------------------------------------------------------
# Trainings that end early


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_loss_that_is_not_finite_stops_with_the_epoch(data, early_stopping):
    with pytest.raises(ValueError, match=r"loss became (nan|inf) in epoch 1\. Lower lr"):
        fit(data, lr=1e30, early_stopping=early_stopping)


def test_a_failed_fit_can_be_repeated(data):
    model = make(lr=1e30)
    with pytest.raises(ValueError, match="loss became"):
        model.fit(*data)
    expected = fit(data).predict(data[0])
    assert_array_equal(model.set_params(lr=0.002).fit(*data).predict(data[0]), expected)


@pytest.mark.parametrize(
    ("hook", "n", "epoch"),
    [("on_batch_end", 1, 1), ("on_batch_end", 9, 2), ("on_epoch_end", 2, 2)],
)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_an_interrupted_fit_leaves_a_model_and_says_so(data, hook, n, epoch, early_stopping):
    with pytest.warns(UserWarning, match=f"fit was interrupted in epoch {epoch}; the model is fit"):
        model = fit(data, Interrupt(hook, n), max_epochs=50, early_stopping=early_stopping)

    assert model.n_iter_ == epoch
    assert np.isfinite(model.predict(data[0])).all()
    pickle.loads(pickle.dumps(model.net_.module_))


@pytest.mark.usefixtures("noise_as_trained")
def test_an_interrupted_fit_has_the_best_weights_of_the_epochs_done(data):
    # 62 training windows of 4 batches, and one of validation: 5 calls an epoch.
    recorder = Recorder()
    with pytest.warns(UserWarning, match="interrupted in epoch 3"):
        model = fit(data, recorder, Interrupt("on_batch_end", 13), max_epochs=50)
    best = int(np.argmin(model.net_.history[:2, "valid_forecast"]))

    assert len(recorder.epochs) == 2
    assert not changed(recorder.epochs[best], weights(model.net_.module_))


def test_an_interruption_of_the_second_forecast_keeps_what_was_trained(data, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    plain = fit(data)
    assert plain.net_.module_.ridge is not None
    monkeypatch.setattr("skdive.training.fit_class_ridge", interrupted)
    with pytest.warns(UserWarning, match="fit was interrupted in epoch 3"):
        model = fit(data)
    plain.net_.module_.ridge = None
    assert_array_equal(model.predict(data[0]), plain.predict(data[0]))
    monkeypatch.setattr("skdive.training.fit_class_ridge", None)
    with pytest.warns(UserWarning, match="fit was interrupted in epoch 2"):
        fit(data, Interrupt("on_epoch_end", 2))  # does without


def test_early_stopping_is_not_an_interruption(data, recwarn):
    overfitted(data)
    mine = EarlyStopping("train_loss", patience=1, lower_is_better=False)  # stops at once
    model = fit(data, mine, early_stopping=False, max_epochs=50)

    assert model.n_iter_ < 50
    assert not recwarn


def test_reaching_the_last_epoch_is_not_an_interruption(data, recwarn):
    assert fit(data).n_iter_ == 3
    assert not recwarn


def test_the_encoder_is_interleaved_as_well(data):
    X, _, labels = data
    recorder = Recorder()
    model = DeepDIVEEncoder(
        hidden_dim=8, batch_size=16, max_epochs=2, callbacks=[recorder], random_state=0
    )
    model.fit(X, labels[:, 0])

    assert recorder.paths == ["mc"] * 10 + [""]
    for before, after in pairwise(recorder.steps):
        assert changed(before.live, after.live) <= of_path(after.live, after.path)
