"""Run the benchmarks: a set of them, which writes its table for the documentation, or single ones.

    python benchmarks/run.py                        # the cases
    python benchmarks/run.py cpu                    # a set; writes docs/benchmarks/cpu.txt
    python benchmarks/run.py step-cpu predict-one   # single cases; print only

Two things are compared in one run, in turn, so that what else the machine does hits both. Times
depend on the machine, ratios hardly do.
"""

import argparse
import sys
import warnings
from pathlib import Path

import gpu
import memory
import peers
import scaling
import speed
import torch
from compare import machine, print_row, write_table

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
    "peers": [peers.neuralforecast, peers.darts],
    "gpu": [gpu.busy, gpu.against_cpu],
}
CASES = {case.__name__.replace("_", "-"): case for cases in SETS.values() for case in cases}


def main():
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*SETS, *CASES], metavar="set or case")
    names = parser.parse_args().names
    if not names:
        for name, cases in SETS.items():
            print(f"{name}: {', '.join(n for n, case in CASES.items() if case in cases)}")
    elif {"gpu", "busy", "against-cpu"} & set(names) and not torch.cuda.is_available():
        sys.exit("no CUDA device: the GPU cases need one.")
    warnings.simplefilter("ignore")
    print(machine())
    for name in names:
        rows = []
        for case in SETS.get(name) or [CASES[name]]:
            for row in case():
                print_row(row)
                rows.append(row)
        if name in SETS and rows:
            write_table(TABLES / f"{name}.txt", rows)


if __name__ == "__main__":
    main()
