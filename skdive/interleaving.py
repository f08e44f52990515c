"""How training alternates: the `Interleaving` callback and its phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skorch.callbacks import Callback

PHASES = ("marginal", "conditional", "joint")


class Interleaving(Callback):
    """Alternate between the phases of training.

    In the *marginal* phase the marginal encoder and the RBF layer learn from the cross entropy and
    the KL divergence of the marginal latents. In the *conditional* phase they are frozen - no
    gradient reaches them and their optimiser does not step - and the conditional encoder, the
    fusion and the heads learn from reconstruction, forecast and the KL divergence of the
    conditional latent. In the *joint* phase everything learns from everything at once. Each path
    has an optimiser, and so an optimiser state, of its own.

    Parameters
    ----------
    schedule : sequence of {"marginal", "conditional", "joint"}, \
            default=("marginal", "conditional")
        The phases in their turn. ``("marginal", "conditional", "conditional")`` gives the
        conditional path two steps out of three; ``("joint",)`` turns interleaving off.
    unit : {"batch", "epoch"}, default="batch"
        What takes turns: with "batch" every batch goes through all phases of the schedule, one
        step each; with "epoch" every epoch is spent in one phase.

    Notes
    -----
    Without marginal factors there is nothing to alternate: every phase is conditional.

    References
    ----------
    Wong, Cheu, Chiam and Srinivasan, "Disentangled interleaving variational encoding",
    arXiv 2501.08710, 2025.

    Examples
    --------
    >>> from skdive import DeepDIVEForecaster, Interleaving
    >>> joint = DeepDIVEForecaster(callbacks=[Interleaving(schedule=["joint"])])
    >>> by_epoch = DeepDIVEForecaster(callbacks=[Interleaving(unit="epoch")])
    """

    def __init__(
        self, schedule: Sequence[str] = ("marginal", "conditional"), unit: str = "batch"
    ) -> None:
        self.schedule = schedule
        self.unit = unit

    def initialize(self) -> Interleaving:
        """Check the parameters; called by skorch."""
        unknown = [phase for phase in self.schedule if phase not in PHASES]
        if isinstance(self.schedule, str) or unknown or not len(self.schedule):
            raise ValueError(
                f"schedule must be a sequence of phases out of {PHASES}, got {self.schedule!r}."
            )
        if self.unit not in ("batch", "epoch"):
            raise ValueError(f"unit must be 'batch' or 'epoch', got {self.unit!r}.")
        return self

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start with the first phase."""
        self.turn_ = 0
        net.enter_phases(self.schedule)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Take the next turn, if epochs take turns."""
        if self.unit == "epoch":
            net.enter_phases([self.schedule[self.turn_ % len(self.schedule)]])
            self.turn_ += 1
