"""The benchmark of embeddings: hidden labels, folds of people, and that a command runs them."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skdive import sliding_windows
from skdive.datasets import load_motionsense

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ["problem", "systems", "runs", "tables"]
    return SimpleNamespace(**{n: importlib.import_module(f"embeddings.{n}") for n in names})


@pytest.fixture
def problem(benchmark):
    """Disjoint windows of the recordings that ship."""
    frame = load_motionsense(as_frame=True).frame
    windows = sliding_windows(frame, 64, 1, stride=128, marginals=["activity", "subject"])
    return benchmark.problem.of_windows("MotionSense", windows, "activity", "subject")


def test_people_are_tested_in_one_fold_which_has_all_classes(benchmark, problem):
    folds = [set(problem.people[problem.test(fold)]) for fold in range(benchmark.problem.FOLDS)]
    assert set.union(*folds) == set(problem.people)
    assert sum(map(len, folds)) == len(set(problem.people))
    for fold in range(benchmark.problem.FOLDS):
        assert set(problem.codes[problem.test(fold)]) == set(range(len(problem.classes)))
        rows = np.concatenate([problem.train(fold), problem.test(fold)])
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(problem.codes)))


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_a_share_of_the_labels_of_each_person_and_class_is_known(problem, share):
    known = problem.known(share, seed=0)
    shown = known != -1
    np.testing.assert_array_equal(known[shown], problem.codes[shown])
    for person in set(problem.people):
        for code in set(problem.codes):
            group = (problem.people == person) & (problem.codes == code)
            assert abs(shown[group].sum() - share * group.sum()) < 1
    assert abs(shown.mean() - share) < 0.02


def test_smaller_shares_are_parts_of_larger_ones_and_seeds_differ(problem):
    few, many = (problem.known(share, seed=0) != -1 for share in (0.1, 0.5))
    assert (many | ~few).all()
    assert (problem.known(0.5, seed=1) != problem.known(0.5, seed=0)).any()
    np.testing.assert_array_equal(problem.known(0.5, seed=0), problem.known(0.5, seed=0))


def test_the_file_holds_the_problem_and_the_checksum_notices_changes(problem, tmp_path):
    path = tmp_path / "new" / "MotionSense.npz"
    problem.save(path)
    again = type(problem).load(path)
    known = problem.known(0.1, 0)
    right = problem.checksum(known, 0)
    assert again.checksum(again.known(0.1, 0), 0) == right
    assert again.data == "MotionSense"
    assert list(again.classes) == ["downstairs", "jogging", "upstairs", "walking"]
    assert problem.checksum(known, 1) != right
    assert problem.checksum(problem.known(0.1, 1), 0) != right
    windows = problem.windows.copy()
    windows[3, 2, 1] += 1e-3
    assert problem._replace(windows=windows).checksum(known, 0) != right


def test_spectra_do_not_depend_on_where_a_wave_begins(benchmark):
    steps = np.arange(64)[:, None]
    one, other = (np.sin(2 * np.pi * 5 * (steps + shift) / 64) - 2 for shift in (0, 3.3))
    both = benchmark.systems.spectra(np.stack([one, other]))
    assert both.shape == (2, 33, 1)
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    np.testing.assert_allclose(both[0, [0, 5], 0], [-2, 0.5], atol=1e-6)


@pytest.mark.parametrize("name", ["raw", "DeepDIVE"])
def test_choosing_sees_only_training_people_and_known_labels(benchmark, problem, name, monkeypatch):
    """What is hidden or tested may be anything: the choice and the embedding stay the same."""
    known, rows = problem.known(0.3, 0), problem.train(0)
    seen = []

    def fit(self, X, y=None):
        seen.append((len(X), None if y is None else np.array(y)))
        return self

    if name == "DeepDIVE":
        from skdive import DeepDIVEEncoder

        monkeypatch.setattr(DeepDIVEEncoder, "fit", fit)
        monkeypatch.setattr(DeepDIVEEncoder, "transform", lambda self, X: X.mean(axis=1))
        features = None
    else:
        features, *_ = benchmark.runs.encode(problem, name, 0, rows, known)
    before = benchmark.runs.choose(problem, name, 0, rows, known, features)
    if name == "DeepDIVE":
        assert len(seen) == benchmark.runs.INNER
        assert all(n < len(rows) for n, _ in seen)
        assert all((y == -1).any() for _, y in seen)
    codes = np.where(known == -1, 0, problem.codes)
    codes[problem.test(0)] = 0
    other = problem._replace(codes=codes)
    assert benchmark.runs.choose(other, name, 0, rows, known, features) == before


def test_a_table_shows_means_over_folds_and_marks_who_is_ahead(benchmark, tmp_path):
    import pandas as pd

    keys = benchmark.runs.keys_of(["raw", "DeepDIVE"], ["strides"], (1.0, 0.1), seeds=(0, 1))
    level = {("raw", 1.0): 0.5, ("raw", 0.1): 0.4, ("DeepDIVE", 1.0): 0.7, ("DeepDIVE", 0.1): 0.3}
    same = dict(n_train=100, n_test=20, n_labelled=10, n_features=40, encode_seconds=1.5)
    same |= dict(checksum="a", versions={"numpy": "1"})
    slope = dict.fromkeys(level, 0.01) | {("DeepDIVE", 0.1): 0.02}
    rows = []
    for key in keys:
        case = key["system"], key["share"]
        score = dict(balanced_accuracy=level[case] + slope[case] * key["fold"])
        if key["seed"]:
            score["balanced_accuracy"] += 0.2
        told = dict(prototypes=0.6) if key["system"] == "DeepDIVE" else {}
        rows.append(key | same | score | told)
        if case == ("DeepDIVE", 0.1):  # other known labels, which the others have not seen
            rows.append(rows[-1] | dict(seed=2, balanced_accuracy=1.0))
    benchmark.tables.write_tables(pd.DataFrame(rows), keys, tmp_path)
    text = (tmp_path / "strides.txt").read_text()
    assert "**0.820 ± 0.016**" in text  # 0.72 and 0.92: the mean of both seeds
    assert "**0.520 ± 0.016**" in text
    assert "**+0.300** ± 0.000" in text  # less 0.52, of one run with all labels
    assert "*-0.080* ± 0.029" in text  # of folds that learn from the same people
    assert "     - 5\n     - 1 to 2\n     - 40\n" in text  # raw
    assert "     - 5\n     - 2\n     - 40\n" in text
    assert "0.600 ± 0.000" in text
    rows[0]["checksum"] = "b"
    with pytest.raises(ValueError, match="different windows or labels"):
        benchmark.tables.write_tables(pd.DataFrame(rows), keys, tmp_path)


@pytest.mark.slow
def test_a_command_runs_the_benchmark_resumes_it_and_writes_a_table(problem, tmp_path):
    per_window = ("windows", "codes", "people", "folds")
    few = {name: getattr(problem, name)[::6] for name in per_window}
    problem._replace(**few).save(tmp_path / "MotionSense.npz")
    results, docs = tmp_path / "runs.jsonl", tmp_path / "docs"
    paths = os.pathsep.join([str(ROOT), str(BENCHMARKS)])
    start = [
        sys.executable,
        "-m",
        "embeddings",
        "--files",
        str(tmp_path),
        "--results",
        str(results),
    ]
    command = [*start, "--systems", "raw", "PCA-spectrum", "DeepDIVE", "--datasets", "MotionSense"]
    command += ["--seeds", "0", "--folds", "0", "1", "--shares", "0.5"]
    options = dict(
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths}
    )
    first = subprocess.run(command, **options)
    assert first.returncode == 0, first.stderr
    records = [json.loads(line) for line in results.read_text().splitlines()]
    assert len(records) == 6
    for record in records:
        result = record["result"]
        assert 0.25 < result["balanced_accuracy"] <= 1
        assert result["n_labelled"] < 0.7 * result["n_train"]
        assert ("prototypes" in result) == (record["key"]["system"] == "DeepDIVE")
    again = subprocess.run(command, **options)
    assert "6 runs are there, 0 to do" in again.stdout, again.stderr
    table = [*start, "--table", "--docs", str(docs), "--seeds", "0", "--shares", "0.5"]
    made = subprocess.run(table, **options)
    assert made.returncode == 0, made.stderr
    assert "DeepDIVE less raw" in (docs / "MotionSense.txt").read_text()


def test_a_missing_file_of_windows_says_what_to_do(benchmark, tmp_path):
    with pytest.raises(FileNotFoundError, match="--data"):
        benchmark.problem.prepare(tmp_path, "strides", None)
