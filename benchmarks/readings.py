"""What the benchmarks read from a fitted model beside its forecast."""

import numpy as np
from sklearn.metrics import recall_score


def predict_alone(model, X):
    """The forecast of the network without the second one, which is fitted after it."""
    module = model.net_.module_
    ridge, module.ridge = module.ridge, None
    try:
        return model.predict(X)
    finally:
        module.ridge = ridge


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
