"""How several processes train one model: each takes its share, and they agree on the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from multiprocessing import parent_process
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from skdive.warning import warn


class Process:
    """A process that trains alone: its share is everything, and it agrees with itself.

    Parameters
    ----------
    device : torch.device
        Where it computes.
    rank, size : int
        Its number among all processes that train the model; 0 is the main process.
    """

    def __init__(self, device: torch.device, rank: int = 0, size: int = 1):
        self.device, self.rank, self.size = device, rank, size

    def seed(self, seed: int) -> None:
        """Seed the random numbers of the CPU and of the device, and of no other device."""
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(seed)

    def start_together(self, modules: Sequence[nn.Module], seed: int) -> None:
        """Give modules the weights of the main process, and each process its own noise."""

    def equalise(self, module: nn.Module) -> None:
        """Give a module, which every process has, the weights of the main process."""

    def end_together(self) -> None:
        """Note that all processes end this fit here."""

    def share(self, index: Tensor) -> Tensor:
        """Return the rows of a batch that are for this process; there may be none."""
        return index

    def from_main(self, tensor: Tensor) -> Tensor:
        """Return the main process's value of a tensor that every process has."""
        return tensor

    def average_gradients(self, parameters: Iterable[Tensor], n: int) -> None:
        """Turn gradients, means over the `n` rows of each process, into means over all rows."""

    def sum(self, values: dict[str, Any]) -> dict[str, float]:
        """Add up the values of all processes, name by name."""
        return {name: float(value) for name, value in values.items()}

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag

    def check_same(self, counts: list[int], values: list[float]) -> None:
        """Check that all processes have equal counts, and up to rounding the same values."""


class LaunchedProcess(Process):
    """One of several processes that `accelerate launch` or `torchrun` started.

    What it returns is, bit by bit, the same in all processes, so that they decide alike.
    """

    in_fit = False  # shared by all fits of this process

    def start_together(self, modules: Sequence[nn.Module], seed: int) -> None:
        for module in modules:
            self.equalise(module)
        if self.rank:  # the main process goes on as if it were alone
            self.seed(seed + self.rank)
        LaunchedProcess.in_fit = True

    def equalise(self, module: nn.Module) -> None:
        module.load_state_dict({name: self.from_main(w) for name, w in module.state_dict().items()})

    def end_together(self) -> None:
        LaunchedProcess.in_fit = False

    def share(self, index: Tensor) -> Tensor:
        return index.tensor_split(self.size)[self.rank]

    def from_main(self, tensor: Tensor) -> Tensor:
        from accelerate.utils import broadcast

        return broadcast(tensor.to(self.device)).to(tensor.device)

    def average_gradients(self, parameters: Iterable[Tensor], n: int) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = parameters_to_vector(gradients)
        total = self._sum(torch.cat([n * flat, flat.new_tensor([n])]))  # one message for all
        vector_to_parameters(total[:-1] / total[-1], gradients)

    def sum(self, values: dict[str, Any]) -> dict[str, float]:
        local = torch.tensor([float(value) for value in values.values()], dtype=torch.float64)
        return dict(zip(values, self._sum(local.to(self.device)).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        return self.sum({"flag": flag})["flag"] > 0

    def check_same(self, counts: list[int], values: list[float]) -> None:
        from accelerate.utils import gather

        if self.in_fit:
            raise RuntimeError(
                f"an earlier fit failed in process {self.rank} of {self.size}, and maybe in no "
                "other, so that they are out of step. Start them anew; the first error tells why."
            )
        local = torch.tensor([counts + values], dtype=torch.float64, device=self.device)
        exact, near = gather(local).split([len(counts), len(values)], dim=1)  # (process, number)
        same = torch.allclose(near, near[:1].expand_as(near), rtol=1e-3, atol=1e-3)
        if not (same and torch.equal(exact, exact[:1].expand_as(exact))):
            raise ValueError(
                "with device='accelerate' every process must be given all the data, in the same "
                "order, and takes its share of each batch by itself; but the processes have "
                f"{exact[:, 0].int().tolist()} training windows, or other values in them. "
                "Do not split the data yourself, and give what shuffles it a random_state."
            )

    @staticmethod
    def _sum(tensor: Tensor) -> Tensor:
        from accelerate.utils import reduce

        return reduce(tensor, "sum")


def launched_process() -> Process:
    """Return this process as accelerate sees it, with its device and its number.

    Raises
    ------
    ImportError
        If accelerate is not installed.
    RuntimeError
        If this is not one of the processes that were launched, or accelerate does not see them all.
    """
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            "device='accelerate' needs the package accelerate: pip install 'skdive[accelerate]'."
        ) from error
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > 1 and parent_process() and "FORK_LAUNCHED" not in os.environ:
        raise RuntimeError(
            "device='accelerate' was used in a child of one of the processes that were launched, "
            "such as a worker of joblib. Use n_jobs=1: the launched processes are the workers."
        )
    cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "t", "on")
    # accelerate itself would take processes on a machine without GPU for unrelated ones
    state = PartialState(cpu=cpu or (launched > 1 and not torch.cuda.is_available()))
    rank, size = state.process_index, state.num_processes
    if size < launched:
        raise RuntimeError(
            f"{launched} processes were launched, but accelerate sees {size}. A script that makes "
            "an Accelerator of its own needs Accelerator(cpu=True) on a machine without GPU."
        )
    if size == 1 and cpu and "MASTER_PORT" in os.environ:
        warn(
            "`accelerate launch --cpu` starts one process, whatever --num_processes is, unless it "
            "is given a hostfile of MPI. For several, use `torchrun --nproc_per_node 2 script.py` "
            "or `accelerate launch --multi_gpu`, which works without GPUs as well.",
        )
    # a rank's CPU is "cpu:0" to accelerate, and plainly "cpu" to torch
    found = torch.device("cpu") if state.device.type == "cpu" else state.device
    return (Process if size == 1 else LaunchedProcess)(found, rank, size)
