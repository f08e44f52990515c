"""A run of the paper's experiments: a model is fitted, and scored on the test windows."""

from time import perf_counter

import numpy as np
from compare import machine
from paper.cases import make, parts_of
from sklearn.metrics import recall_score

from skdive.metrics import dci, latent_blocks, mig, modularity, rrse, sap, total_correlation

MOST = 3000  # test windows that the scores of the latents are computed from, evenly spaced


def scores(model, test):
    """Scores of a fitted model on test windows, in the units of the data set."""
    y = model.predict(test.X)
    return {
        "reconstruction": rrse(test.X, model.reconstruct(test.X)),
        "forecast": rrse(test.y, y),
        "forecast_global": rrse(test.y, y, mean="global"),
        "forecast_alone": rrse(test.y, predict_alone(model, test.X)),
        **latent_scores(model, test[:: -(-len(test) // MOST)]),
        **accuracies(model, test),
    }


def predict_alone(model, X):
    """The forecast of the network without the second one, which is fitted after it."""
    module = model.net_.module_
    ridge, module.ridge = module.ridge, None
    try:
        return model.predict(X)
    finally:
        module.ridge = ridge


def latent_scores(model, test):
    """How the latents go with the factors: over single dimensions, and over blocks for MIG.

    A block is what belongs to a factor, and the conditional latents; a model without marginal
    latents has none.
    """
    Z, labels = model.transform(test.X), test.marginals
    has_blocks = bool(getattr(model, "factor_names_", ()))
    blocks = latent_blocks(model.get_feature_names_out())
    return {
        "mig": mig(Z, labels),
        "mig_blocks": mig(Z, labels, blocks=blocks) if has_blocks else None,
        "sap": sap(Z, labels),
        "modularity": modularity(Z, labels),
        "total_correlation": total_correlation(Z),
        **dci(Z, labels)._asdict(),
    }


def accuracies(model, test):
    """Balanced accuracy of telling each factor, of a model that does."""
    if not getattr(model, "factor_names_", ()):
        return {}
    result = {}
    for factor, told in zip(model.factor_names_, model.predict_marginals(test.X).T, strict=True):
        known = test.marginals[factor].to_numpy()
        options = dict(labels=np.unique(known), average="macro", zero_division=0)
        score = recall_score(known, told.astype(known.dtype), **options)
        result[f"accuracy {factor}"] = score
    return result


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
