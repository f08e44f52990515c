"""Which runs there are, in which order, and with which settings."""

import sys
from itertools import product

from forecasting.measure import apart
from forecasting.problem import file_of
from forecasting.systems import make

CHOICE = dict(seed=0, horizon=24)  # the runs by which settings are chosen


class Runs:
    """Runs of systems on data sets, those that are recorded already being skipped.

    Parameters
    ----------
    records : Records
    files : Path
        Folder of the files of windows, which are there.
    threads : int
    """

    def __init__(self, records, files, threads):
        self.records = records
        self.files = files
        self.threads = threads

    def result(self, purpose, system, data, horizon, seed, settings):
        """Result of a run, from the records or from running it now."""
        key = dict(purpose=purpose, system=system, data=data, horizon=horizon, seed=seed)
        key["settings"] = settings
        defaults = make(system, self.threads).defaults()
        if defaults:
            key["defaults"] = defaults
        if self.records.missing([key]):
            path = file_of(self.files, data, horizon)
            found = apart(system, path, settings, seed, self.threads)
            self.records.add(key, found)
            words = f"{purpose} {system} {data} {horizon} seed {seed} {settings}"
            words += f": MSE {found['mse']:.4f}, MAE {found['mae']:.4f}"
            words += f" (validation {found['valid_mae']:.4f}), {found['fit_seconds']:.1f} s"
            print(words, flush=True)
        return self.records.frame([key]).iloc[0]

    def settings(self, system, data):
        """The best settings on validation: one option after the other, by MAE."""
        options = make(system, self.threads).options(data)
        chosen = {option: values[0] for option, values in options.items()}
        for option, values in options.items():
            tried = [chosen | {option: value} for value in values]
            if len(tried) > 1:
                maes = [self._valid_mae(system, data, settings) for settings in tried]
                chosen = tried[maes.index(min(maes))]
        return chosen

    def _valid_mae(self, system, data, settings):
        return self.result("accuracy", system, data, settings=settings, **CHOICE)["valid_mae"]

    def all(self, purpose, systems, data, horizons, seeds):
        """Do what is missing, seed by seed; returns how many runs failed."""
        failed = 0
        for seed, name, system, horizon in product(seeds, data, systems, horizons):
            if seed != seeds[0] and not make(system, self.threads).seeded:
                continue
            try:
                self.result(purpose, system, name, horizon, seed, self.settings(system, name))
            except RuntimeError as error:
                print(error, file=sys.stderr, flush=True)
                failed += 1
        return failed
