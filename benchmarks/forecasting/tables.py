"""The tables of the documentation, from the records of the runs."""

import json

import numpy as np
from records import list_table, made_with, mean_and_spread

from forecasting.runs import CHOICE
from forecasting.systems import MODULES

CASE = ["data", "horizon"]
RIDGE, OURS = "ridge-", "DeepDIVE"
BUSY = "*"  # a time taken while other things ran
MORE_COSTS = {"windows_per_second": "windows/s", "peak_mb": "peak MB"}
NEW = ("electricity", "forces")  # data that nothing of DeepDIVE was chosen on


def check_windows(frame):
    """All systems must have seen the same windows."""
    for case, found in frame.groupby(CASE).checksum:
        if found.nunique() > 1:
            raise ValueError(f"the systems saw different windows of {case}: {found.unique()}.")


def check_defaults(frame):
    """Results of a system must be of the same release's defaults."""
    if "defaults" in frame:
        for system, found in frame.groupby("system").defaults:
            if found.dropna().astype(str).nunique() > 1:
                raise ValueError(f"{system} has runs with different defaults; remove the old ones.")


def chosen(frame):
    """The runs with the settings that were best on validation, for each system and data set.

    Where a horizon is still to be run, the choice may not be finished, and there are none.
    """
    frame = frame.assign(settings=[json.dumps(s, sort_keys=True) for s in frame.settings])
    tried = frame[(frame.purpose == "accuracy") & (frame.seed == CHOICE["seed"])]
    tried = tried[tried.horizon == CHOICE["horizon"]]
    best = tried.loc[tried.groupby(["system", "data"]).valid_mae.idxmin()]
    runs = frame.merge(best[["system", "data", "settings"]])
    horizons = runs.groupby(["system", "data"]).horizon.transform("nunique")
    return runs[horizons == runs.horizon.nunique()]


def in_order(frame):
    """Systems of a frame, in the order of the list of them."""
    present = set(frame.system)
    return [system for system in MODULES if system in present]


def accuracy(runs):
    """A table for each data set: MSE and MAE, mean and standard deviation over the seeds."""
    lines = []
    for data, of_data in runs.groupby("data", sort=False):
        horizons = sorted(of_data.horizon.unique())
        columns = [(h, error) for h in horizons for error in ("mse", "mae")]
        means = of_data.groupby(["system", "horizon"])[["mse", "mae"]].mean().unstack("horizon")
        rows = []
        for system in in_order(of_data):
            cells = []
            for horizon, error in columns:
                values = of_data[(of_data.system == system) & (of_data.horizon == horizon)][error]
                text = mean_and_spread(values, 4) if len(values) else ""
                column = means[error, horizon]
                cells.append(f"**{text}**" if system == column.idxmin() else text)
            seeds = of_data[of_data.system == system].groupby("horizon").seed.nunique().min()
            rows.append([system, seeds, *cells])
        header = ["system", "seeds", *(f"{h}: {error.upper()}" for h, error in columns)]
        lines += [f"**{data}**", "", *list_table(header, rows), ""]
    return lines


def summary(runs):
    """Mean ranks, and errors as a share of those of the best ridge, over data sets and horizons.

    Ranks are among the systems that have all of them; the others come last.
    """
    means = runs.groupby([*CASE, "system"])[["mse", "mae"]].mean()
    errors = {error: means[error].unstack("system") for error in ("mse", "mae")}
    mae = errors["mae"]
    share = mae.div(mae.filter(like=RIDGE).min(axis=1), axis=0)
    is_new = share.index.get_level_values("data").isin(NEW)
    ranks = {e: table.dropna(axis=1).rank(axis=1).mean() for e, table in errors.items()}
    rows = [
        [
            system,
            f"{mae[system].notna().sum()} of {len(mae)}",
            *(f"{rank[system]:.2f}" if system in rank else "" for rank in ranks.values()),
            *(
                f"{part[system].mean():.3f}" if part[system].notna().any() else ""
                for part in (share, share[~is_new], share[is_new])
            ),
            f"{share[system].max():.3f}",
            f"{share[OURS][mae[system].notna()].mean():.3f}" if OURS in share else "",
        ]
        for system in sorted(mae, key=lambda s: ranks["mae"].get(s, np.inf))
    ]
    header = ["system", "cases", "mean rank, MSE", "mean rank, MAE"]
    header += ["MAE / best ridge", "first six", "new data", "worst", f"{OURS} in these cases"]
    return list_table(header, rows)


def cost(runs):
    """Seconds of a fit by data set; windows predicted per second and peak memory of the first."""
    runs = runs[runs.horizon == CHOICE["horizon"]]
    data = list(runs.data.unique())
    rows = []
    for system in in_order(runs):
        found = runs[runs.system == system]
        cells = [of_data(found, name, "fit_seconds", ".3g") for name in data]
        cells += [of_data(found, data[0], column, ",.0f") for column in MORE_COSTS]
        rows.append([system, *cells])
    more = [f"{data[0]}: {words}" for words in MORE_COSTS.values()]
    return list_table(["system", *data, *more], rows)


def of_data(found, name, column, digits):
    """Median of the runs that were timed, or else of the others, which is marked."""
    found = found[found["data"] == name]
    timed = found[found.purpose == "time"]
    mark = "" if len(timed) else BUSY
    value = (timed if len(timed) else found)[column].median()
    return "" if np.isnan(value) else f"{value:{digits}}{mark}"


def choices(runs):
    """What was chosen on validation."""
    pairs = runs[["system", "data", "settings"]].drop_duplicates()
    words = {
        (system, data): ", ".join(map(str, json.loads(settings).values()))
        for system, data, settings in pairs.itertuples(index=False)
    }
    data = list(pairs.data.unique())
    systems = in_order(pairs)
    rows = [[system, *(words.get((system, name), "") for name in data)] for system in systems]
    return list_table(["system", *data], [row for row in rows if any(row[1:])])


def write_tables(frame, folder):
    """Write the tables for the documentation from a frame of records."""
    check_windows(frame)
    check_defaults(frame)
    runs = chosen(frame)
    judged = runs[runs.purpose == "accuracy"]
    tables = {
        "summary": summary(judged),
        "accuracy": [made_with(judged), "", *accuracy(judged)],
        "choices": choices(judged),
        "cost": cost(runs),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in tables.items():
        (folder / f"{name}.txt").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
