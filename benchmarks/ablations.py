"""What each part of DeepDIVE is worth: fits that differ from the defaults in one thing.

    python benchmarks/ablations.py --data DIR                    # ETTh1 and MotionSense
    python benchmarks/ablations.py --datasets MotionSense        # needs no data folder
    python benchmarks/ablations.py --table                       # no runs; only writes docs

Every fit adds a line to benchmarks/results/ablations.jsonl; what is there is not run again.
`docs/ablations.rst` says what is compared.
"""

import argparse
import os
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
from ablation_tables import ERRORS, write_table
from data import FORECASTING, LOOKBACK, Task, task_parts
from machine import machine
from paper.cases import CASES
from readings import accuracies, predict_alone
from records import Records, arguments, settings_of

from skdive import DeepDIVEForecaster, Interleaving
from skdive.datasets import load_motionsense
from skdive.metrics import rrse

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ablations.jsonl"
DOCS = ROOT / "docs" / "ablations"

MOTION = CASES["motionsense"]
ACTIVITY = dict(factors=MOTION.splits["time"], stride=20)
SIZE = (MOTION.lookback, *MOTION.horizons)
DATA = {  # task, lookback, horizon
    "ETTh1": (FORECASTING["ETTh1"], LOOKBACK, 24),
    "MotionSense": (  # the shorter recordings, that ship with skdive
        Task(lambda _: load_motionsense(as_frame=True).frame, (0.6, 0.8), **ACTIVITY),
        *SIZE,
    ),
}

VARIANTS = {  # parameters, or one of `OTHERWISE`, where they are not the defaults
    "default": {},
    "concatenation": dict(fusion="concat"),
    # twice the epochs, so that each path takes as many steps as by default
    "turns by epoch": dict(interleaving={"unit": "epoch"}, max_epochs=200, n_iter_no_change=10),
    "joint training": dict(interleaving={"schedule": ["joint"]}),
    "no linear path": dict(linear_path=False),
    "Gaussian": dict(likelihood="gaussian"),
    "50 % labelled": dict(labelled=0.5),
    "10 % labelled": dict(labelled=0.1),
    "1 % labelled": dict(labelled=0.01),
    "0 % labelled": dict(labelled=0.0),
    "(a): no marginal": dict(labelled=0.0, conditional_dim=48),  # as many as there are in all
    "(b): no conditional": dict(conditional_dim=0),
    "4 conditional": dict(conditional_dim=4),
    "8 conditional": dict(conditional_dim=8),
    "64 conditional": dict(conditional_dim=64),
}
OTHERWISE = dict(interleaving={}, labelled=1.0)


def keys_of(name, variants, seeds, max_epochs=None):
    """The runs of a data set, seeds in the outer loop; `max_epochs` is for trials."""
    task, lookback, horizon = DATA[name]
    about = dict(data=name, lookback=lookback, horizon=horizon, stride=task.stride)
    about |= dict(cuts=task.cuts, factors=task.factors)
    keys = []
    for seed, variant in product(seeds, dict.fromkeys(["default", *variants])):
        changed = dict(VARIANTS[variant])
        other = {k: changed.pop(k, value) for k, value in OTHERWISE.items()}
        params = settings_of(DeepDIVEForecaster(**changed))
        if max_epochs is not None:
            params["max_epochs"] = max_epochs
        keys.append(about | dict(variant=variant, seed=seed, params=params, **other))
    return keys


def labels_of(part, share, seed):
    """Labels of a random share of the windows, unknown elsewhere; None for a share of 0."""
    if share == 0:
        return None
    labels = part.marginals.astype(object)
    labels[np.random.default_rng(seed).permutation(len(part)) >= round(share * len(part))] = None
    return labels


def scores(model, part, std):
    """Scores of a fitted model; the RRSEs are in the units of the data set."""

    def original(values):
        return (np.asarray(values).reshape(len(part), -1, len(std)) * std).reshape(len(part), -1)

    forecast = model.predict(part.X)
    found = {
        "rrse": rrse(original(part.y), original(forecast)),
        "reconstruction": rrse(original(part.X), original(model.reconstruct(part.X))),
        **accuracies(model, part),
    }
    forecasts = {"": forecast}
    if model.factor_names_:
        forecasts["_known"] = model.predict(part.X, part.marginals)
    forecasts["_alone"] = predict_alone(model, part.X)
    y = np.asarray(part.y, dtype=np.float64)
    for reading, forecast in forecasts.items():
        errors = np.square(forecast - y).mean(), np.abs(forecast - y).mean()
        found |= {error + reading: value for error, value in zip(ERRORS, errors, strict=True)}
    return {name: round(float(value), 6) for name, value in found.items()}


def run(key, folder):
    """Fit the model of a key and score it."""
    task, lookback, horizon = DATA[key["data"]]
    train, valid, test, _, std = task_parts(task, folder, lookback, horizon)
    model = DeepDIVEForecaster(**key["params"], random_state=key["seed"])
    model.set_params(callbacks=[Interleaving(**key["interleaving"])])
    labels = labels_of(train, key["labelled"], key["seed"])
    held_out = dict(X_val=valid.X, y_val=valid.y)
    if labels is not None:
        held_out["marginals_val"] = valid.marginals
    load, begin = os.getloadavg()[0], perf_counter()
    model.fit(train.X, train.y, labels, **held_out)
    fitted = perf_counter() - begin
    found = {"valid": scores(model, valid, std), "test": scores(model, test, std)}
    result = {f"{part}_{k}": v for part, of_part in found.items() for k, v in of_part.items()}
    return result | {
        "fit_seconds": round(fitted, 3),
        "epochs": model.n_iter_,
        "windows": [len(train), len(valid), len(test)],
        "load": round(load, 2),
        "machine": machine(),
    }


def main():
    """Run what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", choices=DATA, default=["ETTh1", "MotionSense"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    chosen = arguments(parser, 5, RESULTS, DOCS, lambda chosen: chosen.datasets != ["MotionSense"])
    records = Records(chosen.results)
    for name in chosen.datasets:
        seeds = range(chosen.seeds)
        if not chosen.table:
            todo = keys_of(name, chosen.variants, seeds, chosen.max_epochs)
            records.complete(todo, partial(run, folder=chosen.data), chosen.jobs)
        keys = keys_of(name, VARIANTS, seeds, chosen.max_epochs)
        path = chosen.docs / f"{name}.txt"
        write_table(path, records.frame(keys), list(VARIANTS), len(keys))


if __name__ == "__main__":
    main()
