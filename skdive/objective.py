"""What training minimises: the evidence lower bound of a batch as a loss, phase by phase."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from skdive.batches import Batch, WindowBatches, chunk_of
from skdive.layers import Gaussian
from skdive.losses import (
    LIKELIHOODS,
    conditional_kl,
    kernel_kl,
    kl_parts,
    marginal_cross_entropy,
    marginal_kl_bound,
)
from skdive.model import DeepDIVE, Outputs

RECONSTRUCTION_WEIGHT = 0.2  # of a reconstructed value, where a forecast value has 1
FEW = 10  # windows, whose errors alone say little of the noise of a step
KNOWN_SHARE = 0.25  # of labels that the heads see as prototypes in training


class Losses(NamedTuple):
    """What the objective says of a batch."""

    total: Tensor  # what the phase minimises
    terms: dict[str, Tensor]


class Objective(nn.Module):
    """The evidence lower bound as a loss: its terms, and how they are weighted.

    The conditional loss is counted per value of the window and its future, so that its size does
    not depend on their lengths; the marginal loss per window.

    Parameters
    ----------
    likelihood : {"laplace", "gaussian"}
        Noise of reconstruction and forecast.
    beta : float
        Weight of the KL divergences.
    """

    compares_windows = False  # whether the loss of a batch is more than a mean over its windows

    def __init__(self, likelihood: str = "laplace", beta: float = 0.1):
        super().__init__()
        self.nll, self.beta = LIKELIHOODS[likelihood], beta
        self.robust = likelihood == "laplace"  # whether large errors count less than as squares

    def forward(self, module: DeepDIVE, batch: Batch, phase: str, training: bool = False) -> Losses:
        """The loss that a phase minimises, as means over the batch.

        Latents are samples in training, else means. In training the heads see a share of the
        labels as prototypes, so that they can be told labels when they predict.
        """
        window, codes, y, labelled = batch
        terms: dict[str, Tensor] = {}
        with torch.set_grad_enabled(training and phase != "conditional"):
            q_b = module.infer_marginals(window)
            b = q_b.sample() if training else q_b.mean
        if phase != "conditional":
            rbf = module.marginal.rbf
            kl = marginal_kl_bound(kernel_kl(q_b, rbf.centres, rbf.scales), rbf.log_priors, codes)
            cross_entropy = marginal_cross_entropy(rbf.log_posteriors(b), codes)
            terms = {
                "cross_entropy": (cross_entropy.mean(0) / labelled).sum(),
                "kl_marginal": kl.sum(1).mean(),
            }
        if phase != "marginal":
            known = b
            if training and module.n_factors:
                told = (torch.rand(codes.shape, device=codes.device) < KNOWN_SHARE) & (codes >= 0)
                prototypes = module.marginal.rbf.prototypes(codes)
                if phase == "conditional":
                    prototypes = prototypes.detach()
                known = torch.where(told.unsqueeze(2), prototypes, b)
            q_a = module.infer_conditional(window, known)
            outputs = module.heads(window, known, q_a.sample() if training else q_a.mean)
            x_nll, y_nll = self.likelihood(module, outputs, window.x, y)
            terms["reconstruction"] = x_nll
            if y_nll is not None:
                terms["forecast"] = y_nll
            terms |= self.divergences(q_a)
        n_values = window.x[0].numel() + (0 if y is None else y[0].numel())
        return Losses(self.total(terms, n_values), terms)

    def divergences(self, q_a: Gaussian) -> dict[str, Tensor]:
        """What the posterior of the conditional latent costs."""
        return {"kl_conditional": conditional_kl(q_a).mean()}

    def likelihood(
        self,
        module: DeepDIVE,
        outputs: Outputs,
        x: Tensor,
        y: Tensor | None,
        per_window: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Mean negative log-likelihoods of a value of x, and of y where it is known."""

        def mean(target: Tensor, found: Tensor, log_scale: Tensor) -> Tensor:
            shared = tuple(axis for axis, size in enumerate(log_scale.shape, 1) if size == 1)
            nll = self.nll(target, found, log_scale, shared if per_window else (0, *shared))
            return nll.flatten(int(per_window)).mean(-1)

        x_nll = mean(x, outputs.reconstruction, module.conditional.log_scale_x)
        if outputs.forecast is None or y is None:
            return x_nll, None
        return x_nll, mean(y, outputs.forecast, module.conditional.log_scale_y)

    @torch.no_grad()
    def log_scales(self, module: DeepDIVE, data: WindowBatches) -> dict[str, Tensor]:
        """The most likely scales of the noise of windows and futures, given their latent means.

        That of a channel, (channel, 1), and of a target and step, (target, horizon). For the latter
        the mean over the steps counts as much as a few windows, in case there are not many more.
        """
        sums: dict[str, Tensor] = {}
        index = torch.arange(len(data), device=data.x.device)
        for rows in index.split(chunk_of(data.x, module.largest)):
            window, _, y, _ = data.take(rows)
            outputs = module.heads(window, *module.infer(window))
            errors = {"log_scale_x": window.x - outputs.reconstruction}
            if outputs.forecast is not None and y is not None:
                errors["log_scale_y"] = y - outputs.forecast
            for name, error in errors.items():
                size = (error.abs() if self.robust else error.square()).double().sum(0)
                sums[name] = sums.get(name, 0) + size
        scales = {name: size / len(data) for name, size in sums.items()}
        scales["log_scale_x"] = scales["log_scale_x"].mean(1, keepdim=True)
        if "log_scale_y" in scales:
            own = scales["log_scale_y"]
            scales["log_scale_y"] = own.lerp(own.mean(1, keepdim=True), FEW / (FEW + len(data)))
        power = 1.0 if self.robust else 0.5
        dtype = module.conditional.log_scale_x.dtype
        return {k: v.clamp(min=1e-12).log().mul(power).to(dtype) for k, v in scales.items()}

    def total(self, terms: dict[str, Tensor], n_values: int) -> Tensor:
        """The weighted sum of the terms that there are."""
        weights = self.weights(terms, n_values)
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    def weights(self, terms: dict[str, Tensor], n_values: int) -> dict[str, float]:
        """The weight of each term; `n_values` are those of a window and its future."""
        return {
            "cross_entropy": 1.0,
            "kl_marginal": self.beta,
            "reconstruction": RECONSTRUCTION_WEIGHT if "forecast" in terms else 1.0,
            "forecast": 1.0,
            "kl_conditional": self.beta / n_values,
        }


