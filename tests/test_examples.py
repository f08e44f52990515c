"""Every example runs, each in a process of its own.

Of each fit, two epochs: what an example is worth is seen where the gallery is built.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

# Python imports `sitecustomize` when it starts, also in the workers that an example starts.
BRIEF = """
from skdive.training import InterleavedNet

def fit_loop(net, *args, whole=InterleavedNet.fit_loop, **kwargs):
    net.max_epochs = min(net.max_epochs, 2)
    return whole(net, *args, **kwargs)

InterleavedNet.fit_loop = fit_loop
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs(path, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BRIEF)
    run = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr
    assert run.stdout
