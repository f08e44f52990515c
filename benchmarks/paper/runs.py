"""A run of the paper's experiments: a model is fitted, and scored on the test windows."""

from time import perf_counter

import numpy as np
from machine import machine
from paper.cases import make, parts_of
from readings import accuracies, predict_alone

from skdive.metrics import dci, latent_blocks, mig, modularity, rrse, sap, total_correlation

FEWEST, MOST = 500, 3000  # test windows that the scores of the latents take, evenly spaced


def scores(model, test):
    """Scores of a fitted model on test windows, in the units of the data set."""
    y = model.predict(test.X)
    return {
        "reconstruction": rrse(test.X, model.reconstruct(test.X)),
        "forecast": rrse(test.y, y),
        "forecast_global": rrse(test.y, y, mean="global"),
        "forecast_alone": rrse(test.y, predict_alone(model, test.X)),
        **forecast_known(model, test),
        **latent_scores(model, test),
        **accuracies(model, test),
    }


def forecast_known(model, test):
    """The forecast of a model that is told the labels of the test windows."""
    if not getattr(model, "factor_names_", ()):
        return {}
    return {"forecast_known": rrse(test.y, model.predict(test.X, test.marginals))}


def latent_scores(model, test):
    """How the latents go with the factors: over single dimensions, and over blocks for MIG.

    A block is what belongs to a factor, and the conditional latents; a model without marginal
    latents has none. Few windows say nothing: chance would be most of each score.
    """
    if len(test) < FEWEST:
        return {}
    test = test[:: -(-len(test) // MOST)]
    Z, labels = model.transform(test.X), test.marginals
    shuffled = labels.sample(frac=1, random_state=0)
    scores = by_dimension(Z, labels) | {"total_correlation": total_correlation(Z)}
    if getattr(model, "factor_names_", ()):
        blocks = latent_blocks(model.get_feature_names_out())
        scores["mig_blocks"] = mig(Z, labels, blocks=blocks)
    chance = by_dimension(Z, shuffled)
    return scores | {f"{score} by chance": value for score, value in chance.items()}


def by_dimension(Z, labels):
    """Scores of single dimensions that have labels to go by."""
    scores = {"mig": mig(Z, labels), "sap": sap(Z, labels), "modularity": modularity(Z, labels)}
    return scores | dci(Z, labels)._asdict()


def run(key, folder):
    """Fit the model of a key and score it."""
    people = key["seed"] if key["split"] == "people" else 0
    parts = parts_of(key["data"], folder, key["split"], key["horizon"], people)
    train, valid, test = parts
    model = make(key["model"], key["setting"], len(key["factors"]))
    model.set_params(**key["params"], random_state=key["seed"])
    held_out = dict(X_val=valid.X, y_val=valid.y)
    if key["model"] in ("DeepDIVE", "(b)"):
        held_out |= dict(marginals=train.marginals, marginals_val=valid.marginals)
    begin = perf_counter()
    model.fit(train.X, train.y, **held_out)
    fitted = perf_counter() - begin
    history = model.net_.history[:, "valid_forecast"]
    return scores(model, test) | {
        "fit_seconds": round(fitted, 3),
        "epochs": model.n_iter_,
        "best_epoch": int(np.argmin(history)) + 1,
        "n_train": len(train),
        "n_valid": len(valid),
        "n_test": len(test),
        "machine": machine(),
    }