class TotalCorrelationObjective(Objective):
    """The objective of beta-TCVAE: of the divergence, only the total correlation has weight beta.

    The batch stands for all windows, so it must not be computed in parts.

    Parameters
    ----------
    likelihood : {"laplace", "gaussian"}
        Noise of reconstruction and forecast.
    beta : float
        Weight of the total correlation.
    n_windows : int
        Windows to train on.
    """

    compares_windows = True

    def __init__(self, likelihood: str, beta: float, n_windows: int):
        super().__init__(likelihood, beta)
        self.n_windows = n_windows

    def divergences(self, q_a: Gaussian) -> dict[str, Tensor]:
        """The three parts, at samples of their own: means would say nothing of q(z)."""
        full = torch.promote_types(q_a.mean.dtype, torch.float32)  # densities need the precision
        q_a = Gaussian(q_a.mean.to(full), q_a.scale.to(full))
        parts = kl_parts(q_a, q_a.sample(), self.n_windows)
        names = ("mutual_information", "total_correlation", "dimension_wise_kl")
        return {name: part.mean() for name, part in zip(names, parts, strict=True)}

    def weights(self, terms: dict[str, Tensor], n_values: int) -> dict[str, float]:
        return super().weights(terms, n_values) | {
            "mutual_information": 1 / n_values,
            "total_correlation": self.beta / n_values,
            "dimension_wise_kl": 1 / n_values,
        }
