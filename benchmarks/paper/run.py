"""Reproduce the experiments of the paper on data that can be had.

    python benchmarks/paper/run.py gait --data DIR --seeds 10 --jobs 4   # three tables
    python benchmarks/paper/run.py pjm --data DIR                        # one
    python benchmarks/paper/run.py all --table                           # no runs; only writes docs

Every run adds a line to benchmarks/results/paper.jsonl; what is there is not run again.
"""

import argparse
import sys
from functools import partial
from operator import itemgetter
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "paper.jsonl"
DOCS = ROOT / "docs" / "reproduction"
sys.path.insert(0, str(ROOT / "benchmarks"))

from paper.cases import CASES, GROUPS, keys_of  # noqa: E402
from paper.runs import run  # noqa: E402
from paper.tables import write_tables  # noqa: E402
from records import Records, arguments  # noqa: E402


def main():
    """Run what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["all", *GROUPS, *CASES]
    parser.add_argument("names", nargs="+", choices=names, metavar="name", help=", ".join(names))
    parser.add_argument("--horizons", type=int, nargs="+", help="run these only (default: all)")
    chosen = arguments(parser, 10, RESULTS, DOCS)
    groups = GROUPS | {"all": list(CASES)}
    names = list(dict.fromkeys(n for name in chosen.names for n in groups.get(name, [name])))
    records = Records(chosen.results)
    keys = {name: keys_of(name, range(chosen.seeds), chosen.max_epochs) for name in names}
    if not chosen.table:
        todo = [key for name in names for key in keys[name]]
        if chosen.horizons:
            todo = [key for key in todo if key["horizon"] in chosen.horizons]
        by_seed = sorted(todo, key=itemgetter("seed"))  # what there is, is balanced at any time
        records.complete(by_seed, partial(run, folder=chosen.data), chosen.jobs)
    for name in names:
        write_tables(chosen.docs / f"{name}.txt", records, keys[name])


if __name__ == "__main__":
    main()
