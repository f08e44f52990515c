"""Runs of a benchmark that can be interrupted and resumed, and the tables made of them.

A run is named by its key, a dict of all its settings. Its result goes into a file of JSON lines as
soon as it is there, and what is in the file is not run again.
"""

import argparse
import json
import os
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from scipy.stats import t as student


def arguments(parser, seeds, results, docs, needs_data=lambda chosen: True):
    """What the command line asks for, of benchmarks that fit DeepDIVE on several data sets.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        With the options that only this benchmark has.
    seeds : int
        How many there are by default.
    results, docs : Path
        The file of the runs and the folder of the tables, by default.
    needs_data : callable
        Whether what was chosen is not data that ships with skdive.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, help="folder of the data, see benchmarks/DATA.md")
    about = f"number of seeds (default: {seeds})"
    parser.add_argument("--seeds", type=int, default=seeds, help=about)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--max-epochs", type=int, help="for a trial: epochs at most")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    parser.add_argument("--results", type=Path, default=results, help="file of the runs")
    parser.add_argument("--docs", type=Path, default=docs, help="folder of the tables")
    chosen = parser.parse_args()
    if not chosen.table and chosen.data is None and needs_data(chosen):
        parser.error("--data is needed, the folder of the data sets, unless --table is given")
    if chosen.max_epochs is not None and chosen.docs == docs:
        parser.error("--max-epochs is for trials: say with --docs where their tables go")
    return chosen


def settings_of(estimator):
    """The parameters of an estimator that are settings of its fit."""
    apart = ("random_state", "device", "verbose", "callbacks")
    return {k: v for k, v in estimator.get_params().items() if k not in apart}


class Records:
    """The results of runs, in a file that only grows.

    Parameters
    ----------
    path : Path
        JSON lines of a key and a result; the file and its folder are made when needed.
    """

    def __init__(self, path):
        self.path = Path(path)

    def _read(self):
        """Results by key; a line that was cut short when a run was interrupted is left out."""
        found = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                found[name(record["key"])] = record
        return found

    def missing(self, keys):
        """Those of the keys that have no result, in their order."""
        found = self._read()
        return [key for key in keys if name(key) not in found]

    def add(self, key, result):
        """Append the result of a run; values are numbers, strings, lists or None."""
        line = json.dumps({"key": key, "result": result}, default=_plain)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # an interrupted run left part of a line
                    file.write(b"\n")
            file.write(line.encode() + b"\n")

    def frame(self, keys=None):
        """One row for each run, columns of the key and of the result; of `keys` only, if given."""
        found = self._read()
        if keys is not None:
            wanted = [name(key) for key in keys]
            found = {key: found[key] for key in wanted if key in found}
        return pd.DataFrame([record["key"] | record["result"] for record in found.values()])

    def complete(self, keys, run, jobs=1):
        """Run what is missing, in order; `run` takes a key and returns a result.

        More `jobs` are as many processes of one thread. Each result is written as soon as it is
        there.
        """
        todo = self.missing(keys)
        print(f"{self.path.name}: {len(keys) - len(todo)} runs are there, {len(todo)} to do")
        with parallel_config(backend="loky", inner_max_num_threads=1):
            parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
        results = parallel(delayed(_timed)(run, key) for key in todo)
        for done, (key, result) in enumerate(results, start=1):
            self.add(key, result)
            words = " ".join(str(v) for v in key.values() if not isinstance(v, dict | list))
            print(f"{done}/{len(todo)} {words}: {result['seconds']:.1f} s", flush=True)


def _timed(run, key):
    begin = perf_counter()
    result = run(key)
    return key, result | {"seconds": round(perf_counter() - begin, 3)}


def _plain(value):
    """NumPy's numbers and arrays, for JSON."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON.")


def name(key):
    """A key as text, whatever the order of its settings."""
    return json.dumps(key, sort_keys=True, default=_plain)


def mean_and_spread(values, digits=3):
    """Mean and standard deviation, as text; the deviation is left out for a single value.

    Nothing, if a value is missing; "inf" if one is.
    """
    values = np.asarray(values, dtype=float)
    if np.isnan(values).any():
        return ""
    if np.isinf(values).any():
        return "inf"
    text = f"{values.mean():.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {values.std(ddof=1):.{digits}f}"


def difference(ours, theirs, level=0.95, tested=0.0):
    """Mean of paired differences and half the width of its confidence interval.

    Of Student's t distribution: NaN, if there is one pair only. Both NaN, if a value is missing or
    infinite. Where pairs are of splits whose training parts overlap, `tested` is the size of a test
    part in training parts, and the interval is widened for it (Nadeau and Bengio 2003).
    """
    d = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    if not np.isfinite(d).all():
        return np.nan, np.nan
    if len(d) < 2:
        return d.mean(), np.nan
    width = student.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) * np.sqrt(1 / len(d) + tested)
    return d.mean(), width


def gain(ours, theirs, lower_is_better, digits=3, tested=0.0):
    """A paired difference and its interval, as text; bold where clearly better, italic if worse.

    Nothing, if a value is missing. See `difference` for `tested`.
    """
    mean, width = difference(ours, theirs, tested=tested)
    if np.isnan(mean):
        return ""
    text = f"{mean:+.{digits}f}"
    if abs(mean) > width:  # never, where there is one pair
        text = f"**{text}**" if (mean < 0) == lower_is_better else f"*{text}*"
    return text if np.isnan(width) else f"{text} ± {width:.{digits}f}"


def made_with(frame):
    """Sentence about the versions that runs were made with."""
    found = {json.dumps(versions) for versions in frame.versions}
    words = sorted(", ".join(f"{k} {v}" for k, v in json.loads(f).items()) for f in found)
    return f"Made with {'; '.join(words)}."


def list_table(header, rows):
    """Lines of a table in reStructuredText, without the columns that have nothing to say.

    Cells that begin with a bracket are escaped: (a) would be a list.
    """
    kept = [i for i, _ in enumerate(header) if any(str(row[i]) for row in rows)]
    lines = [".. list-table::", "   :header-rows: 1", "   :class: scores", ""]
    for cells in [header, *rows]:
        texts = [f"\\{cell}" if str(cell).startswith("(") else cell for cell in cells]
        bullets = "*" + " " * (len(kept) - 1)
        lines += [f"   {b} - {texts[i]}".rstrip() for b, i in zip(bullets, kept, strict=True)]
    return lines
