"""The plan of the house: imports run one way, and every module stays readable.

A new module fails here until it gets its place in ``PLAN``.
"""

import ast
import importlib
import re
import sys
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "skdive"
LONGEST = 380  # lines

ARRAYS = {"numpy", "pandas"}
ESTIMATOR = {"numpy", "pandas", "polars", "sklearn", "torch"}

# From the bottom up: level, and the libraries that a module may import. A module imports only
# modules of lower levels, so there can be no cycle.
PLAN = {
    "datasets": (0, {"numpy", "pandas", "sklearn"}),
    "storage": (0, {"numpy", "zarr"}),
    "warning": (0, set()),
    "parallel": (1, {"accelerate", "torch"}),
    "windows": (1, {"numpy"}),
    "series": (2, ARRAYS),
    "sliding": (3, ARRAYS),
    "cluster": (4, {"cloudpickle", "distributed", "joblib", "numpy"}),
    "factors": (1, ARRAYS),
    "metrics": (2, {"numpy", "pandas", "sklearn"}),
    "layers": (2, {"torch"}),
    "linear": (3, {"torch"}),
    "losses": (3, {"torch"}),
    "model": (4, {"torch"}),
    "holdout": (4, {"numpy"}),
    "batches": (4, {"numpy", "torch"}),
    "objective": (5, {"torch"}),
    "ridge": (5, {"torch"}),
    "interleaving": (5, {"skorch"}),
    "training": (6, {"skorch", "torch"}),
    "checks": (7, {"numpy", "torch"}),
    "watching": (7, {"sklearn"}),
    "scoring": (7, {"numpy"}),
    "inference": (8, ESTIMATOR),
    "base": (9, ESTIMATOR),
    "marginals": (10, ESTIMATOR),
    "futures": (10, ESTIMATOR),
    "baselines": (11, ESTIMATOR),
    "forecaster": (11, ESTIMATOR),
    "encoder": (11, ESTIMATOR),
}
STANDARD = sys.stdlib_module_names


def module_of(path):
    """Return the module, or the subpackage, that a file of skdive belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path, root=ROOT):
    """Return what a file imports: modules of skdive, and other top-level packages."""
    inside, outside = set(), set()
    package = ("skdive", *path.relative_to(root).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            # ``from skdive import layers``: the module is among the names
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == "skdive":
                inside.add(name[1] if len(name) > 1 else "skdive")
            else:
                outside.add(name[0])
    return inside, outside


FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def test_every_module_has_its_place():
    assert FILES
    assert {module_of(path) for path in FILES} <= set(PLAN)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path):
    module = module_of(path)
    level, libraries = PLAN[module]
    inside, outside = imported(path)
    # a name that is not in the plan comes from skdive/__init__.py, the top of all
    upward = {name for name in inside - {module} if name not in PLAN or PLAN[name][0] >= level}
    assert not upward, f"skdive.{module} may not import {sorted(upward)}"
    foreign = outside - libraries - STANDARD
    assert not foreign, f"skdive.{module} may not import {sorted(foreign)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_module_is_too_long(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{path.name} has {lines} lines; split it, or show that it is worth it"


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ("from .layers import RBF", {"layers"}, set()),
        ("from . import layers, losses", {"layers", "losses"}, set()),
        ("from skdive import model", {"model"}, set()),
        ("import skdive.training as t\nimport torch.nn", {"training"}, {"torch"}),
        ("def f():\n    from sklearn.base import clone", set(), {"sklearn"}),
    ],
)
def test_reader_of_imports(source, inside, outside, tmp_path):
    path = tmp_path / "new.py"
    path.write_text(source)
    assert imported(path, tmp_path) == (inside, outside)


def test_what_the_documentation_names_is_there():
    text = (ROOT.parent / "docs" / "how_it_works.rst").read_text(encoding="utf-8")
    names = [name.split(".") for name in re.findall(r"``(\w+(?:\.\w+)+)``", text)]
    named = [(module, path) for module, *path in names if module in PLAN]
    assert len(named) > 20
    for module, path in named:
        reduce(getattr, path, importlib.import_module(f"skdive.{module}"))
