"""How the network learns: the private skorch net."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, PrintLog
from skorch.helper import predefined_split
from torch import Tensor, nn

from skdive.batches import Batch, WindowBatches
from skdive.interleaving import Interleaving
from skdive.losses import (
    LIKELIHOODS,
    conditional_kl,
    kernel_kl,
    marginal_cross_entropy,
    marginal_kl_bound,
)
from skdive.model import DeepDIVE, Outputs
from skdive.parallel import Process
from skdive.ridge import ridge_weights

RECONSTRUCTION_WEIGHT = 0.2  # of a reconstructed value, where a forecast value has 1
KNOWN_SHARE = 0.25  # of labels that the heads see as prototypes in training
LINEAR_PATH_LR = 0.1  # times lr: it starts at its optimum, and follows the latents slowly
WEIGHT_DECAY = 0.01
TERMS = ("cross_entropy", "kl_marginal", "reconstruction", "forecast", "kl_conditional")


class Objective(nn.Module):
    """The evidence lower bound as a loss: its terms, and how they are weighted.

    The conditional loss is counted per forecast value (per reconstructed value where there is no
    forecast), so that its size does not depend on the horizon; the marginal loss per window.

    Parameters
    ----------
    likelihood : {"laplace", "gaussian"}
        Noise of reconstruction and forecast.
    beta : float
        Weight of the KL divergences.
    """

    def __init__(self, likelihood: str = "laplace", beta: float = 0.1):
        super().__init__()
        self.nll, self.beta = LIKELIHOODS[likelihood], beta

    def terms(
        self, module: DeepDIVE, batch: Batch, phase: str, training: bool
    ) -> dict[str, Tensor]:
        """The terms of the loss that a phase needs, as means over the batch.

        Latents are samples in training, else means. In training the heads see a share of the
        labels as prototypes, so that they can be told labels when they predict.
        """
        x, codes = batch.inputs["x"], batch.inputs["codes"]
        with torch.set_grad_enabled(training and phase != "conditional"):
            q_b = module.infer_marginals(x)
            b = q_b.sample() if training else q_b.mean
        terms = {}
        if phase != "conditional":
            rbf = module.marginal.rbf
            kl = marginal_kl_bound(kernel_kl(q_b, rbf.centres, rbf.scales), rbf.log_priors, codes)
            terms["cross_entropy"] = marginal_cross_entropy(rbf.log_posteriors(b), codes)
            terms["kl_marginal"] = kl
            terms = {name: term.sum(1).mean() for name, term in terms.items()}
        if phase == "marginal":
            return terms
        if training and module.n_factors:
            told = torch.rand(codes.shape, device=codes.device) < KNOWN_SHARE
            prototypes = module.marginal.rbf.prototypes(codes)
            if phase == "conditional":
                prototypes = prototypes.detach()
            b = torch.where((told & (codes >= 0)).unsqueeze(2), prototypes, b)
        q_a = module.infer_conditional(x, b)
        outputs = module.heads(x, b, q_a.sample() if training else q_a.mean)
        reconstruction, forecast = self.likelihood(module, outputs, x, batch.y)
        terms["reconstruction"] = reconstruction.mean()
        if forecast is not None:
            terms["forecast"] = forecast.mean()
        terms["kl_conditional"] = conditional_kl(q_a).mean()
        return terms

    def likelihood(
        self, module: DeepDIVE, outputs: Outputs, x: Tensor, y: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Negative log-likelihoods of each value of x, and of y where it is known."""
        heads = module.conditional
        x_nll = self.nll(x, outputs.reconstruction, heads.log_scale_x)
        if outputs.forecast is None or y is None:
            return x_nll, None
        return x_nll, self.nll(y, outputs.forecast, heads.log_scale_y)

    def marginal_loss(self, terms: dict[str, Tensor]) -> Tensor:
        """Cross entropy and weighted KL divergence of the marginal latents."""
        return terms["cross_entropy"] + self.beta * terms["kl_marginal"]

    def conditional_loss(self, terms: dict[str, Tensor], batch: Batch) -> Tensor:
        """Reconstruction, forecast and weighted KL divergence of the conditional latent."""
        modelled = batch.inputs["x"] if batch.y is None else batch.y
        kl = self.beta * terms["kl_conditional"] / modelled[0].numel()
        if batch.y is None:
            return terms["reconstruction"] + kl
        return terms["forecast"] + RECONSTRUCTION_WEIGHT * terms["reconstruction"] + kl

    def loss(self, terms: dict[str, Tensor], batch: Batch, phase: str) -> Tensor:
        """What a phase minimises."""
        if phase == "marginal":
            return self.marginal_loss(terms)
        if phase == "conditional":
            return self.conditional_loss(terms, batch)
        return self.marginal_loss(terms) + self.conditional_loss(terms, batch)


