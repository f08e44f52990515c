"""The tables of the ablations: scores, and paired differences to the default."""

from records import gain, list_table, mean_and_spread

READINGS = {"_alone": "no second forecast", "_known": "labels known"}  # of the same fit
ERRORS = ("mse", "mae")  # of z-scored values
SCORES = {  # of the tables
    "test_mse": "MSE",
    "test_mae": "MAE",
    "test_mae_alone": "MAE, network alone",
    "valid_mae": "MAE, validation",
    "test_rrse": "forecast RRSE",
    "test_reconstruction": "reconstruction RRSE",
}


def rows_of(frame, variants):
    """Runs by variant and seed; the other readings of the default, as if they were variants."""
    rows = {variant: runs.set_index("seed") for variant, runs in frame.groupby("variant")}
    names = [f"{part}_{error}" for part in ("test", "valid") for error in ERRORS]
    for suffix, reading in READINGS.items():
        read = {name: rows["default"][name + suffix] for name in names}
        rows[reading] = rows["default"][["fit_seconds", "epochs"]].assign(**read)
    return {name: rows[name] for name in ["default", *READINGS.values(), *variants] if name in rows}


def write_table(path, frame, variants, n_keys):
    """Write the tables of a data set, or that there is nothing to write yet."""
    lines = [
        f"{len(frame)} of {n_keys} fits are done.",
        *(tables(frame, variants) if len(frame) else []),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def tables(frame, variants):
    """Lines of two tables: the scores, and their differences to the default."""
    rows = rows_of(frame, variants)
    accuracy = {c: c.removeprefix("test_") for c in frame if c.startswith("test_accuracy ")}
    columns, table, changes = SCORES | accuracy, [], []
    for variant, runs in rows.items():
        runs = runs.reindex(columns=[*columns, "fit_seconds", "epochs"])
        cells = [mean_and_spread(runs[c], 4 if c.split("_")[1] in ERRORS else 3) for c in columns]
        cost = f"{runs.fit_seconds.median():.0f}", f"{runs.epochs.median():.0f}"
        table.append([variant, len(runs), *cells, *cost])
        if variant != "default":
            ours, default = runs.align(rows["default"], join="inner", axis=0)
            compared = [gain(ours[c], default[c], "accuracy" not in c, 4) for c in columns]
            changes.append([variant, *compared])
    train, valid, test = frame.windows.iloc[0]
    return [
        f"{train:,} windows for training, {valid:,} for validation, {test:,} for test.",
        *sorted({text.split(". ", 1)[1] for text in frame.machine}),
        "",
        *list_table(["variant", "seeds", *columns.values(), "fit, s", "epochs"], table),
        "",
        "Less the default of the same seeds:",
        "",
        *list_table(["variant", *columns.values()], changes),
    ]
