"""The ablations: what differs, how a fit is scored, and that a command runs and resumes them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, mean_absolute_error, mean_squared_error

from skdive import DeepDIVEForecaster
from skdive.datasets import load_pjm
from skdive.metrics import rrse

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def ablations(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ablations

    return ablations


@pytest.fixture
def parts(ablations):
    """Windows of two zones of PJM, z-scored."""
    frame = load_pjm().frame.iloc[-1200:, :2]
    task = ablations.Task(lambda _: frame, (0.6, 0.8), ["hour", "dayofweek"])
    return ablations.task_parts(task, None, 30, 6)


def test_a_variant_differs_from_the_default_in_one_thing(ablations):
    keys = ablations.keys_of("ETTh1", ablations.VARIANTS, range(3))
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(keys)
    assert [key["seed"] for key in keys] == sorted(key["seed"] for key in keys)
    flat = [key.pop("params") | key for key in keys[: len(ablations.VARIANTS)]]
    for key in flat[1:]:
        different = {name for name in key if key[name] != flat[0][name]} - {"variant"}
        several = {
            "turns by epoch": {"interleaving", "max_epochs", "n_iter_no_change"},
            "(a): no marginal": {"labelled", "conditional_dim"},  # the same number in all
        }
        assert different == several.get(key["variant"], different)
        assert len(different) == 1 or key["variant"] in several


def test_a_share_of_the_labels_is_kept_and_smaller_shares_are_parts_of_larger_ones(
    ablations, parts
):
    train = parts.train
    whole, half, tenth = (ablations.labels_of(train, share, 0) for share in (1.0, 0.5, 0.1))
    assert (whole == train.marginals).all(axis=None)
    assert half.notna().all(axis=1).sum() == half.notna().any(axis=1).sum() == round(len(train) / 2)
    assert set(tenth.dropna().index) < set(half.dropna().index)
    assert (half.dropna() == train.marginals.loc[half.dropna().index]).all(axis=None)
    assert not half.equals(ablations.labels_of(train, 0.5, 1))
    assert ablations.labels_of(train, 0, 0) is None


def test_scores_are_those_of_the_estimator_and_leave_it_as_it_was(ablations, parts):
    train, valid, test, mean, std = parts
    model = DeepDIVEForecaster(max_epochs=2, hidden_dim=16, random_state=0)
    model.fit(train.X, train.y, train.marginals, valid.X, valid.y, valid.marginals)
    forecast, y = model.predict(test.X), np.asarray(test.y)
    found = ablations.scores(model, test, std)
    assert np.array_equal(model.predict(test.X), forecast)

    readings = {"": forecast, "_known": model.predict(test.X, test.marginals)}
    model.net_.module_.ridge = None
    readings["_alone"] = model.predict(test.X)
    for suffix, values in readings.items():
        assert found[f"mse{suffix}"] == pytest.approx(mean_squared_error(y, values), abs=1e-6)
        assert found[f"mae{suffix}"] == pytest.approx(mean_absolute_error(y, values), abs=1e-6)
    assert len({found[f"mse{suffix}"] for suffix in readings}) > 1

    def megawatts(values):
        return np.asarray(values, dtype=float) * np.tile(std, 6) + np.tile(mean, 6)

    assert found["rrse"] == pytest.approx(rrse(megawatts(y), megawatts(forecast)), abs=1e-6)
    x, told = np.asarray(test.X), model.predict_marginals(test.X)
    expected = rrse(x * std + mean, model.reconstruct(test.X).reshape(x.shape) * std + mean)
    assert found["reconstruction"] == pytest.approx(expected, abs=1e-6)
    for f, factor in enumerate(["hour", "dayofweek"]):
        expected = balanced_accuracy_score(test.marginals[factor], told[:, f])
        assert found[f"accuracy {factor}"] == pytest.approx(expected, abs=1e-6)


def test_a_model_is_not_given_the_test_part(ablations, parts, monkeypatch):
    class Given(Exception):
        pass

    def fit(self, X, y, marginals, X_val, y_val, marginals_val):
        raise Given((X, y, marginals), (X_val, y_val, marginals_val))

    monkeypatch.setattr(DeepDIVEForecaster, "fit", fit)
    monkeypatch.setattr(ablations, "task_parts", lambda *args: parts)
    key = ablations.keys_of("ETTh1", ["default"], range(1))[0]
    with pytest.raises(Given) as given:
        ablations.run(key, None)
    for (X, y, marginals), part in zip(given.value.args, parts[:2], strict=True):
        np.testing.assert_array_equal(X.starts, part.X.starts)
        np.testing.assert_array_equal(y.starts, part.y.starts)
        pd.testing.assert_frame_equal(marginals, part.marginals, check_dtype=False)


def test_a_table_claims_no_more_than_the_interval_allows(ablations, tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    level = {"default": 0.5, "concatenation": 0.6, "joint training": 0.4, "Gaussian": 0.5}
    for seed in range(5):
        for variant, score in level.items():
            noise = 0.01 * seed + 0.002 * rng.standard_normal()
            row = dict.fromkeys([*ablation_scores(), "test_accuracy hour"], score + noise)
            row |= dict(variant=variant, seed=seed, fit_seconds=2.0, epochs=3)
            row |= dict(windows=[1000, 200, 100], machine="2026-01-01. A machine.")
            rows.append(row)
    rows[-1]["test_accuracy hour"] = np.nan
    path = tmp_path / "docs" / "x.txt"
    ablations.write_table(path, pd.DataFrame(rows[:-1]), list(ablations.VARIANTS), 70)
    text = path.read_text()
    assert text.startswith("19 of 70 fits are done.\n1,000 windows for training")
    assert "A machine." in text
    changes = text.split("Less the default")[1].split("   * - ")[1:]
    columns, by_variant = changes[0].count("     - "), {c.split("\n")[0]: c for c in changes[1:]}
    assert by_variant["concatenation"].count("- *+0.1") == columns - 1  # worse, but in accuracy
    assert by_variant["concatenation"].count("- **+0.1") == 1
    assert by_variant["joint training"].count("- **-0.") == columns - 1
    assert by_variant["joint training"].count("- *-0.") == 1
    assert "*" not in by_variant["Gaussian"]  # within the noise
    assert "*" not in by_variant["no second forecast"]
    assert by_variant["labels known"].count("±") == 3  # has no other scores
    ablations.write_table(path, pd.DataFrame(), list(ablations.VARIANTS), 70)
    assert path.read_text() == "0 of 70 fits are done.\n"


def ablation_scores():
    """Columns of the scores that the tables read."""
    names = [f"{part}_{error}" for part in ("test", "valid") for error in ("mse", "mae")]
    readings = [f"{name}{suffix}" for name in names for suffix in ("", "_alone", "_known")]
    return [*readings, "test_rrse", "test_reconstruction"]


@pytest.mark.slow
def test_a_command_runs_the_ablations_resumes_them_and_writes_a_table(tmp_path):
    results, docs = tmp_path / "ablations.jsonl", tmp_path / "docs"
    command = [sys.executable, str(BENCHMARKS / "ablations.py"), "--datasets", "MotionSense"]
    command += ["--seeds", "1", "--max-epochs", "1", "--results", str(results)]
    command += ["--docs", str(docs), "--variants", "no linear path"]
    command += ["0 % labelled", "joint training"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    lines = results.read_text().splitlines()
    default, plain, unlabelled, joint = (json.loads(line)["result"] for line in lines)
    assert len({result["test_mae"] for result in (default, plain, unlabelled, joint)}) == 4
    for result in (default, plain, unlabelled, joint):
        assert 0 < result["test_rrse"] < 2
        assert 0 < result["valid_reconstruction"] < 2
        assert result["epochs"] == 1
    assert len({default[f"test_mae{suffix}"] for suffix in ("", "_alone", "_known")}) == 3
    assert plain["test_mae"] == plain["test_mae_alone"]
    assert not [name for name in unlabelled if "accuracy" in name or "known" in name]
    assert "4 of 15 fits are done" in (docs / "MotionSense.txt").read_text()

    results.write_text("\n".join([*lines[:-1], lines[-1][:100]]))
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "3 runs are there, 1 to do" in again.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "--data is needed"), (["--data", ".", "--max-epochs", "1"], "--docs where")],
)
def test_a_command_says_what_it_needs(ablations, monkeypatch, capsys, options, message):
    monkeypatch.setattr(sys, "argv", ["ablations.py", *options])
    with pytest.raises(SystemExit):
        ablations.main()
    assert message in capsys.readouterr().err
