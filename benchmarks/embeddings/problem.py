"""What is classified: labelled windows of people, in folds of people, in one file for all systems.

Systems with other requirements run in environments of their own and meet in this file. A checksum
of what a run sees, windows and labels that it may use, goes into its record.
"""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5
UNKNOWN = -1  # the code of a hidden label


class Problem(NamedTuple):
    """Windows of people, each with a class."""

    data: str
    windows: np.ndarray  # (n, n_steps, n_channels) float32, in the units of the data set
    codes: np.ndarray  # (n,), of the class of each window
    people: np.ndarray  # (n,), a number for each person
    folds: np.ndarray  # (n,), the fold in which the person of a window is tested
    classes: np.ndarray  # names, by code

    def train(self, fold):
        """Rows to learn from, where a fold is tested."""
        return np.flatnonzero(self.folds != fold)

    def test(self, fold):
        """Rows of the people of a fold."""
        return np.flatnonzero(self.folds == fold)

    def known(self, share, seed):
        """Codes with all but a share hidden, at random within each person's windows of a class.

        What is known of a smaller share is known of a larger one. Of a group of few windows the
        number that stays known is rounded at random, up or down.
        """
        rng = np.random.default_rng(seed)
        groups = np.unique(np.stack([self.people, self.codes]), axis=1, return_inverse=True)[1]
        place = np.empty(len(self.codes))  # of a window in its group, in random order: 0 to 1
        for group in range(groups.max() + 1):
            rows = rng.permutation(np.flatnonzero(groups == group))
            place[rows] = (np.arange(len(rows)) + rng.uniform()) / len(rows)
        return np.where(place < share, self.codes, UNKNOWN)

    def checksum(self, known, fold):
        """Hash of the windows and of what a run learns from and is tested on."""
        arrays = self.windows.astype("<f4"), known[self.train(fold)].astype("<i8")
        total = sha256(str(self.windows.shape).encode())
        for values in (*arrays, self.codes.astype("<i8"), self.test(fold).astype("<i8")):
            total.update(np.ascontiguousarray(values).data)
        return total.hexdigest()[:16]

    def save(self, path):
        """Write it to an npz file, at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.stem}.draft.npz")
        np.savez(draft, **self._asdict())
        draft.replace(path)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote."""
        with np.load(path) as archive:
            found = dict(archive)
        return cls(**found | {"data": str(found["data"])})


def person_folds(codes, people, n_splits, seed):
    """The fold of each window: folds of people with similar shares of the classes."""
    folds = np.empty(len(codes), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(splitter.split(codes, codes, people)):
        folds[rows] = fold
    return folds


def of_windows(data, windows, factor, person):
    """The problem that windows of `skdive` pose; `factor` and `person` name their labels."""
    classes, codes = np.unique(windows.marginals[factor].to_numpy(str), return_inverse=True)
    people = np.unique(windows.marginals[person].to_numpy(str), return_inverse=True)[1]
    folds = person_folds(codes, people, FOLDS, seed=0)
    values = np.asarray(windows.X, dtype=np.float32)
    return Problem(data, values, codes, people, folds, classes)


def file_of(folder, data):
    """Path of the file of a problem."""
    return Path(folder) / f"{data}.npz"


def prepare(folder, data, source):
    """Path of the file of a problem; made from the data folder `source`, if it is not there."""
    path = file_of(folder, data)
    if not path.is_file():
        if source is None:
            raise FileNotFoundError(
                f"{path} is missing; name the data folder with --data, in an environment with "
                "skdive, to write it."
            )
        from data import ACTIVITIES, gait_strides, motionsense

        from skdive import sliding_windows

        if data == "MotionSense":
            frame = motionsense(source, activities=tuple(ACTIVITIES.values()))
            options = dict(lookback=128, stride=128, marginals=["activity", "subject"])
            names = "activity", "subject"
        else:
            frame = gait_strides(source).drop(columns="gender")
            options = dict(lookback=24, stride=4, marginals=["disease", "series"])
            names = "disease", "series"
        of_windows(data, sliding_windows(frame, horizon=1, **options), *names).save(path)
    return path
