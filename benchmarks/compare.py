"""What the benchmarks of speed share: timing two things in turn, a process, a table."""

import subprocess
import sys
from time import perf_counter
from typing import NamedTuple

import numpy as np
from machine import machine
from records import list_table


class Row(NamedTuple):
    """A line of the table: ``ratio`` is ours to theirs, however both are measured."""

    what: str
    ours: str
    against: str
    theirs: str
    ratio: float
    spread: str = ""  # quartiles of the ratios of the pairs
    goal: str = ""  # such as "<= 1.1"

    @property
    def reached(self):
        """Whether the ratio is as it should be."""
        if not self.goal:
            return ""
        relation, bound = self.goal.split()
        kept = self.ratio <= float(bound) if relation == "<=" else self.ratio >= float(bound)
        return "yes" if kept else "no"

    def cells(self):
        """The texts of the line."""
        texts = (self.what, self.ours, self.against, self.theirs, f"{self.ratio:.2f}")
        return [*texts, self.spread, self.goal, self.reached]


HEADER = ["case", "skdive", "against", "takes", "ratio", "quartiles", "to reach", "reached"]


def clocked(function):
    """Seconds that a call takes; a function that times itself returns them as a float."""
    begin = perf_counter()
    own = function()
    return own if isinstance(own, float) else perf_counter() - begin


def paired(ours, theirs, repeats=9):
    """Seconds of two functions called in turn, after a warm-up of both: (repeats, 2)."""
    clocked(ours), clocked(theirs)
    return np.array([[clocked(ours), clocked(theirs)] for _ in range(repeats)])


def ratio_row(what, against, seconds, goal="", rate=None):
    """Row of paired seconds; with ``rate``, the work of a call in windows, of windows/s."""
    values = seconds if rate is None else rate / seconds
    ratios = values[:, 0] / values[:, 1]
    low, high = np.quantile(ratios, [0.25, 0.75])
    ours, theirs = (show(v, rate is not None) for v in np.median(values, axis=0))
    return Row(what, ours, against, theirs, np.median(ratios), f"{low:.2f} - {high:.2f}", goal)


def show(value, is_rate=False):
    """Seconds, or windows per second, as people read them."""
    if is_rate:
        return f"{value:,.0f} windows/s"
    unit, factor = next(((u, f) for u, f in (("s", 1), ("ms", 1e3)) if value * f >= 1), ("us", 1e6))
    return f"{value * factor:.3g} {unit}"


def in_child(script, *arguments):
    """Run a script in a fresh process; the last line that it prints, as floats."""
    command = [sys.executable, script, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    return [float(word) for word in run.stdout.splitlines()[-1].split()]


def print_row(row):
    """Print a line of the table."""
    what, ours, against, theirs, ratio, spread, goal, reached = row.cells()
    print(f"{what}: {ours}; {against}: {theirs}", flush=True)
    print(f"    ratio {ratio}  ({spread})  to reach: {goal or '-'}  {reached}", flush=True)


def write_table(path, rows):
    """Write the lines as a table in reStructuredText."""
    lines = [machine(), "", *list_table(HEADER, [row.cells() for row in rows])]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
