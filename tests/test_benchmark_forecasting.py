"""The forecasting benchmark: the same windows for every system, and tables of what came out."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_pjm

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HOURS = 1200


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ["problem", "systems", "runs", "tables", "measure", "classical", "deepdive"]
    modules = {name: importlib.import_module(f"forecasting.{name}") for name in names}
    return SimpleNamespace(**modules, records=importlib.import_module("records"))


@pytest.fixture
def problem(benchmark):
    """A few weeks of PJM's load, z-scored."""
    frame = load_pjm().frame.iloc[:HOURS, :3]
    frame = (frame - frame.mean()) / frame.std(ddof=0)
    options = dict(marginals=["hour", "dayofweek"], stride=3)
    windows = sliding_windows(frame.astype("float32"), 48, 6, **options)
    cuts = np.split(np.arange(len(windows)), [len(windows) // 2, len(windows) * 3 // 4])
    parts = SimpleNamespace(train=windows[cuts[0]], valid=windows[cuts[1]], test=windows[cuts[2]])
    return benchmark.problem.of_parts("PJM", 6, parts, (24,))


def test_the_file_holds_the_problem(benchmark, problem, tmp_path):
    path = benchmark.problem.file_of(tmp_path / "new", "PJM", 6)
    problem.save(path)
    again = benchmark.problem.Problem.load(path)
    assert again[:3] == problem[:3]
    assert (again.seasons, again.checksum) == (problem.seasons, problem.checksum)
    np.testing.assert_array_equal(again.series, problem.series)
    for part in benchmark.problem.PARTS:
        np.testing.assert_array_equal(again.starts[part], problem.starts[part])
        assert set(again.labels[part]) == {"hour", "dayofweek"}
        np.testing.assert_array_equal(again.labels[part]["hour"], problem.labels[part]["hour"])


def test_the_checksum_notices_other_windows(benchmark, problem):
    checksum = benchmark.problem.checksum
    assert checksum(problem.windows) == problem.checksum
    assert checksum(lambda part: problem.windows(part, 7)) == problem.checksum
    one_less = problem.starts | {"valid": problem.starts["valid"] - 1}
    assert checksum(problem._replace(starts=one_less).windows) != problem.checksum
    other = problem.series.copy()
    other[problem.starts["valid"][0], 0] += 1e-3
    assert checksum(problem._replace(series=other).windows) != problem.checksum


def test_the_naive_forecast_repeats_the_season(benchmark, problem):
    naive = benchmark.systems.make("naive", 1)
    assert naive.fit(problem._replace(seasons=(1, 24)), {}, 0) == {"season": 24}
    X, _ = problem.whole("test")
    np.testing.assert_array_equal(naive.predict("test"), X[:, 24:30])
    naive.fit(problem._replace(seasons=(1,)), {}, 0)
    np.testing.assert_array_equal(naive.predict("test"), np.repeat(X[:, -1:], 6, axis=1))


@pytest.mark.parametrize("last", ["", "-last"])
@pytest.mark.parametrize("kind", ["shared", "channel", "all"])
def test_ridge_finds_a_linear_rule(benchmark, problem, kind, last):
    # every step ahead is the value of six steps ago, of the same channel or of the next one
    series = problem.series.copy()
    for t in range(6, len(series)):
        series[t] = np.roll(series[t - 6], 1) if kind == "all" else series[t - 6]
        series[t] += 1e-3 * problem.series[t]
    follows = problem._replace(series=series)
    ridge = benchmark.systems.make(f"ridge-{kind}{last}", 1)
    assert ridge.fit(follows, {}, 0)["alpha"] < 1e4
    _, y = follows.whole("test")
    assert np.abs(ridge.predict("test") - y).mean() < 0.05 * np.abs(y).mean()


def test_deepdive_sees_the_windows_of_the_file(benchmark, problem):
    system = benchmark.systems.make("DeepDIVE", 1)
    assert "epochs" in system.fit(problem, {"max_epochs": 1, "hidden_dim": 16}, 0)
    assert benchmark.problem.checksum(system.windows) == problem.checksum
    _, y = problem.whole("test")
    forecast = system.predict("test")
    assert forecast.shape == y.shape
    assert np.abs(forecast - y).mean() < np.abs(y).mean()
    assert system._model.factor_names_ == ("hour", "dayofweek")


RATES = {  # of the first six epochs of ten, as the authors' code sets them
    "constant": [1, 1, 1, 1, 1, 1],
    "halved": [1, 1, 0.5, 0.25, 0.125, 0.0625],
    "halved three times": [1, 1, 1, 0.5, 0.5, 0.25],
    "a tenth less": [1, 1, 1, 1, 0.9, 0.81],
    "cosine": [1, 0.9755, 0.9045, 0.7939, 0.6545, 0.5],
    "one cycle": [0.04, 0.52, 1, 0.9619, 0.8536, 0.6913],
}


def test_rates_are_those_that_were_published(benchmark):
    published = importlib.import_module("forecasting.published")
    assert set(published.RATES) == set(RATES)
    for name, expected in RATES.items():
        rates = [published.RATES[name](epoch, 10) for epoch in range(6)]
        assert rates == pytest.approx(expected, abs=1e-4), name


@pytest.mark.parametrize(
    ("system", "training", "steps", "expected"),
    [
        ("NHITS", {"epochs": 10, "steps": 1000}, 30, (0, 34, 17)),
        ("NHITS", {"epochs": 10, "steps": 1000}, 300, (0, 10, 3)),
        ("TiDE", {"epochs": 30, "steps": 0}, 30, (20, 30, 5)),
        ("DLinear", {"epochs": 10, "steps": 0}, 30, (0, 10, 3)),
    ],
)
def test_networks_are_given_the_time_that_they_need(benchmark, system, training, steps, expected):
    published = importlib.import_module("forecasting.published")
    assert published.epochs_of(system, training, steps) == expected


def test_a_data_set_has_its_own_published_settings_or_a_choice(benchmark):
    published = importlib.import_module("forecasting.published")
    for system, settings in published.SETTINGS.items():
        for data in ("ETTh1", "ETTh2", "PJM", "exchange", "forces"):
            chosen = published.options(system, data)["like"]
            assert chosen
            assert set(chosen) <= set(settings)
        assert all(setting["rate"] in published.RATES for setting in settings.values())
    assert published.options("TiDE", "ETTh2")["like"] == ["ETTh2"]
    assert published.options("iTransformer", "exchange")["like"] == ["ETTh2"]
    assert published.options("PatchTST", "PJM")["like"] == ["ETTh", "electricity"]


@pytest.mark.parametrize("system", ["NLinear", "LightGBM"])
def test_a_peer_sees_the_windows_of_the_file_and_learns(benchmark, problem, system):
    """Where it is installed."""
    pytest.importorskip("neuralforecast" if system == "NLinear" else "lightgbm")
    peer = benchmark.systems.make(system, 1)
    settings = {name: values[-1] for name, values in peer.options("PJM").items()}
    if system == "NLinear":
        settings["like"] = "ETTh2"  # the highest rate, as there are few windows
    peer.fit(problem, settings, 0)
    assert benchmark.problem.checksum(peer.windows) == problem.checksum
    _, mae = benchmark.measure.errors(peer, "test", peer.predict("test"))
    assert mae < 0.5  # of values with a standard deviation of 1


def test_tuning_begins_with_the_defaults(benchmark):
    defaults = DeepDIVEForecaster().get_params()
    assert {name: values[0] for name, values in benchmark.deepdive.TUNED.items()}.items() <= (
        defaults.items()
    )
    assert benchmark.systems.make("DeepDIVE-tuned", 1).options("PJM") == benchmark.deepdive.TUNED
    assert not benchmark.systems.make("DeepDIVE", 1).options("PJM")


@pytest.mark.parametrize(
    ("system", "library", "settings"),
    [
        ("naive", "sklearn", {}),
        ("ridge-shared", "sklearn", {}),
        ("ridge-all-last", "sklearn", {}),
        ("DeepDIVE", "skdive", {"max_epochs": 1, "hidden_dim": 16}),
        ("LightGBM", "lightgbm", {"objective": "regression", "channels": "all, calendar"}),
        ("NLinear", "neuralforecast", {"like": "ETTh2", "loss": "MAE"}),
    ],
)
def test_a_fit_needs_no_test_part(benchmark, problem, system, library, settings):
    pytest.importorskip(library)
    blind = problem._replace(
        starts={part: problem.starts[part] for part in ("train", "valid")},
        labels={part: problem.labels[part] for part in ("train", "valid")},
    )
    model = benchmark.systems.make(system, 1)
    model.fit(blind, settings, 0)
    with pytest.raises(KeyError, match="test"):
        model.predict("test")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from Linux")
def test_a_run_is_measured_in_a_process_of_its_own(benchmark, problem, tmp_path):
    path = tmp_path / "PJM-6.npz"
    problem.save(path)
    found = benchmark.measure.apart("ridge-shared", path, {}, 0, 1)
    ridge = benchmark.systems.make("ridge-shared", 1)
    ridge.fit(problem, {}, 0)
    _, y = problem.whole("test")
    error = ridge.predict("test").astype(float) - y
    assert found["mse"] == pytest.approx(np.square(error).mean(), abs=1e-6)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), abs=1e-6)
    assert found["checksum"] == problem.checksum
    assert found["threads"] == 1
    problem._replace(checksum="of other windows").save(path)
    with pytest.raises(RuntimeError, match="failed with exit code"):
        benchmark.measure.apart("ridge-shared", path, {}, 0, 1)


