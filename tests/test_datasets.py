"""The shipped data against facts read from their sources."""

import hashlib
import re
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from skdive.datasets import load_motionsense, load_pjm

DATA = files("skdive.datasets") / "data"
ZONES = ["AEP", "COMED", "DAYTON", "DEOK", "DOM", "DUQ", "EKPC"]
CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


# what is on disk


@pytest.mark.parametrize(("name", "limit"), [("pjm.npz", 1e6), ("motionsense.npz", 2.5e6)])
def test_file_is_small_and_has_the_checksum_of_the_readme(name, limit):
    content = (DATA / name).read_bytes()
    assert len(content) < limit
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"\| {name} \| ([\d,]+) \| `(\w+)` \|", readme)
    assert row is not None
    assert int(row[1].replace(",", "")) == len(content)
    assert row[2] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("load", "facts"),
    [
        (load_pjm, ["CC0 1.0", "Kaggle", "PJM Interconnection", "hour ending", "DEOK"]),
        (load_motionsense, ["MIT", "ODbL", "Malekzadeh", "10.1145/3302505.3310068", "2048"]),
    ],
)
def test_description_states_licence_and_citation(load, facts):
    description = load().DESCR
    for fact in ["Licence:", "Citation:", "Origin:", *facts]:
        assert fact in description
    assert "\n## " not in description  # one section, not the rest of the README


# PJM


def test_pjm_frame():
    load = load_pjm()
    assert load.frame is load.data
    assert load.frame.shape == (45336, 7)
    assert list(load.frame.columns) == load.channel_names == ZONES
    assert (load.frame.dtypes == np.float32).all()
    assert np.isfinite(load.frame.to_numpy()).all()
    pd.testing.assert_index_equal(load.frame.index, load.time)


def test_pjm_hours_are_regular():
    time = load_pjm().time
    assert time.name == "time"
    assert time.tz is None
    assert time[0] == pd.Timestamp("2013-06-01 01:00")
    assert time[-1] == pd.Timestamp("2018-08-03 00:00")
    assert (np.diff(time.to_numpy()) == np.timedelta64(1, "h")).all()
    assert time.freqstr == "h"


@pytest.mark.parametrize(
    ("stamp", "expected"),  # rows of the source
    [
        ("2013-06-01 01:00", [13477, 11378, 1682, 2773, 10150, 1739, 1166]),
        ("2016-02-29 12:00", [15127, 11520, 2169, 3116, 9883, 1640, 1362]),
        ("2018-08-03 00:00", [14809, 13335, 2042, 3281, 11385, 1656, 1448]),
    ],
)
def test_pjm_values(stamp, expected):
    np.testing.assert_array_equal(load_pjm().frame.loc[stamp], expected)


def test_pjm_means_and_peaks():
    frame = load_pjm().frame.astype(float)
    means = [14900.182, 11361.782, 2008.906, 3119.958, 11169.087, 1621.696, 1464.232]
    np.testing.assert_allclose(frame.mean(), means, atol=5e-4)
    np.testing.assert_array_equal(frame.max(), [24739, 22269, 3398, 5308, 21651, 2951, 3490])
    assert frame["DUQ"].idxmax() == pd.Timestamp("2013-07-18 16:00")  # a heat wave
    assert frame["AEP"].idxmax() == pd.Timestamp("2015-02-20 08:00")  # a cold spell


def test_pjm_filled_hours_are_the_missing_ones():
    load = load_pjm()
    assert load.filled.shape == load.frame.shape
    assert load.filled.sum().to_list() == [7, 6, 6, 6, 6, 6, 6]
    for change in ["2014-03-09", "2015-03-08", "2016-03-13", "2017-03-12", "2018-03-11"]:
        around = load.frame.loc[f"{change} 02:00" : f"{change} 04:00"].to_numpy()
        assert load.filled.loc[f"{change} 03:00"].all()
        # linear interpolation, to the nearest MW
        np.testing.assert_allclose(around[1], (around[0] + around[2]) / 2, atol=0.5)


def test_pjm_arrays_are_the_frame():
    arrays, frames = load_pjm(as_frame=False), load_pjm()
    assert arrays.frame is None
    assert isinstance(arrays.data, np.ndarray)
    np.testing.assert_array_equal(arrays.data, frames.data)
    np.testing.assert_array_equal(arrays.time, frames.time)
    np.testing.assert_array_equal(arrays.filled, frames.filled)


# MotionSense


