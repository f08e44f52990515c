"""The tables of the documentation, from the records of the runs."""

import pandas as pd
from records import gain, list_table, made_with, mean_and_spread

from embeddings.systems import SYSTEMS

OURS = ("DeepDIVE", "DeepDIVE-spectrum")
TESTED = 1 / 4  # of five folds, one is tested for every four to learn from


def check_windows(frame):
    """All systems must have seen the same windows and labels."""
    for case, found in frame.groupby(["data", "share", "seed", "fold"]).checksum:
        if found.nunique() > 1:
            raise ValueError(f"the systems saw different windows or labels of {case}.")


def comparable(frame):
    """The runs of seeds that all systems have, share by share.

    A seed decides which labels are known; with all of them known it does not, and systems that
    depend on a seed may have more runs than the others.
    """
    kept = []
    for share, runs in frame.groupby("share"):
        seeds = runs.groupby(["system", "fold"]).seed.agg(set)
        kept.append(runs if share == 1 else runs[runs.seed.isin(set.intersection(*seeds))])
    return pd.concat(kept)


def by_fold(frame, column="balanced_accuracy"):
    """Means over seeds: a row for each fold, a column for each share of labels and system."""
    return frame.pivot_table(column, "fold", ["share", "system"], aggfunc="mean")


def present(frame):
    """Systems of a frame, in the order of the list of them."""
    there = set(frame.system)
    return [name for name in SYSTEMS if name in there]


def shares_of(frame):
    """Shares of known labels, the largest first."""
    return sorted(frame.share.unique(), reverse=True)


def accuracy(frame):
    """Balanced accuracy of each system, mean and standard deviation over the folds."""
    scores, shares = by_fold(frame), shares_of(frame)
    means = scores.mean()
    rows = []
    for name in present(frame):
        cells = []
        for share in shares:
            there = (share, name) in scores
            text = mean_and_spread(scores[share, name].dropna()) if there else ""
            cells.append(f"**{text}**" if text and means[share].idxmax() == name else text)
        runs = frame[frame.system == name]
        seeds = runs.groupby(["share", "fold"]).seed.nunique()
        few, many = seeds.min(), seeds.max()
        counts = runs.fold.nunique(), few if few == many else f"{few} to {many}"
        rows.append([name, *counts, f"{runs.n_features.max():.0f}", *cells])
    header = ["system", "folds", "seeds", "features"]
    return list_table([*header, *(f"{share:.0%} of labels" for share in shares)], rows)


def gains(frame):
    """DeepDIVE less each other system on the same folds; bold where better beyond the interval."""
    scores, shares = by_fold(frame), shares_of(frame)
    rows = []
    for ours in OURS:
        for theirs in present(frame):
            if ours == theirs or ours not in set(frame.system):
                continue
            cells = []
            for share in shares:
                text = ""
                if {(share, ours), (share, theirs)} <= set(scores):
                    pairs = scores[share][[ours, theirs]].dropna()
                    text = gain(pairs[ours], pairs[theirs], False, tested=TESTED)
                cells.append(text)
            rows.append([f"{ours} less {theirs}", *cells])
    return list_table(["", *(f"{share:.0%} of labels" for share in shares)], rows)


def details(frame):
    """What DeepDIVE's own prototypes tell, and what a fit takes with all labels known."""
    rows = []
    for name in present(frame):
        runs = frame[frame.system == name]
        own = by_fold(runs, "prototypes") if "prototypes" in runs.dropna(axis=1, how="all") else {}
        cells = [
            mean_and_spread(own[share, name].dropna()) if (share, name) in own else ""
            for share in shares_of(frame)
        ]
        rows.append([name, *cells, f"{runs[runs.share == 1].encode_seconds.median():.1f}"])
    header = ["system", *(f"prototypes, {share:.0%}" for share in shares_of(frame))]
    return list_table([*header, "encode, s"], rows)


def counts(frame):
    """Sentence about the numbers of windows, means over the folds."""
    train, test = frame.groupby("fold")[["n_train", "n_test"]].first().mean()
    known = frame.groupby(["share", "fold"]).n_labelled.first().groupby("share").mean()
    words = ", ".join(f"{known[share]:,.0f} at {share:.0%}" for share in shares_of(frame))
    return (
        f"{train:,.0f} windows to learn from, {test:,.0f} to be tested on (means over folds); "
        f"of the former have a label: {words}."
    )


def write_tables(frame, keys, folder):
    """Write the tables for the documentation from a frame of the records of some keys."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in dict.fromkeys(key["data"] for key in keys):
        n_keys = sum(key["data"] == data for key in keys)
        runs = frame[frame["data"] == data] if len(frame) else frame
        lines = [f"{len(runs)} of {n_keys} runs are done.", ""]
        if len(runs):
            check_windows(runs)
            runs = comparable(runs)
            lines += [counts(runs), "", *accuracy(runs), ""]
            lines += ["Paired differences and 95 % intervals:", "", *gains(runs), ""]
            lines += ["DeepDIVE's own classifier, and seconds to encode with all labels:", ""]
            lines += [*details(runs), "", made_with(runs)]
        (folder / f"{data}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