class StopTraining(KeyboardInterrupt):
    """Ends training after an epoch, the way that skorch understands."""


class InterleavedNet(NeuralNet):
    """A skorch net with a marginal and a conditional phase.

    Of its two modules, `live_` is what the optimisers train; `module_`, which is evaluated, kept
    and pickled, is the running average of its weights. An average over the recent steps forecasts
    better than the last step, and makes a schedule of learning rates superfluous.
    """

    module_: DeepDIVE
    live_: DeepDIVE

    def __init__(self, *args: Any, dtype: torch.dtype = torch.float32, **kwargs: Any):
        self.dtype = dtype
        super().__init__(*args, **kwargs)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        quiet = [f"{part}_{term}" for part in ("train", "valid") for term in TERMS]
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog(keys_ignored=quiet))]

    def initialize_module(self) -> InterleavedNet:
        super().initialize_module()
        self.module_ = self.module_.to(self.dtype)
        self.live_ = deepcopy(self.module_)
        return self

    def initialize_optimizer(self, triggered_directly: Any = None) -> InterleavedNet:
        marginal, conditional = self.live_.marginal, self.live_.conditional
        linear = conditional.linear
        direct = [] if linear is None else list(linear.parameters())
        latent = [p for p in conditional.parameters() if all(p is not q for q in direct)]
        options: dict[str, Any] = {
            "lr": self.lr,
            "weight_decay": WEIGHT_DECAY,
            "fused": torch.device(self.device).type in ("cpu", "cuda"),
        }
        groups: list[dict[str, Any]] = [{"params": latent}]
        if direct:
            groups.append({"params": direct, "lr": LINEAR_PATH_LR * self.lr, "weight_decay": 0.0})
        self.optimizer_ = self.optimizer(groups, **options)  # of the conditional phase
        self.optimizer_marginal_ = self.optimizer(list(marginal.parameters()), **options)
        return self

    def enter_phases(self, phases: Sequence[str]) -> None:
        """Set the phases that the next batches go through."""
        n_factors = self.module_.n_factors  # without any, every phase is conditional
        self.phases_ = tuple(phases) if n_factors else ("conditional",)

    def get_iterator(self, dataset: WindowBatches, training: bool = False) -> Any:
        """Batches gathered on the device; evaluation takes larger ones."""
        size = self.batch_size if training else dataset.x.chunk * self.process_.size
        return _Epochs(dataset, size, training, self.process_)

    def train_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """One step in each phase that the batch goes through."""
        total, terms = 0.0, {}
        for phase in self.phases_:
            parts = self.criterion_.terms(self.live_, batch, phase, training=True)
            loss = self.criterion_.loss(parts, batch, phase)
            loss.backward()
            self.process_.average_gradients(self.live_.parameters(), batch.n_windows)
            if phase != "marginal":
                self._step(self.optimizer_, "conditional")
            if phase != "conditional":
                self._step(self.optimizer_marginal_, "marginal")
            total = total + loss.detach()
            terms.update({f"loss_{phase}": loss, **parts})
        return {"loss": total, "terms": terms}

    def _step(self, optimizer: torch.optim.Optimizer, path: str) -> None:
        """Step an optimiser, and average the weights that it changed."""
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.steps_[path] += 1
        # The average reaches back over about a third of the steps so far, and 2,000 at most.
        weight = max(3 / (self.steps_[path] + 3), 5e-4)
        live, average = getattr(self.live_, path), getattr(self.module_, path)
        with torch.no_grad():
            for new, mean in zip(live.parameters(), average.parameters(), strict=True):
                mean.lerp_(new, weight)

    def validation_step(self, batch: Batch, **fit_params: Any) -> dict[str, Any]:
        """All terms of the loss, from latent means."""
        phase = "joint" if self.module_.n_factors else "conditional"
        with torch.no_grad():
            terms = self.criterion_.terms(self.module_, batch, phase, training=False)
            loss = self.criterion_.loss(terms, batch, phase)
        return {"loss": loss, "terms": terms}

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Callable, **fit_params: Any
    ) -> None:
        """One pass over the data; the device is asked for the losses once, at its end."""
        if iterator is None:
            return
        self.live_.train(training)
        self.module_.eval()
        sums: dict[str, Any] = {}
        counts: dict[str, float] = {}
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            self.notify("on_batch_end", batch=batch, training=training, loss=step["loss"])
            n = batch.n_windows
            for name, term in {"loss": step["loss"], **step["terms"]}.items():
                sums[name] = sums.get(name, 0.0) + n * term.detach()
                counts[name] = counts.get(name, 0) + n
        totals, counts = self.process_.sum(sums), self.process_.sum(counts)
        for name, total in totals.items():
            self.history.record(f"{prefix}_{name}", total / counts[name])
        if not math.isfinite(self.history[-1, f"{prefix}_loss"]):
            self.process_.end_together()
            raise ValueError(
                f"the {prefix} loss became {self.history[-1, f'{prefix}_loss']} in epoch "
                f"{len(self.history)}. Lower lr (now {self.lr}), and look for extreme values in "
                "the series."
            )

    def fit_loop(self, *args: Any, **kwargs: Any) -> InterleavedNet:
        """Train, and note whether somebody interrupted it."""
        self.steps_ = {"marginal": 0, "conditional": 0}
        self.interrupted_ = False
        try:
            return super().fit_loop(*args, **kwargs)
        except KeyboardInterrupt as stop:  # is also skorch's way to stop early
            early = [cb for _, cb in self.callbacks_ if isinstance(cb, EarlyStopping)]
            stopped = any(cb.misses_ >= cb.patience for cb in early)
            self.interrupted_ = not stopped and not isinstance(stop, StopTraining)
            raise

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        super().on_epoch_begin(net, **kwargs)
        if self.watcher_ is not None:
            self.watcher_.epoch_begins()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        super().on_epoch_end(net, **kwargs)
        if self.process_.any(self.watcher_ is not None and self.watcher_.epoch_ends()):
            raise StopTraining


