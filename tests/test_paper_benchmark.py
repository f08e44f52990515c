"""The experiments of the paper: what is compared, and that a command runs and resumes them."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skdive import DeepDIVEForecaster
from skdive.datasets import load_motionsense

OURS = ("DeepDIVE", "(b)")  # models that tell the factors
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def paper(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from paper import cases, runs, tables

    return {"cases": cases, "runs": runs, "tables": tables}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The data folder, with the recordings of MotionSense that ship, of eight people."""
    folder = tmp_path_factory.mktemp("data") / "motionsense"
    folder.mkdir()
    motion = load_motionsense()
    codes = {"wlk": "walking", "jog": "jogging", "ups": "upstairs", "dws": "downstairs"}
    for code, activity in codes.items():
        trial = motion.trial[motion.activity == activity].min()
        is_here = (motion.activity == activity) & (motion.trial == trial) & (motion.subject <= 8)
        values = [motion.recordings[i] for i in np.flatnonzero(is_here)]
        np.savez(
            folder / f"motionsense_{code}.npz",
            data=np.rint(np.concatenate(values) * 1000).astype(np.int16),
            scale=np.full(6, 0.001, np.float32),
            offsets=np.cumsum([0, *map(len, values)]),
            subject=motion.subject[is_here],
            trial=motion.trial[is_here],
            channels=np.array(motion.channel_names),
        )
    people = pd.DataFrame({"code": range(1, 9), "gender": [0, 1] * 4})
    people.to_csv(folder / "subjects.csv", index=False)
    return folder.parent


def test_people_are_in_one_part_each_and_change_with_the_seed(paper, folder):
    cases = paper["cases"]
    case = cases.CASES["motionsense"]
    windows = cases.sliding_windows(case.read(folder), 100, 80, stride=20, marginals=case.labels)
    chosen = []
    for seed in (0, 1):
        parts = cases.split_people(windows, case, seed)
        people = [set(part.marginals.subject) for part in parts]
        assert [len(p) for p in people] == [4, 2, 2]
        assert set.union(*people) == set(range(1, 9))
        assert all(set(part.marginals.gender) == {"male", "female"} for part in parts)
        assert sum(map(len, parts)) == len(windows)
        chosen.append(people)
    assert chosen[0] != chosen[1]


def test_parts_in_time_share_no_target_and_have_the_factors_of_their_split(paper, folder):
    parts = paper["cases"].parts_of("motionsense", folder, "time", 80, 0)
    rows = [set(np.flatnonzero(part.y.covered())) for part in parts]
    assert all(map(len, parts))
    assert not rows[0] & rows[1]
    assert not rows[1] & rows[2]
    trained_on = np.flatnonzero(parts[0].X.covered() | parts[0].y.covered())
    assert not set(trained_on) & set(np.flatnonzero(parts[2].X.covered()))
    assert [list(part.marginals) for part in parts] == [["activity", "subject"]] * 3


@pytest.mark.parametrize(("setting", "size"), [("D = 1", 18), ("defaults", 48)])
def test_models_have_latents_of_the_same_size(paper, setting, size):
    sizes = {}
    for model in paper["cases"].MODELS:
        params = paper["cases"].make(model, setting, n_factors=2).get_params()
        sizes[model] = params.get("latent_dim", params.get("conditional_dim"))
    assert sizes.pop("(b)") == 0
    assert sizes.pop("DeepDIVE") == size - 2 * (1 if setting == "D = 1" else 8)
    assert set(sizes.values()) == {size}


def test_every_run_has_a_key_of_its_own_and_seeds_are_the_outer_loop(paper):
    for name in paper["cases"].CASES:
        keys = paper["cases"].keys_of(name, range(3))
        assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(keys)
        assert [key["seed"] for key in keys] == sorted(key["seed"] for key in keys)


def test_a_table_shows_means_gains_and_the_numbers_of_the_paper(paper, tmp_path, monkeypatch):
    from records import Records

    records = Records(tmp_path / "x.jsonl")
    scores = paper["tables"].RESULTS | paper["tables"].LATENTS
    gains = paper["tables"].GAINS
    lower = len(paper["tables"].LOWER_IS_BETTER)
    keys = paper["cases"].keys_of("strides", range(3))
    level = {"DeepDIVE": 0.5, "(a)": 0.6, "(b)": 0.4, "VAE": 0.5, "beta-TCVAE": 0.7}
    for key in keys[:-1]:
        noise = 0.01 * key["seed"] * (1 if key["model"] == "VAE" else 1.1)
        result = dict.fromkeys(scores, level[key["model"]] + noise)
        result |= dict(machine="2026-01-01. A machine.", fit_seconds=1.0, epochs=2)
        records.add(key, result | dict(n_train=20, n_valid=20, n_test=10))
    paper["tables"].write_tables(tmp_path / "docs" / "strides.txt", records, keys)
    text = (tmp_path / "docs" / "strides.txt").read_text()
    assert "59 of 60 runs" in text
    assert "0.511 ± 0.011" in text  # of DeepDIVE
    assert "11.1627" in text
    # against (a): smaller errors are better, a smaller MIG is worse; two splits, two settings
    assert text.count("- **-0.100** ± 0.000") == 4 * lower
    assert text.count("- *-0.100* ± 0.000") == 4 * (len(gains) - lower)
    assert "- *+0.100* ± 0.000" in text  # against (b)
    in_time, by_people = text.split("**Split by people")
    assert "- +0.001 ± 0.002" in in_time  # against the VAE, within the noise
    assert "- +0.001 ± 0.004" in by_people  # whose people are in training of other seeds