@pytest.fixture
def rehearsed(benchmark, problem, tmp_path, monkeypatch):
    """Runs whose systems are not fitted: what a run would be asked is noted."""
    asked = []

    def apart(system, path, settings, seed, threads):
        asked.append((system, seed, settings))
        worse = sum(len(str(value)) for value in settings.values())
        about = dict(mse=2.0 + seed, mae=1.0 + seed, valid_mae=float(worse), checksum="same")
        about |= dict(fit_seconds=1.0, windows_per_second=9.0, peak_mb=1.0, versions={"a": "1"})
        return about

    monkeypatch.setattr(benchmark.runs, "apart", apart)

    class Simple(benchmark.systems.System):
        fit = predict = None  # `apart` is in their place

    class Chooses(Simple):
        seeded = True

        def options(self, data):
            return {"width": [1000, 10, 100], "loss": ["MAE", "L"]}

    kinds = {"NLinear": Chooses}
    make = lambda name, threads: kinds.get(name, Simple)(name, threads)  # noqa: E731
    monkeypatch.setattr(benchmark.runs, "make", make)
    records = benchmark.records.Records(tmp_path / "results.jsonl")
    return benchmark.runs.Runs(records, tmp_path, 1), asked


def test_settings_are_chosen_once_and_runs_are_not_repeated(rehearsed):
    runs, asked = rehearsed
    assert runs.all("accuracy", ["NLinear", "naive"], ["ETTh1"], [24, 96], [0, 1]) == 0
    best = {"width": 10, "loss": "L"}
    assert runs.settings("NLinear", "ETTh1") == best
    tried = [settings for system, seed, settings in asked if system == "NLinear"]
    assert tried[:3] == [{"width": width, "loss": "MAE"} for width in (1000, 10, 100)]
    assert tried[3:] == [best] * 4  # the other loss, then horizon 96, then seed 1
    assert [seed for system, seed, _ in asked if system == "naive"] == [0, 0]
    known = len(asked)
    runs.all("accuracy", ["NLinear", "naive"], ["ETTh1"], [24, 96], [0, 1])
    assert len(asked) == known


