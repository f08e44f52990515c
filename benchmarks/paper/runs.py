"""A run of the paper's experiments: a model is fitted, and scored on the test windows."""

from time import perf_counter

import numpy as np
from compare import machine
from paper.cases import make, parts_of
from sklearn.metrics import balanced_accuracy_score


def rrse(truth, guess):
    """Root relative squared error: relative to the mean of each column over the windows."""
    return np.sqrt(np.square(truth - guess).sum() / np.square(truth - truth.mean(0)).sum())


def blocks_of(model):
    """Names of the latent dimensions, and which of them are one block: those of a factor."""
    names = list(model.get_feature_names_out())
    factors = getattr(model, "factor_names_", ())
    starts = tuple(f"marginal_{factor}_" for factor in factors)
    return [next((s for s in starts if name.startswith(s)), name) for name in names]


def scores(model, test):
    """Scores of reconstruction, forecast and latents, in the units of the data set."""
    truth = np.asarray(test.X, dtype=np.float64)
    result = {
        "reconstruction": rrse(truth, model.reconstruct(test.X)),
        "forecast": rrse(np.asarray(test.y, dtype=np.float64), model.predict(test.X)),
    }
    if getattr(model, "factor_names_", ()):
        told = model.predict_marginals(test.X)
        for f, factor in enumerate(model.factor_names_):
            known = test.marginals[factor].to_numpy()
            result[f"accuracy {factor}"] = balanced_accuracy_score(
                known, told[:, f].astype(known.dtype)
            )
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
