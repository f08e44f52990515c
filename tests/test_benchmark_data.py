"""The data of the benchmarks: tiny files in the format of the real ones, and how they are cut."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skdive import sliding_windows
from skdive.datasets import load_pjm

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def data(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import data

    return data


def write(folder, source, name, content):
    """Write a frame or a dict of arrays the way that the data folder has it."""
    path = folder / source / name
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        content.to_csv(path, index=False)


def recordings(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "data": rng.integers(-2000, 2000, (sum(lengths), 6)).astype(np.int16),
        "scale": np.array([0.5, 0.5, 0.5, 0.001, 0.001, 0.001], np.float32),
        "offsets": np.cumsum([0, *lengths]),
        "subject": 1 + np.arange(len(lengths), dtype=np.int8),
        "trial": np.full(len(lengths), 7, np.int8),
        "channels": np.array(list("abcdef")),
    }


@pytest.fixture
def motion(tmp_path):
    for code, lengths in {"wlk": [900, 700], "jog": [800, 600], "ups": [400], "dws": [500]}.items():
        write(tmp_path, "motionsense", f"motionsense_{code}.npz", recordings(lengths))
    people = pd.DataFrame({"code": [1, 2], "gender": [1, 0]})
    write(tmp_path, "motionsense", "subjects.csv", people)
    return tmp_path


@pytest.fixture
def gait(tmp_path):
    codes = {"control": [1, 2], "park": [1], "hunt": [1], "als": [4, 5]}
    names = [f"{code}{i}" for code, numbers in codes.items() for i in numbers]
    for code, numbers in codes.items():
        steps = np.arange(len(numbers) * 3000 * 2, dtype=np.int16).reshape(-1, 3000, 2)
        content = {"data": steps, "record": np.array([f"{code}{i}" for i in numbers])}
        write(tmp_path, "gaitndd", f"gaitndd_{code}_100hz.npz", content)
    people = {"record": names, "group": [name[:-1] for name in names]}
    people |= {"gender": list("fmfmfm"), "usable": [int(name != "als5") for name in names]}
    write(tmp_path, "gaitndd", "subjects.csv", pd.DataFrame(people))
    table = pd.DataFrame({"record": np.repeat(names, 4), "elapsed_s": np.tile([21, 22, 23, 30], 6)})
    table["left_stride_s"] = np.tile([1.0, 1.1, 1.2, 1.3], 6)
    table["right_stride_s"] = np.tile([1.0, 1.1, 7.0, 1.3], 6)  # the third is a turn
    write(tmp_path, "gaitndd", "strides.csv.gz", table)
    return tmp_path


def test_a_file_that_is_missing_is_named_with_its_origin(data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)ETTh2\.csv\.gz is missing.*ETDataset"):
        data.etth(tmp_path, 2)
    with pytest.raises(FileNotFoundError, match=r"(?s)subjects\.csv is missing.*physionet"):
        data.gait_strides(tmp_path)


def test_half_hours_become_hours_of_local_time_over_a_change_of_the_clock(data, tmp_path):
    # 2012-04-01 03:00 summer time was 02:00 standard time: the hour from two to three came twice
    time = pd.date_range("2012-03-31 13:00", "2012-04-01 12:59", freq="30min", tz="UTC")
    columns = {"time_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "temperature_c": 20.0}
    columns |= {"demand_mw_sum": np.arange(len(time)) * 1.0, "holiday": 0}
    write(tmp_path, "vic_elec", "vic_elec_30min.csv.gz", pd.DataFrame(columns))
    frame = data.vic_elec(tmp_path)
    assert frame.demand.tolist() == [0.5 + 2 * i for i in range(24)]
    windows = sliding_windows(frame, 1, 1, marginals="hour")
    assert len(windows) == 23  # no hole, no duplicate
    assert windows.marginals.hour[:5].tolist() == [0, 1, 2, 2, 3]


def test_recordings_have_units_and_labels(data, motion):
    frame = data.motionsense(motion, labels=["activity", "subject", "gender"])
    assert len(frame.index.unique("recording")) == 6
    row = frame.loc[("jogging 7, subject 2", 3)]
    source = recordings([800, 600])
    assert row[["a", "d"]].tolist() == pytest.approx(source["data"][803, [0, 3]] * [0.5, 0.001])
    assert row[["activity", "subject", "gender"]].tolist() == ["jogging", 2, "female"]
    some = data.motionsense(motion, activities=["upstairs"])
    assert some.shape == (400, 8)


def test_gait_of_usable_records_after_the_start(data, gait):
    forces = data.gait_forces(gait)
    assert "als5" not in forces.index.unique("record")
    assert forces.loc["control2"].shape == (1000, 4)
    assert forces.loc[("control2", 0), ["left", "right"]].tolist() == [10000, 10001]
    assert forces.loc[("park1", 0), ["disease", "gender"]].tolist() == ["Parkinson", "female"]
    halved = data.gait_forces(gait, every=2)
    assert halved.loc[("control2", 1), ["left", "right"]].tolist() == [10005, 10006]

    strides = data.gait_strides(gait)
    assert strides.loc["als4", "left_stride_s"].tolist() == [1.0, 1.1, 1.3]
    assert strides.loc["als4"].index.tolist() == [0, 1, 2]
    assert "als5" not in strides.index.unique("record")
    assert len(sliding_windows(strides, 2, 1, marginals=["disease", "gender"])) == 5


def test_electricity_is_hourly(data, tmp_path):
    hours = np.datetime64("2014-11-27T00", "s") + np.arange(50) * np.timedelta64(3600, "s")
    clients = {"values": np.arange(150, dtype=np.int32).reshape(50, 3), "time": hours}
    clients["client_index"] = np.arange(3, dtype=np.int16)
    write(tmp_path, "electricity_uci_lai", "electricity_321_last5weeks.npz", clients)
    total = {"total": np.arange(50), "time": hours}
    write(tmp_path, "electricity_uci_lai", "electricity_mean321_2012_2014.npz", total)
    every, one = data.electricity_clients(tmp_path), data.electricity_total(tmp_path)
    assert every.loc["2014-11-27 02:00"].tolist() == [6, 7, 8]
    assert one.loc["2014-11-27 02:00"].tolist() == [2]
    assert len(sliding_windows(every, 24, 6, marginals="hour")) == 21


def test_targets_of_a_part_lie_in_it_and_lookbacks_reach_back_one_part(data):
    lengths = [100, 60]
    panel = [np.arange(n, dtype=float) for n in lengths]  # a value is its position
    parts = data.split_targets(sliding_windows(panel, 15, 5), (0.6, 0.8))
    assert [len(part) for part in parts] == [41 + 17, 16 + 8, 16 + 5]
    for i, part in enumerate(parts):
        n = np.array(lengths)[part.X.series_of()]
        begin, end = n * [0, 0.6, 0.8][i], n * [0.6, 0.8, 1][i]
        before = n * [0, 0, 0.6][i]
        X, y = np.asarray(part.X), np.asarray(part.y)
        assert (y >= begin[:, None]).all()
        assert (y < end[:, None]).all()
        assert (before[:, None] <= X).all()


def test_series_are_cut_at_moments_in_their_own_time_zone(data):
    index = pd.date_range("2024-01-01", periods=72, freq="h", tz="Australia/Melbourne")
    windows = sliding_windows(pd.DataFrame({"x": np.arange(72.0)}, index=index), 6, 2)
    parts = data.split_targets(windows, ("2024-01-02", "2024-01-03"))
    assert [np.asarray(part.y).min() for part in parts] == [6, 24, 48]
    assert [np.asarray(part.y).max() for part in parts] == [23, 47, 71]


def test_forecasting_parts_have_standard_borders_and_training_statistics(data, tmp_path):
    load = load_pjm().frame.iloc[:, :7]
    frame = pd.DataFrame(load.to_numpy()[:17420], columns=load.columns)
    dates = pd.date_range("2016-07-01", periods=len(frame), freq="h")
    frame.insert(0, "date", dates)
    write(tmp_path, "ett_hourly", "ETTh1.csv.gz", frame)
    parts = data.forecasting_parts("ETTh1", tmp_path, 24)
    assert [len(part) for part in parts[:3]] == [8640 - 168 - 24 + 1, 2880 - 23, 2880 - 23]
    train = frame.iloc[:8640, 1:]
    np.testing.assert_allclose(parts.mean, train.mean(), rtol=1e-6)
    np.testing.assert_allclose(parts.std, train.std(ddof=0), rtol=1e-6)
    first = parts.test
    assert first.origins[0] == dates[11519]
    known = (frame.iloc[11520 : 11520 + 24, 1:] - parts.mean) / parts.std
    np.testing.assert_allclose(np.asarray(first.y[[0]])[0], known.to_numpy().ravel(), rtol=1e-4)
    assert first.X.base is first.y.base
    assert first.marginals.iloc[0].tolist() == [23, dates[11519].day_of_week]


def test_forecasting_parts_of_recordings(data, motion):
    parts = data.forecasting_parts("MotionSense", motion, 24)
    frame = data.motionsense(motion)
    train = frame.groupby(level=0, sort=False).apply(lambda f: f.iloc[: round(0.6 * len(f)), :6])
    np.testing.assert_allclose(parts.mean, train.mean(), rtol=1e-5)
    np.testing.assert_allclose(parts.std, train.std(ddof=0), rtol=1e-5)
    position = parts.test.X.starts - parts.test.X.bounds[parts.test.X.series_of()]
    assert (position % 20 == 0).all()
    assert set(parts.train.marginals.activity) == set(data.MOVING)