def test_a_failed_run_does_not_stop_the_others(rehearsed, benchmark, monkeypatch, capsys):
    runs, _ = rehearsed
    works = benchmark.runs.apart

    def apart(system, *rest):
        if system == "naive":
            raise RuntimeError("naive failed")
        return works(system, *rest)

    monkeypatch.setattr(benchmark.runs, "apart", apart)
    assert runs.all("accuracy", ["naive", "ridge-all"], ["ETTh1"], [24], [0]) == 1
    assert "naive failed" in capsys.readouterr().err
    assert list(runs.records.frame().system) == ["ridge-all"]


def test_the_tables_show_means_ranks_and_shares(rehearsed, benchmark, tmp_path):
    runs, _ = rehearsed
    runs.all("accuracy", ["ridge-all", "NLinear", "naive"], ["ETTh1"], [24, 96], [0, 1])
    frame = runs.records.frame()
    frame.loc[frame.system == "naive", ["mse", "mae"]] = 9.0, 3.0
    benchmark.tables.write_tables(frame, tmp_path)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")}
    assert set(texts) == {"summary", "accuracy", "choices", "cost"}
    rows = dict(cells(texts["accuracy"]))
    assert rows["NLinear"] == ["2", *(2 * ["2.5000 ± 0.7071", "1.5000 ± 0.7071"])]
    assert rows["ridge-all"] == ["1", *(2 * ["**2.0000**", "**1.0000**"])]
    rows = dict(cells(texts["summary"]))
    assert rows["naive"] == ["2 of 2", "3.00", "3.00", "3.000", "3.000", "3.000"]
    assert rows["NLinear"] == ["2 of 2", "2.00", "2.00", "1.500", "1.500", "1.500"]
    assert dict(cells(texts["choices"])) == {"system": ["ETTh1"], "NLinear": ["L, 10"]}
    assert dict(cells(texts["cost"]))["naive"] == ["1*", "9*", "1*"]


