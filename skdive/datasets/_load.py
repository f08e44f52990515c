"""Loaders of the two data sets in ``data/``, plain npz files described in ``data/README.md``."""

from importlib.resources import files

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

_DATA = files("skdive.datasets") / "data"


def _arrays(name: str) -> dict[str, np.ndarray]:
    with (_DATA / name).open("rb") as stream, np.load(stream) as archive:
        return dict(archive)


def _section(heading: str) -> str:
    """Return one section of the data README, which is the description that the user sees."""
    readme = (_DATA / "README.md").read_text(encoding="utf-8")
    for section in readme.split("\n## "):
        if section.startswith(heading):
            return section.strip() + "\n"
    raise ValueError(f"data/README.md has no section {heading!r}")


def load_pjm(*, as_frame: bool = True) -> Bunch:
    """Load the hourly electricity load of seven PJM zones, 2013 to 2018.

    45,336 hours without a gap, 2013-06-01 01:00 to 2018-08-03 00:00, of seven zones in the
    east of the United States. The stamps are naive, mark the *end* of the hour and follow Eastern
    prevailing time (the clock on the wall); the clock changes were made regular by averaging the
    repeated hour in autumn and interpolating the missing one in spring.

    Parameters
    ----------
    as_frame : bool, default=True
        If True, ``data`` and ``filled`` are DataFrames and ``time`` is a DatetimeIndex;
        otherwise all three are NumPy arrays.

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes

        data : DataFrame or ndarray of shape (45336, 7), float32
            Mean load of the hour, in MW, one column per zone.
        frame : DataFrame of shape (45336, 7) or None
            The same object as ``data``; None with ``as_frame=False``.
        time : DatetimeIndex or ndarray of shape (45336,), datetime64
            End of the hour.
        filled : DataFrame or ndarray of shape (45336, 7), bool
            True where the value was filled in rather than reported.
        channel_names : list of str
            AEP, COMED, DAYTON, DEOK, DOM, DUQ, EKPC.
        DESCR : str
            Provenance, cleaning, licence and citation.

    Notes
    -----
    Published by PJM Interconnection and collected at
    https://www.kaggle.com/datasets/robikscube/hourly-energy-consumption, where the licence is
    stated as CC0 1.0 (public domain).

    References
    ----------
    .. [1] PJM Interconnection. Hourly energy consumption. Kaggle,
       robikscube/hourly-energy-consumption.

    Examples
    --------
    >>> from skdive.datasets import load_pjm
    >>> load = load_pjm().frame
    >>> load.shape
    (45336, 7)
    >>> load.loc["2013-06-01 01:00", "AEP"].item()
    13477.0
    """
    arrays = _arrays("pjm.npz")
    names = arrays["channel_names"].tolist()
    data = arrays["load"].T.astype(np.float32, order="C")  # (hour, zone)
    filled = arrays["filled"].T.copy()  # (hour, zone)
    time = pd.date_range(
        arrays["start"].item(), periods=len(data), freq="h", unit="ns", name="time"
    )
    description = _section("PJM")
    if not as_frame:
        return Bunch(
            data=data,
            frame=None,
            time=time.to_numpy(copy=True),
            filled=filled,
            channel_names=names,
            DESCR=description,
        )
    frame = pd.DataFrame(data, index=time, columns=names)
    return Bunch(
        data=frame,
        frame=frame,
        time=time,
        filled=pd.DataFrame(filled, index=time, columns=names),
        channel_names=names,
        DESCR=description,
    )


def load_motionsense(*, as_frame: bool = False) -> Bunch:
    """Load smartphone recordings of 24 people walking, jogging and taking the stairs.

    A subset of MotionSense [1]_: accelerometer and gyroscope of a phone in the front trouser
    pocket, 50 samples per second, 24 subjects, four activities and two trials of each, 192
    recordings in all. Every recording is the middle 24 s (1,200 samples) of its trial, or the
    whole trial where that is shorter (11 of them, none under 15 s).

    Parameters
    ----------
    as_frame : bool, default=False
        If True, ``frame`` holds all recordings in one DataFrame.

    Returns
    -------
    sklearn.utils.Bunch
        With the attributes

        recordings : list of 192 ndarray of shape (n_samples_i, 6), float32
            Accelerometer x, y, z (gravity included) in g, gyroscope x, y, z in rad/s.
        activity : ndarray of shape (192,), str
            "walking", "jogging", "upstairs" or "downstairs".
        subject : ndarray of shape (192,), int
            1 to 24.
        trial : ndarray of shape (192,), int
            Number of the trial in the source. Trials 7, 9, 3 and 1 are the first of their
            activity, trials 8, 16, 4 and 2 the second.
        channel_names : list of str
            acc_x, acc_y, acc_z, gyro_x, gyro_y, gyro_z.
        sampling_rate : int
            50, in Hz.
        frame : DataFrame of shape (227878, 8) or None
            With ``as_frame=True``: the six channels and the columns activity and subject, indexed
            by recording (0 to 191) and time (number of the sample within the recording).
        DESCR : str
            Provenance, selection, licence and citation.

    Notes
    -----
    Two trials of each activity let a model be judged on people it knows (fit on the first trial,
    test on the second) as well as on people it does not (hold out subjects).

    The repository of the authors, https://github.com/mmalekzadeh/motion-sense, is under the MIT
    licence; the mirror of the data on Kaggle states the Open Database License (ODbL).

    References
    ----------
    .. [1] M. Malekzadeh, R. G. Clegg, A. Cavallaro and H. Haddadi (2019). Mobile Sensor Data
       Anonymization. Proceedings of the International Conference on Internet of Things Design and
       Implementation (IoTDI '19), 49-58. https://doi.org/10.1145/3302505.3310068

    Examples
    --------
    >>> from skdive.datasets import load_motionsense
    >>> motion = load_motionsense()
    >>> len(motion.recordings), motion.recordings[0].shape
    (192, (1200, 6))
    >>> sorted(set(motion.activity.tolist()))
    ['downstairs', 'jogging', 'upstairs', 'walking']
    """
    arrays = _arrays("motionsense.npz")
    names = arrays["channel_names"].tolist()
    offsets = arrays["offsets"]  # first row of each recording, and the number of rows
    activity = arrays["activity"]
    subject = arrays["subject"].astype(np.int64)
    values = arrays["data"].T.astype(np.float32, order="C")  # (sample, channel)
    values *= arrays["scale"]
    frame = None
    if as_frame:
        lengths = np.diff(offsets)
        recording = np.repeat(np.arange(len(lengths)), lengths)
        time = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
        index = pd.MultiIndex.from_arrays([recording, time], names=["recording", "time"])
        frame = pd.DataFrame(values.copy(), index=index, columns=names)
        frame["activity"] = np.repeat(activity, lengths)
        frame["subject"] = np.repeat(subject, lengths)
    return Bunch(
        recordings=np.split(values, offsets[1:-1]),
        activity=activity,
        subject=subject,
        trial=arrays["trial"].astype(np.int64),
        channel_names=names,
        sampling_rate=50,
        frame=frame,
        DESCR=_section("MotionSense"),
    )
