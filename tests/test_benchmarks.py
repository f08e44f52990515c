"""The benchmarks compare like with like."""

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = dict(n=768, n_channels=2, lookback=24, horizon=6, batch_size=64, hidden_dim=16)


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import compare

    return compare


@pytest.fixture
def speed(compare):
    import speed

    return speed


def test_functions_take_turns_and_may_time_themselves(compare):
    calls = []
    seconds = compare.paired(lambda: calls.append("a"), lambda: calls.append("b") or 2.0, 3)
    assert calls == ["a", "b"] * 4  # once to warm up
    assert seconds.shape == (3, 2)
    assert (seconds[:, 0] < 1).all()
    assert (seconds[:, 1] == 2).all()


def test_a_row_of_seconds_and_of_throughput(compare):
    seconds = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, 3.0]])
    slow = compare.ratio_row("", "", seconds, "<= 0.3")
    assert slow.ratio == pytest.approx(1 / 3)
    assert slow.reached == "no"
    fast = compare.ratio_row("", "", seconds, ">= 2", rate=60)
    assert (fast.ratio, fast.reached, fast.ours) == (3, "yes", "60 windows/s")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux")
def test_the_peak_of_a_child_is_its_own(compare, tmp_path):
    held = np.ones(1 << 26)  # 512 MiB, which a child must not inherit
    script = tmp_path / "child.py"
    lines = ["import sys", f"sys.path.insert(0, {str(BENCHMARKS)!r})"]
    lines += ["from machine import memory", "print(memory('VmHWM'))"]
    script.write_text("\n".join(lines), encoding="utf-8")
    (peak,) = compare.in_child(script)
    assert 10e6 < peak < held.nbytes


def test_skdive_and_the_bare_loop_learn_alike(speed):
    speed.check_agreement(speed.Setting(**TINY))


def test_a_loop_that_leaves_a_phase_out_is_noticed(speed, monkeypatch):
    both = speed.two_optimisers
    monkeypatch.setattr(
        speed, "two_optimisers", lambda module: {"conditional": both(module)["conditional"]}
    )
    with pytest.raises(AssertionError, match="loss"):
        speed.check_agreement(speed.Setting(**TINY))
