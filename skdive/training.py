"""How the network learns: the private skorch net."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from threading import RLock
from types import FunctionType, MethodType
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer, PrintLog
from skorch.helper import predefined_split
from torch import Tensor, nn

from skdive.batches import Rows, WindowBatches, chunk_of
from skdive.interleaving import Interleaving
from skdive.linear import LinearPath
from skdive.model import DeepDIVE
from skdive.objective import Losses, Objective
from skdive.parallel import Process
from skdive.ridge import fit_class_ridge, ridge_weights

LINEAR_PATH_LR = 0.1  # times lr: it starts at its optimum, and follows the latents slowly
WEIGHT_DECAY = 0.01
ONE_FIT = RLock()  # torch has one source of random numbers for all threads of a process
TERMS = (
    *("cross_entropy", "kl_marginal", "reconstruction", "forecast", "kl_conditional"),
    *("mutual_information", "total_correlation", "dimension_wise_kl"),
)


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

    def __init__(
        self,
        *args: Any,
        dtype: torch.dtype = torch.float32,
        autocast: bool = False,
        compiled: bool = False,
        **kwargs: Any,
    ):
        self.dtype, self.autocast, self.compiled = dtype, autocast, compiled
        super().__init__(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load to the first GPU where there are fewer than there were."""
        device = torch.device(state["device"])
        if device.type == "cuda" and 0 < torch.cuda.device_count() <= (device.index or 0):
            state = {**state, "device": "cuda"}
        super().__setstate__(state)

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        quiet = [f"{part}_{term}" for part in ("train", "valid") for term in TERMS]
        quiet.remove("valid_forecast")  # what forecasters stop by
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
        self.objective_ = compiled(self.criterion_) if self.compiled else self.criterion_
        self.averages_: dict[str, tuple[list[Tensor], list[Tensor]]] = {
            path: (list(getattr(self.module_, path).parameters()), list(live.parameters()))
            for path, live in (("marginal", marginal), ("conditional", conditional))
        }
        return self

    def enter_phases(self, phases: Sequence[str]) -> None:
        """Set the phases that the next batches go through."""
        n_factors = self.module_.n_factors  # without any, every phase is conditional
        self.phases_ = tuple(phases) if n_factors else ("conditional",)

    def get_iterator(self, dataset: WindowBatches, training: bool = False) -> Any:
        """Rows whose windows are gathered on the device; evaluation takes larger batches.

        Unless the loss compares the windows of a batch: then it depends on how many there are.
        """
        size = self.batch_size
        if not training and not self.criterion_.compares_windows:
            size = max(1, chunk_of(dataset.x, self.module_.largest) // 2) * self.process_.size
        return _Epochs(dataset, size, training, self.process_)

    def train_step(self, batch: Rows, **fit_params: Any) -> list[tuple[str, float, Losses]]:
        """One step in each phase, whose gradients add up over the parts of the batch."""
        found = []
        device_type = batch.index.device.type
        for phase in self.phases_:
            for part, share in batch.parts(self.criterion_.compares_windows):
                with torch.autocast(device_type, torch.bfloat16, enabled=self.autocast):
                    losses = self.objective_(self.live_, part, phase, training=True)
                (share * losses.total).backward()
                found.append((f"loss_{phase}", share, losses))
            self.process_.average_gradients(self.live_.parameters(), len(batch))
            if phase != "marginal":
                self._step(self.optimizer_, "conditional")
            if phase != "conditional":
                self._step(self.optimizer_marginal_, "marginal")
        return found

    def _step(self, optimizer: torch.optim.Optimizer, path: str) -> None:
        """Step an optimiser, and average the weights that it changed."""
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.steps_[path] += 1
        # The average reaches back over about a third of the steps so far, and 2,000 at most.
        weight = max(3 / (self.steps_[path] + 3), 5e-4)
        with torch.no_grad():
            torch._foreach_lerp_(*self.averages_[path], weight)

    def validation_step(self, batch: Rows, **fit_params: Any) -> list[tuple[str, float, Losses]]:
        """All terms of the loss, from latent means."""
        phase = "joint" if self.module_.n_factors else "conditional"
        found = []
        with torch.no_grad():
            for part, share in batch.parts(self.criterion_.compares_windows):
                losses = self.criterion_(self.module_, part, phase)
                found.append(("loss", share, losses))
        return found

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Callable, **fit_params: Any
    ) -> None:
        """One pass over the data; the device is asked for the losses once, at its end."""
        if iterator is None:
            return
        self.live_.train(training)
        self.module_.eval()
        means = EpochMeans()
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            parts = step_fn(batch, **fit_params)
            loss = sum(share * losses.total.detach() for _, share, losses in parts)
            self.notify("on_batch_end", batch=batch, training=training, loss=loss)
            for name, share, losses in parts:
                means.add(share * len(batch), {name: losses.total, **losses.terms})
        found = means.read(self.process_)
        found.setdefault("loss", sum(v for name, v in found.items() if name.startswith("loss_")))
        for name, value in found.items():
            self.history.record(f"{prefix}_{name}", value)
        if not math.isfinite(found["loss"]):
            self.process_.end_together()
            raise ValueError(
                f"the {prefix} loss became {found['loss']} in epoch {len(self.history)}. Lower lr "
                f"(now {self.lr}), and look for extreme values in the series."
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


def compiled(module: nn.Module) -> Callable:
    """Compile the forward pass of one module, and not of all of its class.

    torch counts by code how often it compiled something, and soon gives up; it also keeps the
    results as long as the code. So each module gets a copy of the code.
    """
    forward = type(module).forward
    code, names = forward.__code__.replace(), forward.__globals__
    copy = FunctionType(code, names, None, forward.__defaults__, forward.__closure__)
    return MethodType(torch.compile(copy), module)


class EpochMeans:
    """Means of the terms of the loss over an epoch, summed where they are computed."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, ...], Any] = {}
        self.counts: dict[tuple[str, ...], float] = {}

    def add(self, n: float, terms: dict[str, Tensor]) -> None:
        """Add means over n windows."""
        names = tuple(terms)
        values = n * torch.stack(list(terms.values())).detach()
        self.sums[names] = self.sums.get(names, 0.0) + values
        self.counts[names] = self.counts.get(names, 0) + n

    def read(self, process: Process) -> dict[str, float]:
        """Fetch the means from the device, over the shares of all processes."""
        sums: dict[str, float] = {}
        counts: dict[str, float] = {}
        for names, values in self.sums.items():
            sums.update(zip(names, values.tolist(), strict=True))
            counts.update(dict.fromkeys(names, self.counts[names]))
        sums, counts = process.sum(sums), process.sum(counts)
        return {name: total / counts[name] for name, total in sums.items()}


class _Epochs:
    """An iterable over the batches of a data set, shuffled anew in every epoch of training."""

    def __init__(self, dataset: WindowBatches, batch_size: int, shuffle: bool, process: Process):
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle
        self.process = process

    def __iter__(self) -> Iterator[Rows]:
        return self.dataset.batches(self.batch_size, self.shuffle, self.process)


def start_linear_path(net: InterleavedNet, train: WindowBatches) -> None:
    """Start the linear path, if there is one, at a ridge regression."""
    average, live = net.module_.conditional.linear, net.live_.conditional.linear
    if average is not None and live is not None:
        average.set_weights(ridge_weights(train, net.module_.sources, net.criterion_.robust))
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
    with ONE_FIT, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        process.seed(seed)
        net.watcher_, net.process_ = watcher, process
        net.train_split = None if valid is None else predefined_split(valid)
        try:
            net.initialize()
            start_linear_path(net, train)
            process.start_together([net.module_, net.live_], seed)
            start = deepcopy(net.module_.conditional.linear)
            net.partial_fit(train, None)
            if net.interrupted_ and process.size > 1:
                raise KeyboardInterrupt  # the processes may have stopped at different steps
            finish(net, start, train, valid)
        finally:
            net.watcher_ = net.process_ = net.train_split = None
    process.end_together()
    del net.live_, net.optimizer_, net.optimizer_marginal_, net.averages_, net.objective_
    return net


def finish(
    net: InterleavedNet, start: LinearPath | None, train: WindowBatches, valid: WindowBatches | None
) -> None:
    """Fit what is not trained: the second forecast, unless there is a hurry, and the noise."""
    module, process = net.module_, net.process_
    try:
        if valid is not None and start is not None and not net.interrupted_:
            ridge = fit_class_ridge(module, start, train, valid, net.criterion_.robust)
            process.equalise(ridge)
            module.ridge = ridge if ridge.share else None
        for name, scales in net.criterion_.log_scales(module, valid or train).items():
            setattr(module.conditional, name, nn.Parameter(process.from_main(scales)))
    except KeyboardInterrupt:
        if process.size > 1:
            raise
        net.interrupted_ = True


def make_net(
    module: dict[str, Any],
    objective: Objective,
    *,
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
    objective : Objective
        What training minimises.
    monitor, patience : str, int
        Early stopping, which restores the best weights; a patience of None does without.
    callbacks : list
        Callbacks of skorch, besides the default ones.
    **options
        Parameters of skorch's `NeuralNet`, and `dtype`, `autocast` and `compiled`.
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
        criterion=objective,
        optimizer=torch.optim.AdamW,
        callbacks=[*extra, *callbacks],
        train_split=None,
        **{f"module__{name}": value for name, value in module.items()},
        **options,
    )
