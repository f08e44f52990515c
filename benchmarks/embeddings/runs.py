"""A run: windows are encoded and classified, and tested on the people of one fold."""

from functools import lru_cache
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import versions
from sklearn.metrics import balanced_accuracy_score, recall_score

from embeddings.problem import FOLDS, UNKNOWN, Problem, file_of, person_folds
from embeddings.systems import SYSTEMS, about, classifier_of, encoder_of, spectra

SHARES = (1.0, 0.1, 0.01)
INNER = 3  # folds of training people, by which the classifier is chosen


def keys_of(names, data, shares=SHARES, seeds=(0,), folds=range(FOLDS)):
    """The runs, seeds in the outer loop; those that no seed would change are there once."""
    keys = []
    for seed, of_data, name, fold, share in product(seeds, data, names, folds, shares):
        if seed != seeds[0] and share == 1 and not SYSTEMS[name].seeded:
            continue
        key = dict(data=of_data, system=name, share=share, seed=seed, fold=fold)
        keys.append(key | dict(settings=about(name)))
    return keys


@lru_cache(maxsize=2)
def load(path):
    """A problem from its file."""
    return Problem.load(Path(path))


def seen_by(name, problem):
    """All windows, or their spectra."""
    return spectra(problem.windows) if SYSTEMS[name].spectrum else problem.windows


def encode(problem, name, seed, rows, known):
    """Encode all windows, by an encoder that learns from some rows and what is known of them.

    Returns the features, the encoder, and the seconds that it took.
    """
    begin = perf_counter()
    encoder, X = encoder_of(name, seed), seen_by(name, problem)
    encoder.fit(X[rows], known[rows] if SYSTEMS[name].learns_labels else None)
    features = encoder.transform(X)
    return features, encoder, perf_counter() - begin


@lru_cache(maxsize=1)
def encode_unlabelled(path, name, seed, fold):
    """The features of all windows by an encoder that needs no labels, for all shares of them."""
    problem = load(path)
    return encode(problem, name, seed, problem.train(fold), None)


def choose(problem, name, seed, rows, known, features):
    """The classifier that is best for training people whose labels nothing was fitted to.

    Returns its settings, and its balanced accuracy. An encoder that learns labels is fitted again
    for each fold of people; `features` are those of any other.
    """
    options = classifier_of(name)[1]
    if len(options) == 1:
        return options[0], None
    labelled = rows[known[rows] != UNKNOWN]
    inner = person_folds(known[labelled], problem.people[labelled], INNER, seed)
    told = np.empty((len(options), len(labelled)), dtype=int)
    for fold in range(INNER):
        held_out = labelled[inner == fold]
        others = rows[~np.isin(problem.people[rows], problem.people[held_out])]
        if SYSTEMS[name].learns_labels:
            features, *_ = encode(problem, name, seed, others, known)
        seen = others[known[others] != UNKNOWN]
        classifier, _ = classifier_of(name)
        for i, option in enumerate(options):
            classifier.set_params(**option).fit(features[seen], known[seen])
            told[i, inner == fold] = classifier.predict(features[held_out])
    scores = [balanced_accuracy_score(known[labelled], codes) for codes in told]
    best = int(np.argmax(scores))  # the most regularised of equals
    return options[best], scores[best]


def run(key, files):
    """Encode, choose, classify and test; a dict for the records."""
    path, name = str(file_of(files, key["data"])), key["system"]
    problem = load(path)
    known = problem.known(key["share"], key["seed"])
    rows, test = problem.train(key["fold"]), problem.test(key["fold"])
    if SYSTEMS[name].learns_labels:
        features, encoder, seconds = encode(problem, name, key["seed"], rows, known)
    else:
        features, encoder, seconds = encode_unlabelled(path, name, key["seed"], key["fold"])
    chosen, inner = choose(problem, name, key["seed"], rows, known, features)
    classifier = classifier_of(name)[0].set_params(**chosen)
    seen = rows[known[rows] != UNKNOWN]
    classifier.fit(features[seen], known[seen])
    told = classifier.predict(features[test])
    result = {}
    if hasattr(encoder, "predict_marginals"):
        own = encoder.predict_marginals(seen_by(name, problem)[test])[:, 0]
        result = {"prototypes": balanced_accuracy_score(problem.codes[test], own)}
    recall = recall_score(problem.codes[test], told, average=None, zero_division=0)
    return result | {
        "balanced_accuracy": recall.mean(),
        "recall": dict(zip(problem.classes.tolist(), recall.round(4).tolist(), strict=True)),
        "inner": inner,
        "C": chosen.get("logisticregression__C"),
        "encode_seconds": round(seconds, 3),
        "n_features": features.shape[1],
        "n_train": len(rows),
        "n_labelled": len(seen),
        "n_test": len(test),
        "checksum": problem.checksum(known, key["fold"]),
        "versions": versions(),
    }
