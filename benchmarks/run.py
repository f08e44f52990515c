"""Run benchmarks: a set, whose table goes into the documentation, or single cases.

    python benchmarks/run.py cpu                    # a set; writes docs/benchmarks/cpu.txt
    python benchmarks/run.py step-cpu predict-one   # single cases; only prints

Two things are compared in one run, in turn, so that what else the machine does hits both: times
depend on the machine, ratios hardly do.
"""

import argparse
import warnings
from pathlib import Path

import gpu
import memory
import peers
import scaling
import speed
from compare import print_row, write_table
from machine import machine

TABLES = Path(__file__).parents[1] / "docs" / "benchmarks"

SETS = {
    "cpu": [
        speed.step_cpu,
        speed.step_small,
        speed.throughput,
        speed.predict_many,
        speed.predict_one,
        speed.import_time,
        memory.memory_search,
        memory.memory_predict,
        memory.parameters,
        scaling.scale_windows,
        scaling.scale_channels,
        scaling.scale_lookback,
    ],
    "long": [memory.memory_search_all, scaling.scale_windows_far],
    "neuralforecast": [peers.neuralforecast],
    "darts": [peers.darts],
    "gpu": [gpu.gpu_busy, gpu.gpu_speed],
}
CASES = {case.__name__.replace("_", "-"): case for cases in SETS.values() for case in cases}


def main():
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = [*SETS, *CASES]
    parser.add_argument(
        "names", nargs="+", choices=choices, metavar="name", help=", ".join(choices)
    )
    names = parser.parse_args().names
    warnings.simplefilter("ignore")
    print(machine())
    for name in names:
        rows = []
        for case in SETS.get(name) or [CASES[name]]:
            for row in case():
                print_row(row)
                rows.append(row)
        if name in SETS:
            write_table(TABLES / f"{name}.txt", rows)


if __name__ == "__main__":
    main()
