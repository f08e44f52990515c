"""Benchmarks that can be interrupted and resumed."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KEYS = [{"model": model, "params": {"lr": 0.1}, "seed": s} for s in range(2) for model in "ab"]


@pytest.fixture
def records(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import records

    return records


def score(key):
    if key["model"] == "fails":
        raise RuntimeError("stopped")
    return {"rrse": np.float32(key["seed"] + 0.5), "n": np.int64(3)}


def test_what_is_done_is_not_run_again(records, tmp_path, capsys):
    book = records.Records(tmp_path / "results" / "x.jsonl")
    with pytest.raises(RuntimeError, match="stopped"):
        book.complete([*KEYS[:3], {"model": "fails", "seed": 0}, *KEYS[3:]], score)
    again = records.Records(book.path)
    assert again.missing(KEYS) == KEYS[3:]
    again.complete(KEYS, score)
    assert "3 runs are there, 1 to do" in capsys.readouterr().out
    assert again.missing(KEYS) == []
    assert len(book.path.read_text().splitlines()) == 4
    frame = again.frame()
    assert frame[["model", "seed", "rrse", "n"]].to_numpy().tolist() == [
        ["a", 0, 0.5, 3],
        ["b", 0, 0.5, 3],
        ["a", 1, 1.5, 3],
        ["b", 1, 1.5, 3],
    ]
    assert (frame.seconds >= 0).all()


def test_every_setting_is_part_of_the_key(records, tmp_path):
    book = records.Records(tmp_path / "x.jsonl")
    book.add(KEYS[0], {"rrse": 1})
    other = KEYS[0] | {"params": {"lr": 0.2}}
    turned = dict(reversed(KEYS[0].items()))
    assert book.missing([other, turned]) == [other]
    assert book.frame([other]).empty
    assert book.frame([turned]).rrse.tolist() == [1]


def test_half_a_line_is_run_again(records, tmp_path):
    book = records.Records(tmp_path / "x.jsonl")
    for key in KEYS[:2]:
        book.add(key, {"rrse": 1})
    text = book.path.read_text()
    book.path.write_text(text[:-9])
    assert book.missing(KEYS[:2]) == KEYS[1:2]
    book.add(KEYS[1], {"rrse": 2})
    assert book.frame().rrse.tolist() == [1, 2]


def threads(key):
    import torch

    return {"threads": torch.get_num_threads()}


def test_processes_of_one_thread_share_the_runs(records, tmp_path, monkeypatch):
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable)  # which conftest.py sets
    book = records.Records(tmp_path / "x.jsonl")
    book.complete(KEYS, threads, jobs=2)
    frame = book.frame()
    assert sorted(frame.seed) == [0, 0, 1, 1]
    assert set(frame.threads) == {1}


def test_paired_differences_have_the_interval_of_students_t(records):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 7))
    mean, width = records.difference(ours, theirs)
    interval = ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (mean - width, mean + width) == pytest.approx(interval)
    _, corrected = records.difference(ours, theirs, tested=1 / 3)
    assert corrected == pytest.approx(width * np.sqrt(1 + 7 / 3))
    mean, width = records.difference([2], [1])
    assert mean == 1
    assert np.isnan(width)


def test_spread_is_of_a_sample(records):
    assert records.mean_and_spread([1, 3], digits=1) == "2.0 ± 1.4"
    assert records.mean_and_spread([1]) == "1.000"


def test_a_cell_of_a_table_is_no_list(records):
    assert "   * - \\(a)" in records.list_table(["model", "score"], [["(a)", "1"]])
