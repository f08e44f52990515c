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
    "forecast_global": "global mean",
    "forecast_alone": "network alone",
    "mig": "MIG",
    "mig_blocks": "MIG, blocks",
}
LATENTS = {  # the second
    "sap": "SAP",
    "modularity": "modularity",
    "disentanglement": "DCI: disentanglement",
    "completeness": "completeness",
    "informativeness": "informativeness",
    "total_correlation": "total correlation",
}
LOWER_IS_BETTER = {"total_correlation", *(score for score in RESULTS if "mig" not in score)}


def write_tables(path, records, keys):
    """Write the tables of a case: for each split and horizon the scores, and the differences."""
    frame = records.frame(keys)
    lines = [f"{len(frame)} of {len(keys)} runs are done.", ""]
    if len(frame):
        lines = [*conditions(frame, len(keys)), ""]
        for (split, horizon), runs in frame.groupby(["split", "horizon"], sort=False):
            lines += section(runs, split, horizon)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def conditions(frame, n_keys):
    """Sentences on what the tables hold."""
    first = frame.iloc[0]
    machines = sorted({text.split(". ", 1)[1] for text in frame.machine})
    seeds = frame.groupby(["split", "horizon", "setting", "model"]).seed.nunique()
    few, many = seeds.min(), seeds.max()
    counted = f"{many} seeds" if few == many else f"{few} to {many} seeds"
    lines = [f"Lookback {first.lookback}, stride {first.stride}; {counted}"]
    lines[0] += "." if len(frame) == n_keys else f"; {len(frame)} of {n_keys} runs are done."
    return [*lines, *machines]


def section(runs, split, horizon):
    """Three tables: main scores, other scores of the latents, and what DeepDIVE gains."""
    first = runs.iloc[0]
    accuracies = [column for column in runs if column.startswith("accuracy ")]
    group = next(group for group, names in GROUPS.items() if first["data"] in names)
    compare = group == "gait" or horizon == 24
    main, latents, gains = [], [], []
    for setting, model in product(SETTINGS, MODELS):
        found, whole = (
            runs[(runs.setting == setting) & (runs.model == name)].set_index("seed")
            for name in (model, "DeepDIVE")
        )
        if found.empty:
            continue
        cells = [mean_and_spread(found[score]) for score in RESULTS]
        cells += PAPER[group].get(model, ("", "", "")) if compare else ()
        main.append([setting, model, *cells])
        cells = [mean_and_spread(found[score]) for score in LATENTS]
        cells += [mean_and_spread(found[accuracy], 2) for accuracy in accuracies]
        cells += [f"{found.fit_seconds.mean():.0f}", f"{found.epochs.mean():.0f}"]
        latents.append([setting, model, *cells])
        shared = found.index.intersection(whole.index)
        if model != "DeepDIVE" and len(shared):
            ours, theirs = whole.loc[shared], found.loc[shared]
            scores = RESULTS | LATENTS
            cells = [gain(ours[s], theirs[s], s in LOWER_IS_BETTER) for s in scores]
            gains.append([setting, model, *cells])
    title = f"**Split by {split}, horizon {horizon}**: {first.n_train:,} windows for training, "
    title += f"{first.n_valid:,} for validation, {first.n_test:,} for test; "
    title += f"factors {', '.join(first.factors)}."
    start = ["setting", "model"]
    header = [*start, *RESULTS.values(), *PRINTED * compare]
    lines = [title, "", *list_table(header, main), ""]
    header = [*start, *LATENTS.values(), *accuracies, "fit, s", "epochs"]
    lines += ["Other scores of the latents, and the fit:", "", *list_table(header, latents), ""]
    if gains:
        header = [*start, *(RESULTS | LATENTS).values()]
        lines += ["DeepDIVE less each other model:", "", *list_table(header, gains), ""]
    return lines
