"""What the paper's experiments are here: data, windows, factors, splits and models."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import data
from records import settings_of
from sklearn.model_selection import train_test_split

from skdive import BetaTCVAEForecaster, DeepDIVEForecaster, VAEForecaster, sliding_windows


class Case(NamedTuple):
    """A data set, how it is cut into windows and split, and what labels the windows have."""

    read: Callable
    lookback: int
    horizons: tuple
    stride: int
    splits: dict  # its name: the factors
    cuts: tuple  # of the split in time
    labels: list  # of the windows: the factors of all splits, and who a person is
    person: str = ""
    stratum: str = ""  # a label with the same shares in all parts of a split by people
    max_epochs: int = 50  # all of them are done, and the best on validation is kept


DISEASE = {"time": ["disease", "gender"], "people": ["disease", "gender"]}
GAITNDD = dict(splits=DISEASE, cuts=(0.8, 0.9), labels=["disease", "gender", "series"])
GAITNDD |= dict(person="series", stratum="disease")
HOURLY = dict(lookback=168, horizons=(24, 12, 6, 3), cuts=(0.6, 0.8))
SPARSE = HOURLY | dict(stride=5)  # of all hours in turn
CALENDAR = ["hour", "month", "dayofweek"]

CASES = {
    "motionsense": Case(
        partial(data.motionsense, labels=["activity", "subject", "gender"]),
        lookback=100,  # 2 s
        horizons=(80,),
        stride=40,
        splits={"time": ["activity", "subject"], "people": ["activity", "gender"]},
        cuts=(0.8, 0.9),
        labels=["activity", "subject", "gender"],
        person="subject",
        stratum="gender",
    ),
    "forces": Case(partial(data.gait_forces, every=2), 100, (80,), 80, **GAITNDD),
    "strides": Case(data.gait_strides, 20, (16,), 1, **GAITNDD),
    "pjm": Case(data.pjm, splits={"time": CALENDAR}, labels=CALENDAR, **SPARSE),
    "total": Case(data.electricity_total, splits={"time": CALENDAR}, labels=CALENDAR, **SPARSE),
    "clients": Case(
        data.electricity_clients,
        splits={"time": ["hour", "dayofweek"]},  # there is no November but in training
        labels=["hour", "dayofweek"],
        stride=1,
        max_epochs=100,  # of three steps
        **HOURLY,
    ),
}
GROUPS = {"gait": ["motionsense", "forces", "strides"], "electricity": ["pjm", "total", "clients"]}

MODELS = ("DeepDIVE", "(a)", "(b)", "VAE", "beta-TCVAE")
SETTINGS = {
    "D = 1": dict(marginal_dim=1, conditional_dim=16, linear_path=False),
    "defaults": {},
}


def split_people(windows, case, seed):
    """Train, validation and test people 3:1:1, others for each seed."""
    people = windows.marginals[[case.person, case.stratum]].drop_duplicates()
    options = dict(random_state=seed, test_size=0.4, stratify=people[case.stratum])
    train, rest = train_test_split(people, **options)
    valid, test = train_test_split(
        rest, **options | dict(test_size=0.5, stratify=rest[case.stratum])
    )
    who = windows.marginals[case.person]
    return [windows[who.isin(part[case.person]).to_numpy()] for part in (train, valid, test)]


@lru_cache(maxsize=2)
def parts_of(name, folder, split, horizon, seed):
    """Train, validation and test windows of a case, in the units of the data set."""
    case = CASES[name]
    options = dict(stride=case.stride, marginals=case.labels)
    windows = sliding_windows(case.read(folder), case.lookback, horizon, **options)
    if split == "time":
        parts = data.split_targets(windows, case.cuts)
    else:
        parts = split_people(windows, case, seed)
    return [replace(part, marginals=part.marginals[case.splits[split]]) for part in parts]


def make(model, setting, n_factors):
    """An estimator; but for (b), all of a setting have the same number of latent dimensions."""
    setting = SETTINGS[setting]
    whole = DeepDIVEForecaster(**setting)
    size = whole.conditional_dim + n_factors * whole.marginal_dim
    match model:
        case "DeepDIVE":
            return whole
        case "(a)":
            return DeepDIVEForecaster(**setting | dict(conditional_dim=size))
        case "(b)":
            return DeepDIVEForecaster(**setting | dict(conditional_dim=0))
        case "VAE":
            return VAEForecaster(latent_dim=size, linear_path=whole.linear_path)
        case "beta-TCVAE":
            return BetaTCVAEForecaster(latent_dim=size, linear_path=whole.linear_path)


def keys_of(name, seeds, max_epochs=None):
    """The runs of a case, seeds in the outer loop; `max_epochs` is for trials.

    The defaults are tried at the longest horizon only.
    """
    case = CASES[name]
    keys = []
    for seed, split, horizon, setting, model in product(
        seeds, case.splits, case.horizons, SETTINGS, MODELS
    ):
        if setting == "defaults" and horizon < max(case.horizons):
            continue
        factors = case.splits[split]
        params = settings_of(make(model, setting, len(factors)))
        params["max_epochs"] = params["n_iter_no_change"] = max_epochs or case.max_epochs
        key = dict(data=name, split=split, horizon=horizon, setting=setting, model=model, seed=seed)
        keys.append(
            key | dict(params=params, lookback=case.lookback, stride=case.stride, factors=factors)
        )
    return keys