class Latents:
    """A model with one latent that is the first factor, and one of noise."""

    factor_names_ = ("hour", "day")

    def transform(self, X):
        return X

    def get_feature_names_out(self):
        return np.array(["marginal_hour_0", "conditional_0"])


@pytest.mark.parametrize("n", [400, 4000])
def test_latents_are_scored_beside_chance_where_there_are_enough_windows(paper, n):
    rng = np.random.default_rng(0)
    labels = pd.DataFrame({"hour": rng.integers(4, size=n), "day": rng.integers(3, size=n)})
    Z = np.column_stack([labels.hour + rng.uniform(-0.1, 0.1, n), rng.normal(size=n)])

    class Part:
        X, marginals = Z, labels

        def __len__(self):
            return n

        def __getitem__(self, rows):
            return SimpleNamespace(X=Z[rows], marginals=labels[rows])

    scores = paper["runs"].latent_scores(Latents(), Part())
    if n < 500:
        assert scores == {}
        return
    assert 0.45 < scores["mig"] < 0.55  # the other factor is in neither latent
    assert scores["mig by chance"] < 0.02
    assert scores["modularity by chance"] > 0.2  # which is why it is not compared
    assert set(scores) >= {*paper["tables"].LATENTS, *paper["tables"].CHANCE, "mig_blocks"}


@pytest.mark.parametrize("model", ["DeepDIVE", "(a)"])
def test_a_model_is_not_given_the_test_part(paper, folder, monkeypatch, model):
    class Given(Exception):
        pass

    def fit(self, X, y, marginals=None, X_val=None, y_val=None, marginals_val=None):
        raise Given((X, y, marginals), (X_val, y_val, marginals_val))

    monkeypatch.setattr(DeepDIVEForecaster, "fit", fit)
    parts = paper["cases"].parts_of("motionsense", folder, "people", 80, 0)
    monkeypatch.setattr(paper["runs"], "parts_of", lambda *case: parts)
    keys = paper["cases"].keys_of("motionsense", range(1))
    key = next(key for key in keys if (key["split"], key["model"]) == ("people", model))
    with pytest.raises(Given) as given:
        paper["runs"].run(key, folder)
    for (X, y, marginals), part in zip(given.value.args, parts[:2], strict=True):
        assert X is part.X
        assert y is part.y
        assert marginals is (part.marginals if model == "DeepDIVE" else None)


def test_no_model_is_stopped_before_the_others(paper):
    for name in paper["cases"].CASES:
        for key in paper["cases"].keys_of(name, range(1)):
            params = key["params"]
            assert params["max_epochs"] == params["n_iter_no_change"] >= 50
            assert params["early_stopping"]  # which restores the best weights


@pytest.mark.slow
def test_a_command_runs_the_experiments_resumes_them_and_writes_a_table(folder, tmp_path):
    results, docs = tmp_path / "paper.jsonl", tmp_path / "docs"
    command = [sys.executable, str(BENCHMARKS / "paper" / "run.py"), "motionsense"]
    command += ["--data", str(folder), "--seeds", "1", "--max-epochs", "1", "--horizons", "80"]
    command += ["--results", str(results), "--docs", str(docs)]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    lines = results.read_text().splitlines()
    assert len(lines) == 20
    for line in lines:
        result = json.loads(line)["result"]
        assert 0 < result["reconstruction"] < 2
        assert 0 < result["forecast"] < 2
        assert "mig" not in result  # of so few windows it would be mostly chance
        is_told = json.loads(line)["key"]["model"] in OURS
        assert ("accuracy activity" in result) == ("forecast_known" in result) == is_told
        assert result["epochs"] == 1
    table = (docs / "motionsense.txt").read_text()
    assert "Split by people, horizon 80" in table

    results.write_text("\n".join([*lines[:-2], lines[-2][:100]]))
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "18 runs are there, 2 to do" in again.stdout
    assert len(results.read_text().splitlines()) == 21  # with the half line


@pytest.mark.parametrize(
    ("options", "message"),
    [([], "--data is needed"), (["--data", ".", "--max-epochs", "1"], "--docs where")],
)
def test_a_command_says_what_it_needs(paper, monkeypatch, capsys, options, message):
    from paper import run

    monkeypatch.setattr(sys, "argv", ["run.py", "pjm", *options])
    with pytest.raises(SystemExit):
        run.main()
    assert message in capsys.readouterr().err
