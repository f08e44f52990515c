"""The tables of the paper's experiments, beside the numbers that the paper prints."""

from itertools import product

from paper.cases import GROUPS, MODELS, SETTINGS
from records import gain, list_table, mean_and_spread

# What the paper prints: reconstruction, forecast, MIG; electricity is of horizon 24.
PAPER = {
    "gait": {
        "DeepDIVE": ("11.1627", "16.0582", "0.0473"),
        "(a)": ("11.8835", "16.4434", "0.0155"),
        "(b)": ("28.2268", "27.7309", "0.0464"),
        "beta-TCVAE": ("29.3563", "33.7654", "0.0081"),
    },
    "electricity": {
        "DeepDIVE": ("1.5803", "0.0998", ""),
        "(a)": ("2.5562", "0.1062", ""),
        "(b)": ("7.4779", "0.1048", ""),
        "beta-TCVAE": ("8.6409", "0.1048", ""),
    },
}
PRINTED = ["paper: reconstruction", "forecast", "MIG"]
RESULTS = {  # the first table
    "reconstruction": "reconstruction RRSE",
    "forecast": "forecast RRSE",
    "forecast_known": "labels known",
    "forecast_global": "global mean",
    "forecast_alone": "network alone",
    "mig": "MIG",
    "mig_blocks": "MIG, blocks",
}
BY_DIMENSION = {  # the second, and the third for shuffled labels
    "sap": "SAP",
    "modularity": "modularity",
    "disentanglement": "DCI: disentanglement",
    "completeness": "completeness",
    "informativeness": "informativeness",
}
LATENTS = BY_DIMENSION | {"total_correlation": "total correlation"}
LOWER_IS_BETTER = {score for score in RESULTS if "mig" not in score}
CHANCE = {f"{score} by chance": word for score, word in ({"mig": "MIG"} | BY_DIMENSION).items()}
GAINS = RESULTS | BY_DIMENSION
del GAINS["modularity"]  # latents that say nothing have a high one


def write_tables(path, records, keys):
    """Write the tables of a case: for each split and horizon the scores, and the differences."""
    frame = records.frame(keys)
    lines = [f"{len(frame)} of {len(keys)} runs are done.", ""]
    if len(frame):
        frame = frame.reindex(columns=frame.columns.union([*RESULTS, *LATENTS, *CHANCE]))
        lines = [*conditions(frame, len(keys)), ""]
        for (split, horizon), runs in frame.groupby(["split", "horizon"], sort=False):
            lines += section(runs, split, horizon)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def conditions(frame, n_keys):
    """Sentences on what the tables hold."""
    first = frame.iloc[0]
    seeds = frame.groupby(["split", "horizon", "setting", "model"]).seed.nunique()
    few, many = seeds.min(), seeds.max()
    seeds = f"{few} to {many} seeds" if few < many else "1 seed" if many == 1 else f"{many} seeds"
    words = f"Lookback {first.lookback}, stride {first.stride}; {seeds}"
    words += "." if len(frame) == n_keys else f"; {len(frame)} of {n_keys} runs are done."
    return [words, *sorted({text.split(". ", 1)[1] for text in frame.machine})]


def section(runs, split, horizon):
    """Main scores, other scores of the latents, those by chance, and what DeepDIVE gains."""
    first = runs.iloc[0]
    accuracies = [column for column in runs if column.startswith("accuracy ")]
    group = next(group for group, names in GROUPS.items() if first["data"] in names)
    compare = group == "gait" or horizon == 24
    main, latents, chance, gains = [], [], [], []
    for setting, model in product(SETTINGS, MODELS):
        found, whole = (
            runs[(runs.setting == setting) & (runs.model == name)].set_index("seed")
            for name in (model, "DeepDIVE")
        )
        if found.empty:
            continue
        row = [setting, model]
        cells = [mean_and_spread(found[score]) for score in RESULTS]
        cells += PAPER[group].get(model, ("", "", "")) if compare else ()
        main.append([*row, *cells])
        cells = [mean_and_spread(found[score]) for score in LATENTS]
        cells += [mean_and_spread(found[accuracy], 2) for accuracy in accuracies]
        cells += [f"{found.fit_seconds.median():.0f}", f"{found.epochs.median():.0f}"]
        latents.append([*row, *cells])
        chance.append([*row, *(mean_and_spread(found[score]) for score in CHANCE)])
        shared = found.index.intersection(whole.index)
        if model != "DeepDIVE" and len(shared):
            ours, theirs = whole.loc[shared], found.loc[shared]
            tested = (found.n_test / found.n_train).mean() if split == "people" else 0.0
            cells = [gain(ours[s], theirs[s], s in LOWER_IS_BETTER, tested=tested) for s in GAINS]
            gains.append([*row, *cells])
    sizes = (spread_of(runs[f"n_{part}"]) for part in ("train", "valid", "test"))
    title = "**Split by {}, horizon {}**: {} windows for training, {} for validation, {} for test; "
    title = title.format(split, horizon, *sizes) + f"factors {', '.join(first.factors)}."
    tables = {
        title: ([*RESULTS.values(), *PRINTED * compare], main),
        "Other scores of the latents, and the fit:": (
            [*LATENTS.values(), *accuracies, "fit, s", "epochs"],
            latents,
        ),
        "What the latents score for shuffled labels:": (CHANCE.values(), chance),
        "DeepDIVE less each other model:": (GAINS.values(), gains),
    }
    lines = []
    for words, (header, rows) in tables.items():
        if any(any(row[2:]) for row in rows):
            lines += [words, "", *list_table(["setting", "model", *header], rows), ""]
    return lines


def spread_of(counts):
    """A count, or the smallest and the largest one where they differ by seed."""
    few, many = counts.min(), counts.max()
    return f"{few:,}" if few == many else f"{few:,} to {many:,}"
