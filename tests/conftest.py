"""What every test shares."""

import os
from tempfile import TemporaryDirectory

import pytest
import torch

from skdive.model import DeepDIVE

# The models of the tests are too small to gain from threads, and pytest-xdist runs one worker
# per core. The variables are for processes that tests start; where one is not set, joblib divides
# the cores by its workers, as if pytest-xdist had none, and threads of OpenBLAS wait busily.
THREADS = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"
torch.set_num_threads(1)
os.environ |= dict.fromkeys(THREADS, "1")


def pytest_collection_modifyitems(items):
    """Spread the examples, which take longest, so that no worker is left with most of them."""
    examples = [item for item in items if item.path.stem == "test_examples"]
    others = [item for item in items if item.path.stem != "test_examples"]
    for i, example in enumerate(examples):
        others.insert(i * len(others) // len(examples), example)
    items[:] = others


@pytest.fixture(autouse=True, scope="session")
def compiled_anew():
    """Have torch compile in a new folder: what another installation left need not fit this one."""
    with TemporaryDirectory(prefix="skdive-") as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        yield


@pytest.fixture(autouse=True)
def seeded():
    """Start every test from the same random numbers of torch."""
    torch.manual_seed(0)


@pytest.fixture
def make_module():
    """Make a small network in evaluation mode, none of whose parameters is zero."""

    def make(priors=((0.5, 0.3, 0.2), (0.6, 0.4)), **options):
        given = dict(lookback=10, n_channels=2, horizon=4, sources=(0, 1), marginal_dim=2)
        given |= dict(conditional_dim=3, width=16, dropout=0.0) | options
        module = DeepDIVE(priors=[list(prior) for prior in priors], **given)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))  # what starts at zero as well
        return module.eval()

    return make
