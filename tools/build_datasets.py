"""Build the files in skdive/datasets/data from the cleaned sources.

    python tools/build_datasets.py SOURCE_FOLDER

SOURCE_FOLDER holds ``pjm_hourly_zones/`` (pjm_zones_2013_2018.csv.gz, filled_mask.npz) and
``motionsense/`` (motionsense_{wlk,jog,ups,dws}.npz); skdive/datasets/data/README.md says where
these come from and what was chosen. The same sources give the same arrays, and with the same
NumPy and zlib the same bytes. Prints the size and SHA-256 of each file.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).parents[1] / "skdive" / "datasets" / "data"
CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
ACTIVITIES = {  # code in the source: name, first and second trial
    "wlk": ("walking", [7, 8]),
    "jog": ("jogging", [9, 16]),
    "ups": ("upstairs", [3, 4]),
    "dws": ("downstairs", [1, 2]),
}
SAMPLES = 1200  # 24 s at 50 Hz, which keeps the file well under 2.5 MB


def pjm(source: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the hourly load, zone by zone, which compresses best."""
    table = pd.read_csv(source / "pjm_zones_2013_2018.csv.gz", index_col=0, parse_dates=True)
    with np.load(source / "filled_mask.npz") as archive:
        filled = archive["mask"]
    regular = pd.date_range(table.index[0], periods=len(table), freq="h")
    if not (table.index == regular).all():
        raise ValueError("the hours of the source are not regular")
    if filled.shape != table.shape:
        raise ValueError(f"the mask has shape {filled.shape}, the table {table.shape}")
    load = table.to_numpy().astype(np.int16)
    if not (load == table.to_numpy()).all():
        raise ValueError("the loads of the source do not fit 16-bit integers")
    return {
        "load": np.ascontiguousarray(load.T),
        "filled": np.ascontiguousarray(filled.T),
        "channel_names": np.array(table.columns.tolist()),
        "start": np.array(table.index[0].isoformat()),
    }


def motionsense(source: Path) -> dict[str, np.ndarray]:
    """Return the middle of two trials of each activity and subject, channel by channel."""
    pieces, activities, subjects, trials = [], [], [], []
    for code, (name, chosen) in ACTIVITIES.items():
        with np.load(source / f"motionsense_{code}.npz") as archive:
            recordings = dict(archive)
        offsets = recordings["offsets"]
        for i in np.lexsort((recordings["trial"], recordings["subject"])):
            if recordings["trial"][i] not in chosen:
                continue
            length = offsets[i + 1] - offsets[i]
            kept = min(SAMPLES, length)
            start = offsets[i] + (length - kept) // 2
            pieces.append(recordings["data"][start : start + kept])
            activities.append(name)
            subjects.append(recordings["subject"][i])
            trials.append(recordings["trial"][i])
    return {
        "data": np.ascontiguousarray(np.concatenate(pieces).T),
        "offsets": np.cumsum([0, *map(len, pieces)], dtype=np.int64),
        "activity": np.array(activities),
        "subject": np.array(subjects, dtype=np.int8),
        "trial": np.array(trials, dtype=np.int8),
        "scale": recordings["scale"],  # the same for all activities
        "channel_names": np.array(CHANNELS),
    }


def main() -> None:
    """Build both files from the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="folder of the cleaned sources")
    source = parser.parse_args().source
    for name, arrays in [
        ("pjm.npz", pjm(source / "pjm_hourly_zones")),
        ("motionsense.npz", motionsense(source / "motionsense")),
    ]:
        np.savez_compressed(DATA / name, **arrays)  # type: ignore[arg-type]
        content = (DATA / name).read_bytes()
        print(f"{name}  {len(content):,} bytes  sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