def test_systems_that_are_not_done_are_set_beside_deepdive_in_their_cases(
    rehearsed, benchmark, tmp_path
):
    runs, _ = rehearsed
    runs.all("accuracy", ["ridge-all", "NLinear", "naive"], ["ETTh1", "PJM"], [24, 96], [0])
    frame = runs.records.frame()
    ours = frame[frame.system == "naive"].assign(system="DeepDIVE")
    ours["mae"] = np.where(ours["data"] == "PJM", 0.5, 0.9)
    frame = frame[(frame.system != "NLinear") | (frame["data"] != "PJM")]  # has not begun
    frame = frame[(frame.system != "naive") | (frame["data"] != "PJM") | (frame.horizon == 24)]
    benchmark.tables.write_tables(pd.concat([frame, ours]), tmp_path)
    rows = dict(cells((tmp_path / "summary.txt").read_text()))
    assert rows["DeepDIVE"][-1] == "0.700"
    assert rows["NLinear"][0] == rows["naive"][0] == "2 of 4"  # may still be choosing
    assert rows["NLinear"][-1] == rows["naive"][-1] == "0.900"
    assert "naive" not in (tmp_path / "accuracy.txt").read_text().split("**PJM**")[1]


def cells(text):
    """Rows of a table: the first cell and the others."""
    for row in text.split("   * - ")[1:]:
        first, *others = row.split("\n     - ")
        yield first, [cell.strip() for cell in "\n".join(others).splitlines() if cell.strip()]


def test_systems_that_saw_other_windows_are_not_compared(benchmark, tmp_path):
    frame = pd.DataFrame({"data": 2 * ["PJM"], "horizon": 24, "checksum": ["one", "other"]})
    with pytest.raises(ValueError, match=r"different windows of .*PJM"):
        benchmark.tables.write_tables(frame, tmp_path)


def test_files_of_windows_are_written_though_all_runs_are_there(tmp_path):
    """For the environments that cannot write them."""
    rates = np.random.default_rng(0).normal(size=(3000, 8)).cumsum(axis=0)
    (tmp_path / "exchange_rate").mkdir()
    pd.DataFrame(rates).to_csv(
        tmp_path / "exchange_rate" / "exchange_rate.txt.gz", header=False, index=False
    )
    command = [sys.executable, "-m", "forecasting", "--systems", "naive", "--datasets", "exchange"]
    command += ["--horizons", "96", "--results", tmp_path / "results.jsonl"]
    path = os.pathsep.join([str(BENCHMARKS.parent), str(BENCHMARKS)])
    options = dict(env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    refused = subprocess.run([*command, "--files", tmp_path / "none"], **options)
    assert "name the data folder with --data" in refused.stderr
    for folder in (tmp_path / "first", tmp_path / "second"):
        run = subprocess.run([*command, "--files", folder, "--data", tmp_path], **options)
        assert run.returncode == 0, run.stderr
        files = sorted(file.name for file in folder.iterdir())
        assert files == ["exchange-24.npz", "exchange-96.npz"]
        assert ("naive exchange 96" in run.stdout) == (folder.name == "first")