class _Epochs:
    """An iterable over the batches of a data set, shuffled anew in every epoch of training."""

    def __init__(self, dataset: WindowBatches, batch_size: int, shuffle: bool, process: Process):
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.process = process

    def __iter__(self) -> Iterator[Batch]:
        return self.dataset.batches(self.batch_size, self.shuffle, self.process)


def start_linear_path(net: InterleavedNet, train: WindowBatches) -> None:
    """Start the linear path, if there is one, at a ridge regression."""
    average, live = net.module_.conditional.linear, net.live_.conditional.linear
    if average is not None and live is not None:
        average.set_weights(ridge_weights(train, net.module_.sources))
        live.load_state_dict(average.state_dict())


def fit_net(
    net: InterleavedNet,
    train: WindowBatches,
    valid: WindowBatches | None,
    seed: int,
    process: Process,
    watcher: Any = None,
) -> InterleavedNet:
    """Train a net, and leave of it what prediction needs.

    Parameters
    ----------
    net : InterleavedNet
    train, valid : WindowBatches
        `valid` may be None.
    seed : int
        Seeds everything random; the global random state stays untouched.
    process : Process
        This process, and the way to the others that train the same model.
    watcher : object with epoch_begins() and epoch_ends(), default=None
        Told about the epochs; training ends where `epoch_ends` returns True.
    """
    device = torch.device(net.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        process.seed(seed)
        net.watcher_, net.process_ = watcher, process
        net.train_split = None if valid is None else predefined_split(valid)
        try:
            net.initialize()
            start_linear_path(net, train)
            process.start_together([net.module_, net.live_], seed)
            net.partial_fit(train, None)
        finally:
            net.watcher_ = net.process_ = net.train_split = None
    if net.interrupted_ and process.size > 1:
        raise KeyboardInterrupt  # the processes may have stopped at different steps
    process.end_together()
    del net.live_, net.optimizer_, net.optimizer_marginal_
    return net


def make_net(
    module: dict[str, Any],
    *,
    likelihood: str,
    beta: float,
    monitor: str,
    patience: int | None,
    callbacks: list,
    **options: Any,
) -> InterleavedNet:
    """Build the net of an estimator.

    Parameters
    ----------
    module : dict
        Parameters of `DeepDIVE`.
    likelihood, beta
        Parameters of `Objective`.
    monitor, patience : str, int
        Early stopping, which restores the best weights; a patience of None does without.
    callbacks : list
        Callbacks of skorch, besides the default ones.
    **options
        Parameters of skorch's `NeuralNet`, and `dtype`.
    """
    given = [cb[1] if isinstance(cb, tuple) else cb for cb in callbacks]
    extra: list[Any] = []
    if not any(isinstance(cb, Interleaving) for cb in given):
        extra.append(("interleaving", Interleaving()))
    if patience is not None:
        stopping = EarlyStopping(monitor, patience=patience, threshold=0, load_best=True)
        extra.append(("early_stopping", stopping))
    return InterleavedNet(
        DeepDIVE,
        criterion=Objective,
        criterion__likelihood=likelihood,
        criterion__beta=beta,
        optimizer=torch.optim.AdamW,
        callbacks=[*extra, *callbacks],
        train_split=None,
        **{f"module__{name}": value for name, value in module.items()},
        **options,
    )
