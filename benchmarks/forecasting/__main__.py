"""Compare forecasters on eight data sets; what is recorded already is not run again.

With the root of the repository and its folder benchmarks on PYTHONPATH, `python -m forecasting`
runs the systems named, in an environment that has them: with skdive, or with requirements.txt. The
first one needs --data, to write the files of windows; --table makes the tables of the records.
"""

import argparse
import os
import sys
import warnings
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
DATA = ["ETTh1", "ETTh2", "PJM", "vic_elec", "exchange", "MotionSense", "electricity", "forces"]


def arguments():
    """What the command line says."""
    from forecasting.systems import MODULES

    parser = argparse.ArgumentParser("forecasting", description=__doc__)
    systems = ", ".join(MODULES)
    parser.add_argument(
        "--systems", nargs="+", default=[], choices=MODULES, metavar="NAME", help=systems
    )
    parser.add_argument("--datasets", nargs="+", default=DATA, choices=DATA)
    parser.add_argument("--horizons", nargs="+", type=int, default=[24, 96])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="data folder, to write the files of windows")
    parser.add_argument("--files", type=Path, default=HERE / "windows", help="of windows")
    results = HERE.parent / "results" / "forecasting.jsonl"
    parser.add_argument("--results", type=Path, default=results)
    timed = "only time fits with chosen settings, on an idle machine"
    parser.add_argument("--time", action="store_true", help=timed)
    parser.add_argument("--table", action="store_true", help="write the tables and end")
    return parser.parse_args()


def main():
    """Run what the command line names."""
    options = arguments()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before any library is imported
    warnings.simplefilter("ignore")
    from records import Records

    records = Records(options.results)
    if options.table:
        from forecasting.tables import write_tables

        write_tables(records.frame(), HERE.parents[1] / "docs" / "forecasting")
        return 0
    from forecasting.problem import prepare
    from forecasting.runs import CHOICE, Runs

    for data, horizon in product(options.datasets, {CHOICE["horizon"], *options.horizons}):
        prepare(options.files, data, horizon, options.data)
    runs = Runs(records, options.files, options.threads)
    purpose = "time" if options.time else "accuracy"
    what = options.systems, options.datasets, options.horizons, options.seeds
    return 1 if runs.all(purpose, *what) else 0


if __name__ == "__main__":
    sys.exit(main())
