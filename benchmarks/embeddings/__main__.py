"""Classify windows of unseen people from embeddings; what is recorded already is not run again.

With the root of the repository and its folder benchmarks on PYTHONPATH, `python -m embeddings`
runs the systems named, in an environment that has them: with skdive, or with requirements.txt. The
first one needs --data, to write the files of windows; --table makes the table of the records.
"""

import argparse
import os
import warnings
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = ["MotionSense", "strides"]


def arguments():
    """What the command line says."""
    from embeddings.systems import SYSTEMS

    parser = argparse.ArgumentParser("embeddings", description=__doc__)
    names = ", ".join(SYSTEMS)
    parser.add_argument(
        "--systems", nargs="+", default=[], choices=SYSTEMS, metavar="NAME", help=names
    )
    parser.add_argument("--datasets", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.1, 0.01])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--folds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    parser.add_argument("--data", type=Path, help="data folder, to write the files of windows")
    parser.add_argument("--files", type=Path, default=HERE / "windows", help="of windows")
    results = HERE.parent / "results" / "embeddings.jsonl"
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "embeddings")
    parser.add_argument("--table", action="store_true", help="write the tables and end")
    return parser.parse_args()


def main():
    """Run what the command line names."""
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"  # before the imports
    options = arguments()
    warnings.simplefilter("ignore")
    from records import Records

    from embeddings.runs import keys_of, run
    from embeddings.systems import SYSTEMS

    records = Records(options.results)
    if options.table:
        from embeddings.tables import write_tables

        keys = keys_of(SYSTEMS, DATA, options.shares, options.seeds, options.folds)
        write_tables(records.frame(keys), keys, options.docs)
        return
    from embeddings.problem import prepare

    for data in options.datasets:
        prepare(options.files, data, options.data)
    chosen = options.systems, options.datasets, options.shares, options.seeds, options.folds
    records.complete(keys_of(*chosen), partial(run, files=options.files), options.jobs)


if __name__ == "__main__":
    main()
