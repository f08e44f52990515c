"""What is compared, and what a system must be able to do."""

from abc import ABC, abstractmethod
from importlib import import_module

# A system and the module that has it; a module imports its library, so only those of an
# environment are imported there. Cheap ones come first.
MODULES = {
    "naive": "classical",
    "ridge-shared": "classical",
    "ridge-shared-last": "classical",
    "ridge-channel": "classical",
    "ridge-channel-last": "classical",
    "ridge-all": "classical",
    "ridge-all-last": "classical",
    "NLinear": "networks",
    "DLinear": "networks",
    "TSMixer": "networks",
    "iTransformer": "networks",
    "NHITS": "networks",
    "TiDE": "networks",
    "PatchTST": "networks",
    "LightGBM": "boosting",
    "DeepDIVE": "deepdive",
    "DeepDIVE-tuned": "deepdive",
}


class System(ABC):
    """A system that learns to forecast windows.

    Parameters
    ----------
    name : str
        A key of `MODULES`.
    threads : int
        Threads of the processor that it may use.
    """

    seeded = False  # whether the result depends on a seed

    def __init__(self, name, threads):
        self.name = name
        self.threads = threads

    def options(self, data):
        """Values to choose from on validation for a data set: a list for each setting."""
        return {}

    def defaults(self):
        """Parameters that a release may change, which are recorded as well."""
        return {}

    @abstractmethod
    def fit(self, problem, settings, seed):
        """Learn from the train part, with the valid part to stop and choose by.

        Returns what is worth recording: a dict of numbers and strings.
        """

    @abstractmethod
    def predict(self, part):
        """Forecasts of a part: (n, horizon, n_channels)."""

    def windows(self, part):
        """Pairs of X and y, as in `Problem.windows`, as the system itself cuts them."""
        return self.problem.windows(part)


def make(name, threads):
    """A system by its name."""
    module = import_module(f"forecasting.{MODULES[name]}")
    return module.make(name, threads)
