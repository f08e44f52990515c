"""The data sets of the benchmarks, read from a folder, and how they are cut into windows.

Each function takes the data folder and gives a frame for `skdive.sliding_windows`: time steps in
rows; channels, and labels where there are any, in columns; many series indexed by (series, time).
DATA.md says what the folder holds, and how it was made.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from skdive import WindowSet, sliding_windows

ORIGINS = {
    "ett_hourly": "https://github.com/zhouhaoyi/ETDataset",
    "pjm_hourly_zones": "https://www.kaggle.com/datasets/robikscube/hourly-energy-consumption",
    "vic_elec": "https://github.com/skforecast/skforecast-datasets (data/vic_electricity.csv)",
    "exchange_rate": "https://github.com/laiguokun/multivariate-time-series-data",
    "motionsense": "https://github.com/mmalekzadeh/motion-sense",
    "gaitndd": "https://physionet.org/content/gaitndd/1.0.0/",
    "electricity_uci_lai": "https://archive.ics.uci.edu/dataset/321 (doi 10.24432/C58C86)",
}
ACTIVITIES = {"wlk": "walking", "jog": "jogging", "ups": "upstairs", "dws": "downstairs"}
ACTIVITIES |= {"sit": "sitting", "std": "standing"}
MOVING = ("walking", "jogging", "upstairs", "downstairs")
DISEASES = {"control": "control", "park": "Parkinson", "hunt": "Huntington", "als": "ALS"}
RATE = 100  # samples of a foot force per second
START_UP = 20  # seconds of a gait record to leave out
LONGEST_STRIDE = 3  # seconds; a longer one is a turn, a stop or a missed contact
ZONE = "Australia/Melbourne"


def file_of(folder, source, name):
    """Path of a file of the data folder, which must be there."""
    path = folder / source / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: --data must name a folder with {source}/{name}. The data is from "
            f"{ORIGINS[source]}; benchmarks/DATA.md says what the file holds."
        )
    return path


def arrays(folder, source, name):
    """Arrays of an npz file."""
    with np.load(file_of(folder, source, name)) as archive:
        return dict(archive)


def etth(folder, number):
    """ETTh1 or ETTh2: hourly, 7 channels, naive time."""
    path = file_of(folder, "ett_hourly", f"ETTh{number}.csv.gz")
    return pd.read_csv(path, index_col="date", parse_dates=True)


def pjm(folder):
    """Load of seven zones, hourly, in local time made regular (naive), stamped at its end."""
    path = file_of(folder, "pjm_hourly_zones", "pjm_zones_2013_2018.csv.gz")
    return pd.read_csv(path, index_col="time_ept", parse_dates=True)


def vic_elec(folder):
    """Demand and temperature of Victoria: hourly means; absolute time, shown as in Melbourne."""
    path = file_of(folder, "vic_elec", "vic_elec_30min.csv.gz")
    frame = pd.read_csv(path, index_col="time_utc", parse_dates=True)
    means = frame[["demand_mw_sum", "temperature_c"]].resample("h").mean()
    means.columns = ["demand", "temperature"]
    return means.tz_convert(ZONE)


def exchange(folder):
    """Exchange rates of eight currencies, daily, without dates."""
    names = ["Australia", "United Kingdom", "Canada", "Switzerland"]
    names += ["China", "Japan", "New Zealand", "Singapore"]
    path = file_of(folder, "exchange_rate", "exchange_rate.txt.gz")
    return pd.read_csv(path, header=None, names=names)


def motionsense(folder, activities=MOVING, labels=("activity", "subject")):
    """Six channels of a phone in the pocket, 50 Hz, indexed by (recording, time).

    `labels` are the columns next to the channels: of activity, subject, gender and trial.
    """
    people = pd.read_csv(file_of(folder, "motionsense", "subjects.csv"), index_col="code")
    parts = {}
    for code, activity in ACTIVITIES.items():
        if activity not in activities:
            continue
        found = arrays(folder, "motionsense", f"motionsense_{code}.npz")
        values = (found["data"] * found["scale"]).astype(np.float32)
        recordings = np.split(values, found["offsets"][1:-1])
        about = zip(recordings, found["subject"].tolist(), found["trial"].tolist(), strict=True)
        for recording, subject, trial in about:
            gender = "male" if people.gender[subject] else "female"
            known = dict(activity=activity, subject=subject, gender=gender, trial=trial)
            frame = pd.DataFrame(recording, columns=found["channels"])
            chosen = {label: known[label] for label in labels}
            parts[f"{activity} {trial}, subject {subject}"] = frame.assign(**chosen)
    return pd.concat(parts, names=["recording", "time"])


def gait_people(folder):
    """The usable records of gaitndd, one for each person, with disease and gender."""
    people = pd.read_csv(file_of(folder, "gaitndd", "subjects.csv"), index_col="record")
    people = people[people.usable == 1]
    gender = people.gender.map({"m": "male", "f": "female"})
    return pd.DataFrame({"disease": people.group.replace(DISEASES), "gender": gender})


def gait_forces(folder, every=1):
    """Force under the left and the right foot, 100 Hz, indexed by (record, time).

    With the labels disease and gender; of every record but its first 20 s. `every` neighbouring
    samples are made one, their mean.
    """
    people = gait_people(folder)
    parts = {}
    for code in DISEASES:
        found = arrays(folder, "gaitndd", f"gaitndd_{code}_100hz.npz")
        for record, data in zip(found["record"].tolist(), found["data"], strict=True):
            if record in people.index:
                kept = data[START_UP * RATE :]
                kept = kept[: len(kept) // every * every].reshape(-1, every, 2).mean(1)
                frame = pd.DataFrame(kept.astype(np.float32), columns=["left", "right"])
                parts[record] = frame.assign(**people.loc[record])
    return pd.concat(parts, names=["record", "time"])


def gait_strides(folder):
    """Twelve measures of each stride, indexed by (record, stride), with disease and gender.

    Strides of more than 3 s, of either foot, are left out, as if the next one followed.
    """
    people = gait_people(folder)
    table = pd.read_csv(file_of(folder, "gaitndd", "strides.csv.gz"))
    table = table[table.record.isin(people.index)]
    table = table[table[["left_stride_s", "right_stride_s"]].max(axis=1) <= LONGEST_STRIDE]
    table = table.drop(columns="elapsed_s").join(people, on="record")
    table["stride"] = table.groupby("record").cumcount()
    return table.set_index(["record", "stride"])


def electricity_total(folder):
    """Consumption of 321 clients in Portugal together, hourly, 2012 to 2014, in local time."""
    found = arrays(folder, "electricity_uci_lai", "electricity_mean321_2012_2014.npz")
    index = pd.DatetimeIndex(found["time"], name="time")
    return pd.DataFrame({"total": found["total"].astype(float)}, index=index)


def electricity_clients(folder):
    """Consumption of each of 321 clients, hourly, the last five weeks of 2014, in local time."""
    found = arrays(folder, "electricity_uci_lai", "electricity_321_last5weeks.npz")
    names = [f"client {i}" for i in found["client_index"]]
    index = pd.DatetimeIndex(found["time"], name="time")
    return pd.DataFrame(found["values"].astype(float), index=index, columns=names)


def borders(windows, cuts):
    """First row of each part in each series, and the end: ndarray of shape (parts + 1, series).

    `cuts` say where each part but the first begins: a share of the rows of each series, or, where
    there is one series, a moment.
    """
    begin, end = windows.X.bounds[:-1], windows.X.bounds[1:]
    rows = [begin]
    for cut in cuts:
        if isinstance(cut, float):
            rows.append(begin + np.rint(cut * (end - begin)).astype(int))
        else:
            rows.append(windows.index.searchsorted([pd.Timestamp(cut, tz=windows.index.tz)]))
    return np.array([*rows, end])


def split_targets(windows, cuts):
    """Cut windows into parts in time: those belong to a part whose *targets* all lie in it.

    Their lookback may reach back into the part before, but no further. `cuts` are as in `borders`.
    """
    edges = borders(windows, cuts)[:, windows.X.series_of()]  # (part + 1, window)
    edges = np.concatenate([edges[:1], edges])  # nothing lies before the first part
    first, target = windows.X.starts, windows.y.starts
    return [
        windows[(before <= first) & (begin <= target) & (target + windows.horizon <= end)]
        for before, begin, end in zip(edges, edges[1:], edges[2:], strict=False)
    ]


class Task(NamedTuple):
    """A data set of the forecasting benchmark: how it is read, cut and labelled."""

    read: Callable
    cuts: tuple
    factors: list | None = None
    stride: int = 1


HOURLY = ["hour", "dayofweek"]
MONTHS = 30 * 24  # hours, as the ETT papers count them
FORECASTING = {
    "ETTh1": Task(lambda folder: etth(folder, 1)[: 20 * MONTHS], (0.6, 0.8), HOURLY),
    "ETTh2": Task(lambda folder: etth(folder, 2)[: 20 * MONTHS], (0.6, 0.8), HOURLY),
    "PJM": Task(pjm, ("2017-01-01", "2017-08-01"), [*HOURLY, "month"]),
    "vic_elec": Task(vic_elec, (0.7, 0.8), [*HOURLY, "month"]),
    "exchange": Task(exchange, (0.7, 0.8)),
    "MotionSense": Task(motionsense, (0.6, 0.8), ["activity", "subject"], stride=20),
    "electricity": Task(electricity_total, (0.7, 0.8), [*HOURLY, "month"]),
    "forces": Task(partial(gait_forces, every=2), (0.6, 0.8), ["disease", "gender"], stride=40),
}
LOOKBACK = 168
HORIZONS = (24, 96)


class Parts(NamedTuple):
    """Windows of standardised values, and the statistics that undo it."""

    train: WindowSet
    valid: WindowSet
    test: WindowSet
    mean: np.ndarray  # (n_channels,), of the training rows in the units of the data set
    std: np.ndarray  # (n_channels,), of the population; 1 where a channel is constant


def forecasting_parts(name, folder, horizon):
    """Windows of a data set for the forecasting benchmark, the same for every system.

    They see 168 steps; `name` is a key of `FORECASTING`. Otherwise as `task_parts`.
    """
    return task_parts(FORECASTING[name], folder, LOOKBACK, horizon)


def task_parts(task, folder, lookback, horizon):
    """Windows of a task, z-scored and cut into train, validation and test windows.

    The values *are* z-scored, with mean and standard deviation of the training rows: errors of
    forecasts are those that the benchmark reports. A window belongs to a part if its targets lie
    in it; its lookback may reach back into the part before.

    Parameters
    ----------
    task : Task
    folder : Path
        The data folder.
    lookback, horizon : int

    Returns
    -------
    parts : Parts
        `X` is (n, lookback, n_channels), `y` is (n, horizon * n_channels), time-major, float32.
        `marginals` is None for a data set without factors.
    """
    options = dict(stride=task.stride, marginals=task.factors, dtype=np.float64)
    windows = sliding_windows(task.read(folder), lookback, horizon, **options)
    begin, end = borders(windows, task.cuts)[:2]
    rows = np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
    base = windows.X.base
    mean, std = base[rows].mean(axis=0), base[rows].std(axis=0)
    std[std == 0] = 1
    values = ((base - mean) / std).astype(np.float32)
    X, y = (replace(part, base=values) for part in (windows.X, windows.y))
    return Parts(*split_targets(replace(windows, X=X, y=y), task.cuts), mean, std)