def test_motionsense_has_two_trials_of_each_activity_and_subject():
    motion = load_motionsense()
    labels = pd.DataFrame({k: motion[k] for k in ["activity", "subject", "trial"]})
    assert len(labels) == len(motion.recordings) == 192
    assert not labels.duplicated().any()
    assert sorted(labels["subject"].unique()) == list(range(1, 25))
    assert (labels.groupby(["activity", "subject"]).size() == 2).all()
    trials = labels.groupby("activity")["trial"].unique().map(sorted).to_dict()
    expected = {"walking": [7, 8], "jogging": [9, 16], "upstairs": [3, 4], "downstairs": [1, 2]}
    assert trials == expected
    assert motion.sampling_rate == 50
    assert motion.channel_names == CHANNELS
    assert motion.frame is None


def test_motionsense_recordings_last_24_seconds_or_the_whole_trial():
    motion = load_motionsense()
    assert {r.dtype for r in motion.recordings} == {np.dtype(np.float32)}
    assert {r.shape[1] for r in motion.recordings} == {6}
    labels = zip(motion.activity, motion.trial, motion.subject, strict=True)
    short = {
        (str(a), int(t), int(s)): len(r)
        for (a, t, s), r in zip(labels, motion.recordings, strict=True)
        if len(r) != 1200
    }
    # every trial of the selection that the index of the source gives fewer than 1,200 rows
    jogging = {4: 921, 5: 765, 6: 929, 9: 1072, 11: 985, 13: 1029, 15: 1178, 17: 960, 23: 1147}
    jogging[24] = 790
    expected = {("jogging", 16, subject): rows for subject, rows in jogging.items()}
    assert short == expected | {("upstairs", 3, 13): 902}


@pytest.mark.parametrize(
    ("activity", "subject", "trial", "sample", "expected"),
    [
        # row 2,119 of 5,439 in the source, and row 2,020 of 2,843
        ("walking", 1, 7, 0, [-441, 1525, -632, -1023, -841, -572]),
        ("jogging", 24, 9, 1199, [-4075, 5047, -5236, 1327, 10315, -1836]),
    ],
)
def test_motionsense_values(activity, subject, trial, sample, expected):
    motion = load_motionsense()
    where = (motion.activity == activity) & (motion.subject == subject) & (motion.trial == trial)
    (i,) = np.flatnonzero(where)
    units = [1 / 2048] * 3 + [0.001] * 3
    np.testing.assert_allclose(
        motion.recordings[i][sample], np.multiply(expected, units), rtol=1e-6
    )


def test_motionsense_is_physically_plausible():
    motion = load_motionsense()
    acceleration = pd.Series([r[:, :3] for r in motion.recordings])
    mean = acceleration.map(lambda a: np.linalg.norm(a.mean(axis=0)))
    # over many steps a walker's acceleration is gravity, 1 g, up to what the phone's turning
    # takes away and the swing of the leg adds
    assert mean[motion.activity != "jogging"].between(0.9, 1.1).all()
    assert acceleration.map(np.std).groupby(motion.activity).mean().idxmax() == "jogging"


def test_motionsense_frame_holds_the_recordings():
    motion = load_motionsense(as_frame=True)
    frame = motion.frame
    assert list(frame.columns) == [*CHANNELS, "activity", "subject"]
    assert frame.index.names == ["recording", "time"]
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert (frame[CHANNELS].dtypes == np.float32).all()
    for i, recording in enumerate(motion.recordings):
        rows = frame.loc[i]
        np.testing.assert_array_equal(rows.index, np.arange(len(recording)))
        np.testing.assert_array_equal(rows[CHANNELS], recording)
        assert set(rows["activity"]) == {motion.activity[i]}
        assert set(rows["subject"]) == {motion.subject[i]}


# both


def test_each_load_is_a_fresh_copy():
    first = load_pjm()
    first.frame.iloc[:] = 0
    first.filled.iloc[:] = True
    first.channel_names.clear()
    again = load_pjm()
    assert again.frame.iloc[0, 0] == 13477
    assert not again.filled.iloc[0, 0]
    assert again.channel_names == ZONES

    motion = load_motionsense(as_frame=True)
    motion.frame.loc[:, CHANNELS] = 0
    assert motion.recordings[0].any()  # the frame has its own copy
    for recording in motion.recordings:
        recording[:] = 0
    motion.subject[:] = 0
    again = load_motionsense()
    assert again.recordings[0].any()
    assert again.subject.all()
