"""Scores of latent spaces, against plain implementations, closed forms and known cases."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy, multivariate_normal, norm, ortho_group
from sklearn.metrics import balanced_accuracy_score, mutual_info_score

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.metrics import (
    dci,
    latent_blocks,
    latent_report,
    mig,
    modularity,
    mutual_information,
    sap,
    total_correlation,
)
from skdive.metrics.association import folds, read_latents
from skdive.metrics.importance import dci_of, importances

RNG = np.random.default_rng(0)
N = 2000
LABELS = np.column_stack([RNG.integers(k, size=N) for k in (4, 6, 2)])
NOISE = RNG.normal(size=(N, 3))
NOISY = np.column_stack([LABELS + RNG.normal(size=(N, 3)), NOISE])  # three codes, three of noise
ROTATED = ((LABELS - LABELS.mean(0)) / LABELS.std(0)) @ ortho_group.rvs(3, random_state=1)
TWICE = LABELS[:, [0, 0, 1, 1, 2, 2]] * 1.0
PAIRS = {"a": [0, 1], "b": [2, 3], "c": [4, 5]}

# ---------------------------------------------------------------------------------------------
# Against plain implementations


def plain_tables(Z, labels):
    """Mutual information and balanced accuracy from bins, one column and factor at a time."""
    information = np.zeros((Z.shape[1], labels.shape[1]))
    accuracy = np.zeros_like(information)
    for f, y in enumerate(labels.T):
        for d, z in enumerate(Z.T):
            bins = np.digitize(z, np.histogram_bin_edges(z, 20)[1:-1])
            information[d, f] = mutual_info_score(bins, y)
            told = np.empty_like(y)
            for b in np.unique(bins):
                shares = [np.mean(bins[y == k] == b) for k in range(y.max() + 1)]
                told[bins == b] = np.argmax(shares)
            accuracy[d, f] = balanced_accuracy_score(y, told)
    return information, accuracy


CODES = {"ideal": LABELS, "noisy": NOISY, "rotated": ROTATED, "twice": TWICE}


@pytest.mark.parametrize("Z", CODES.values(), ids=CODES)
def test_single_columns_against_plain_implementations(Z):
    information, accuracy = plain_tables(Z, LABELS)
    np.testing.assert_allclose(mutual_information(Z, LABELS), information, atol=1e-12)

    gaps, accuracies = [], []
    for f, y in enumerate(LABELS.T):
        first, second = sorted(information[:, f], reverse=True)[:2]
        gaps.append((first - second) / entropy(np.bincount(y)))
        first, second = sorted(accuracy[:, f], reverse=True)[:2]
        accuracies.append(first - second)
    assert mig(Z, LABELS) == pytest.approx(np.mean(gaps))
    assert sap(Z, LABELS) == pytest.approx(np.mean(accuracies))

    deviations = []
    for row in information:
        theta = row.max()
        template = np.where(np.arange(3) == row.argmax(), theta, 0)
        deviations.append(np.sum((row - template) ** 2) / (theta**2 * 2))
    assert modularity(Z, LABELS) == pytest.approx(1 - np.mean(deviations))


def test_dci_of_importances_against_entropies_of_scipy():
    R = RNG.random((5, 3))
    R /= R.sum(axis=0)
    by_latent = 1 - entropy(R.T, base=3)
    disentanglement, completeness = dci_of(R)
    assert disentanglement == pytest.approx(by_latent @ R.sum(axis=1) / R.sum())
    np.testing.assert_allclose(completeness, 1 - entropy(R, base=5))
    # a factor without a split is served by all alike, a latent without importance does not count
    disentanglement, completeness = dci_of(np.array([[1.0, 0], [0, 0]]))
    assert completeness == pytest.approx([1, 0])
    assert disentanglement == pytest.approx(0.75 * (1 - entropy([1, 0.5], base=2)) + 0.25)


# ---------------------------------------------------------------------------------------------
# Known cases


def test_ideal_code():
    assert mig(LABELS, LABELS) > 0.99
    assert sap(LABELS, LABELS) == pytest.approx((3 / 4 + 5 / 6 + 1 / 2) / 3, abs=0.03)
    assert modularity(LABELS, LABELS) > 0.999
    scores = dci(LABELS, LABELS)
    assert scores.disentanglement > 0.99
    assert scores.completeness > 0.99
    assert scores.informativeness == 1
    assert total_correlation(LABELS) < 0.01


def test_noise():
    assert mig(NOISE, LABELS) < 0.01
    assert sap(NOISE, LABELS) < 0.05
    scores = dci(NOISE, LABELS)
    assert scores.disentanglement < 0.1
    assert scores.completeness < 0.1
    assert scores.informativeness == pytest.approx((1 / 4 + 1 / 6 + 1 / 2) / 3, abs=0.03)
    blocks = mutual_information(NOISE, LABELS, blocks=[[0], [1, 2]])
    assert blocks.to_numpy().max() < 0.001  # a bound from below: no bias upwards
    assert blocks.to_numpy().min() == 0


def test_duplicated_code_has_no_gap_but_is_modular():
    assert mig(TWICE, LABELS) == 0
    assert sap(TWICE, LABELS) == 0
    assert modularity(TWICE, LABELS) > 0.999
    scores = dci(TWICE, LABELS)
    assert scores.disentanglement > 0.99
    assert scores.completeness == pytest.approx(1 - np.log(2) / np.log(6), abs=0.05)
    assert total_correlation(TWICE) == np.inf


def test_duplicated_code_by_blocks_is_ideal():
    twice, labels = TWICE[:800], LABELS[:800]
    assert mig(twice, labels, blocks=PAIRS) > 0.95
    assert sap(twice, labels, blocks=PAIRS) == pytest.approx((3 / 4 + 5 / 6 + 1 / 2) / 3, abs=0.08)
    assert modularity(twice, labels, blocks=PAIRS) > 0.999
    assert min(dci(twice, labels, blocks=PAIRS)) > 0.99
    assert total_correlation(twice, blocks=PAIRS) < 0.01
    # as it is with a column of noise before each code
    mixed = np.column_stack([NOISE, LABELS])[:800, [0, 3, 1, 4, 2, 5]]
    assert min(dci(mixed, labels, blocks=PAIRS)) > 0.95


def test_rotated_code_tells_as_much_but_is_entangled():
    scores = dci(ROTATED, LABELS)
    assert scores.informativeness > 0.9
    assert scores.disentanglement < 0.6
    assert mig(ROTATED, LABELS) < 0.5
    assert modularity(ROTATED, LABELS) < 0.9
    # together the columns tell everything
    whole = mutual_information(ROTATED, LABELS, blocks=[[0, 1, 2]])
    entropies = [entropy(np.bincount(y)) for y in LABELS.T]
    np.testing.assert_allclose(whole.iloc[0], entropies, rtol=0.1)


def test_constant_latents_tell_nothing():
    for n in range(500, 520):
        padded = np.hstack([LABELS[:n], np.ones((n, 9))])
        assert modularity(padded, LABELS[:n]) == pytest.approx(0.25, abs=0.01)
        assert modularity(np.ones((n, 3)), LABELS[:n]) == 0


def test_bins_resolve_as_many_classes_as_there_are():
    hours = np.arange(2400) % 24
    code = np.column_stack([hours, RNG.normal(size=2400)])
    information = mutual_information(code, hours).to_numpy()
    assert information[0, 0] == pytest.approx(np.log(24))


def test_information_of_a_block_approaches_its_true_value_from_below():
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(4, 8))
    y = rng.integers(4, size=4000)
    z = centres[y] + 1.5 * rng.normal(size=(4000, 8))
    log_p = np.stack([multivariate_normal(c, 1.5**2).logpdf(z) for c in centres], axis=1)
    log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    true = np.log(4) + log_p[np.arange(4000), y].mean()  # Monte Carlo of the closed form
    found = mutual_information(z, y, blocks=[list(range(8))]).iloc[0, 0]
    assert true - 0.03 < found < true + 0.01


def test_both_classifiers_are_needed():
    z = np.random.default_rng(2).normal(size=(N, 6))
    parity = (z[:, 0] * z[:, 1] > 0).astype(int)  # not linear, in two columns
    spread = (z.sum(axis=1) > 0).astype(int)  # linear, in all columns
    labels = np.column_stack([parity, spread])
    for scale in (1, np.logspace(-4, 4, 6)):
        found = mutual_information(z * scale, labels, blocks=[list(range(6))]).to_numpy()
        assert (found > [[0.25, 0.55]]).all()
        assert (found < np.log(2)).all()


def test_folds_are_contiguous_in_each_class():
    for y in (np.repeat([0, 1, 2], [50, 23, 7]), RNG.integers(3, size=80)):
        held_out = [test for _, test in folds(y)]
        np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), np.arange(80))
        for train, test in folds(y):
            assert set(train) == set(range(80)) - set(test)
            for k in range(3):
                rank = np.flatnonzero(np.isin(np.flatnonzero(y == k), test))
                assert len(rank) in ((y == k).sum() // 5, (y == k).sum() // 5 + 1)
                assert (np.diff(rank) == 1).all()


def test_accuracy_of_a_block_does_not_depend_on_how_frequent_classes_are():
    rng = np.random.default_rng(3)
    y = rng.choice(3, p=[0.8, 0.1, 0.1], size=N)
    z = np.column_stack([2 * y + rng.normal(size=N), rng.normal(size=N)])
    # normal distributions, 2 apart, are told at their middles, though two of them are rare
    expected = (2 * norm.cdf(1) + (2 * norm.cdf(1) - 1)) / 3
    assert sap(z, y, blocks=[[0], [1]]) == pytest.approx(expected - 1 / 3, abs=0.03)
    found = importances(read_latents(z, y, None, -1), y[:, None], None, 0)[1]
    assert found[0] == pytest.approx(expected, abs=0.05)


# ---------------------------------------------------------------------------------------------
# Total correlation


def test_total_correlation_of_a_gaussian():
    a = RNG.normal(size=(5, 5))
    cov = a @ a.T + np.eye(5)
    z = RNG.multivariate_normal(np.zeros(5), cov, size=5000)
    sample = np.cov(z.T)
    expected = 0.5 * (np.log(np.diag(sample)).sum() - np.linalg.slogdet(sample)[1])
    assert total_correlation(z) == pytest.approx(expected)
    assert total_correlation(z) == pytest.approx(-0.5 * np.linalg.slogdet(np.corrcoef(z.T))[1])
    blocks = [[0, 3], [1], [2, 4]]
    parts = sum(np.linalg.slogdet(np.atleast_2d(np.cov(z[:, b].T)))[1] for b in blocks)
    between = 0.5 * (parts - np.linalg.slogdet(sample)[1])
    assert total_correlation(z, blocks=blocks) == pytest.approx(between)
    assert between < expected


def test_total_correlation_leaves_out_what_does_not_vary():
    z = RNG.normal(size=(500, 3)) @ RNG.normal(size=(3, 3)) + 100
    expected = total_correlation(z)
    assert total_correlation(z * [1e-9, 1, 1e9]) == pytest.approx(expected)
    constant = np.column_stack([z, np.full(500, 0.1)])
    assert total_correlation(constant) == pytest.approx(expected)
    assert total_correlation(constant[:, 3:]) == 0
    # one block may be degenerate in itself
    repeated = z[:, [0, 1, 2, 2]]
    blocks = total_correlation(repeated, blocks=[[0], [1], [2, 3]])
    assert blocks == pytest.approx(expected)
    assert total_correlation(z[:3]) == np.inf  # fewer rows than columns allow


# ---------------------------------------------------------------------------------------------
# Invariances

SCORES = {
    "mig": mig,
    "sap": sap,
    "modularity": modularity,
    "dci": dci,
    "mig of blocks": lambda Z, labels: mig(Z[:800], labels[:800, :2], blocks=[[0, 5], [1, 4]]),
}


@pytest.mark.parametrize("name", SCORES)
def test_scale_and_shift_of_columns_do_not_matter(name):
    scaled = NOISY * [1e-3, 8, 1e4, 2, 0.5, 1] + [0, 0, 0, 32, 0, -1]
    tolerance = 1e-9 if name in ("mig", "sap", "modularity") else 0.02  # trees split by rounding
    assert SCORES[name](scaled, LABELS) == pytest.approx(SCORES[name](NOISY, LABELS), abs=tolerance)


@pytest.mark.parametrize("name", ["mig", "sap", "modularity", "dci"])
def test_order_of_columns_factors_and_names_of_classes_do_not_matter(name):
    expected = SCORES[name](NOISY, LABELS)
    named = np.array(list("dacbfe"))[LABELS]
    tolerance = 0.03 if name == "dci" else 1e-9  # trees draw their thresholds in another order
    for Z, labels in [
        (NOISY[:, [4, 2, 0, 1, 5, 3]], LABELS),
        (NOISY, LABELS[:, ::-1]),
        (NOISY, named),
    ]:
        assert SCORES[name](Z, labels) == pytest.approx(expected, abs=tolerance)
    assert total_correlation(NOISY[:, ::-1]) == pytest.approx(total_correlation(NOISY))


def test_scores_are_repeatable():
    noisy, labels = NOISY[:500], LABELS[:500]
    for name, score in SCORES.items():
        assert score(noisy, labels) == score(noisy, labels), name


# ---------------------------------------------------------------------------------------------
# Labels and blocks in all their forms


@pytest.mark.parametrize("missing", [-1, None, np.nan, "?"])
def test_rows_of_unknown_labels_are_left_out_factor_by_factor(missing):
    labels = np.array(list("abcdef"), dtype=object)[LABELS]
    hidden = labels.copy()
    hidden[:900, 0] = missing
    hidden[-400:, 1] = missing
    option = {"missing_label": missing} if missing == "?" else {}
    first = mutual_information(NOISY[900:], labels[900:])["factor0"]
    second = mutual_information(NOISY[:-400], labels[:-400])["factor1"]
    # the edges of the bins are those of all rows, known or not
    found = mutual_information(NOISY, hidden, **option)
    np.testing.assert_allclose(found["factor0"], first, atol=0.04)
    np.testing.assert_allclose(found["factor1"], second, atol=0.04)
    blocks = {"blocks": [[0, 3]]}
    found = mutual_information(NOISY, hidden, **blocks, **option)
    first = mutual_information(NOISY[900:], labels[900:, 0], **blocks)["factor0"]
    np.testing.assert_allclose(found["factor0"], first)
    scores = dci(NOISY, hidden, **option)
    assert scores == pytest.approx(dci(NOISY, labels), abs=0.1)


def test_names_of_frames():
    Z = pd.DataFrame(NOISY, columns=["a_0", "b_0", "c_0", "a_1", "b_1", "c_1"])
    labels = pd.DataFrame({"hour": LABELS[:, 0], "zone": np.array(list("uvwxyz"))[LABELS[:, 1]]})
    found = mutual_information(Z, labels)
    assert list(found.index) == list(Z.columns)
    assert list(found.columns) == ["hour", "zone"]
    blocks = {"a": ["a_0", "a_1"], "rest": ["b_0", "b_1"]}
    found = mutual_information(Z, labels, blocks=blocks)
    assert list(found.index) == ["a", "rest"]
    same = mutual_information(NOISY, labels, blocks=[[0, 3], [1, 4]])
    np.testing.assert_array_equal(found, same)
    assert list(same.index) == ["block0", "block1"]


def test_blocks_from_names():
    names = ["marginal_site_1_0", "marginal_site_1_1", "conditional_0", "x", "conditional_1"]
    expected = {"marginal_site_1": [0, 1], "conditional": [2, 4], "x": [3]}
    assert latent_blocks(names) == expected


def test_one_factor():
    assert mig(LABELS, LABELS[:, 0]) > 0.95
    assert sap(LABELS, LABELS[:, 0].tolist()) > 0.7
    report = latent_report(LABELS, LABELS[:, 0], metrics=["mig", "modularity", "dci"])
    assert report.index.tolist() == [("mig", "")]  # what compares factors is left out


HOLES = NOISY.copy()
HOLES[7, 2] = np.nan
SPARSE = np.arange(N)[:, None] // 5  # the number of a group of five rows
ERRORS = {
    "rows": (lambda: mig(NOISY[:9], LABELS), "2000 rows, but there are 9"),
    "1-D": (lambda: mig(NOISY[:, 0], LABELS), "Expected 2D array"),
    "NaN": (lambda: mig(HOLES, LABELS), "Z contains NaN"),
    "NaN, no labels": (lambda: total_correlation(HOLES), "Z contains NaN"),
    "one class": (lambda: sap(NOISY, LABELS * 0), "factor 'factor0' has 1 class"),
    "no label": (lambda: dci(NOISY, LABELS * 0 - 1), "no label at all"),
    "-1 and 1": (lambda: mig(NOISY, np.resize([-1, 1], N)), "different missing_label"),
    "continuous": (lambda: mig(NOISY, NOISE), "KBinsDiscretizer"),
    "one latent": (lambda: mig(NOISY[:, :1], LABELS), "at least 2, got 1"),
    "one block": (lambda: sap(NOISY, LABELS, blocks=[[0, 1]]), "at least 2, got 1"),
    "one factor": (lambda: modularity(NOISY, LABELS[:, 0]), "factors and needs at least 2, got 1"),
    "one factor, dci": (lambda: dci(NOISY, LABELS[:, 0]), "factors and needs at least 2, got 1"),
    "column": (lambda: mig(NOISY, LABELS, blocks=[[0], [6]]), r"in 0 ... 5 or by name.*got \[6\]"),
    "name": (lambda: mig(NOISY, LABELS, blocks={"a": ["hour"], "b": [1]}), r"'a'.*got \['hour'\]"),
    "empty": (lambda: mig(NOISY, LABELS, blocks=[[0], []]), "'block1' must list .* got none"),
    "shared": (lambda: mig(NOISY, LABELS, blocks=[[0, 1], [1]]), r"share columns of Z: \[1\]"),
    "few rows": (
        lambda: mig(NOISY[:3], [0, 0, 1], blocks=[[0], [1]]),
        r"two classes with at least 2 labelled rows each.*\[2, 1\]",
    ),
    "metric": (lambda: latent_report(NOISY, LABELS, metrics=["mig", "FID"]), r"got \['FID'\]"),
    "no metric": (lambda: latent_report(NOISY, LABELS, metrics=[]), r"must be among .* got \[\]"),
    "bootstraps": (lambda: latent_report(NOISY, LABELS, n_bootstraps=-1), "n_bootstraps must be"),
    "permutations": (lambda: latent_report(NOISY, LABELS, n_permutations=-1), "n_permutations"),
    "confidence": (lambda: latent_report(NOISY, LABELS, confidence=95), "between 0 and 1, got 95"),
    "confidence, text": (lambda: latent_report(NOISY, LABELS, confidence="a"), "a number .* 'a'"),
    "groups": (lambda: latent_report(NOISY, LABELS, groups=[1, 2]), r"inconsistent.*\[2000, 2\]"),
    "one group": (
        lambda: latent_report(NOISY, LABELS, groups=["rec1"] * N),
        "only one of the 1 groups",
    ),
    "2-D groups": (lambda: latent_report(NOISY, LABELS, groups=LABELS), "1d array"),
    "unknown groups": (
        lambda: latent_report(NOISY, LABELS, groups=[None, *range(N - 1)]),
        "groups holds missing values",
    ),
    "labels in one group": (
        lambda: latent_report(NOISY, np.where(SPARSE < 1, LABELS, -1), groups=SPARSE[:, 0]),
        "'factor0' has labels in only one of the 400 groups",
    ),
    "positions": (lambda: mig(NOISY, LABELS, blocks=[[0.0], [1.0]]), r"got \[0\.0\]"),
    "mask": (lambda: mig(NOISY, LABELS, blocks=[[True, False], [1]]), r"got \[True, False\]"),
    "names": (lambda: mig(NOISY, LABELS, blocks={1: [0], "1": [1]}), "different names as text"),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------------------------
# The report


@pytest.mark.parametrize("blocks", [None, [[0, 3], [1, 4]]])
def test_report_has_the_scores_of_the_functions(blocks):
    noisy, labels = NOISY[:500], pd.DataFrame(LABELS[:500, :2], columns=["x", "y"])
    report = latent_report(
        noisy,
        labels,
        blocks=blocks,
        metrics=["mig", "sap", "modularity", "dci", "total_correlation"],
        n_permutations=1,
        n_bootstraps=3,
    )
    assert list(report.columns) == ["score", "low", "high", "chance"]
    score = report["score"]
    assert score["mig", ""] == pytest.approx(mig(noisy, labels, blocks=blocks))
    assert score["sap", ""] == pytest.approx(sap(noisy, labels, blocks=blocks))
    assert score["modularity", ""] == pytest.approx(modularity(noisy, labels, blocks=blocks))
    dependence = total_correlation(noisy, blocks=blocks)
    assert score["total_correlation", ""] == pytest.approx(dependence)
    for name, value in dci(noisy, labels, blocks=blocks)._asdict().items():
        assert score[name, ""] == pytest.approx(value)
    for metric in ("mig", "sap", "completeness", "informativeness"):
        assert score[metric].loc[["x", "y"]].mean() == pytest.approx(score[metric, ""])
    assert (report["low"] <= report["high"]).all()
    assert (report["low"] < report["high"]).sum() >= len(report) - 1  # modularity may stay 1
    assert np.isnan(report.loc[("total_correlation", ""), "chance"])
    for metric in ("mig", "sap", "disentanglement", "informativeness"):
        assert report.loc[(metric, ""), "chance"] < score[metric, ""] / 2 + 0.2


def test_reports_are_repeatable():
    first, second = (latent_report(NOISY[:300], LABELS[:300], n_bootstraps=5) for _ in "ab")
    pd.testing.assert_frame_equal(first, second)


def test_chance_is_what_meaningless_labels_score():
    few = slice(0, 100)  # so few rows that bins alone give a bias
    shuffled = [
        mutual_information(NOISY[few], np.random.default_rng(s).permutation(LABELS[few]))
        for s in range(40)
    ]
    assert np.mean(shuffled) > 0.1
    scores = [mig(NOISY[few], np.random.default_rng(s).permutation(LABELS[few])) for s in range(40)]
    report = latent_report(NOISY[few], LABELS[few], n_permutations=40, metrics=["mig"])
    assert report.loc[("mig", ""), "chance"] == pytest.approx(np.mean(scores), rel=0.2)


def test_without_permutations_and_bootstraps():
    report = latent_report(NOISY, LABELS, n_permutations=0, n_bootstraps=0)
    assert report["score"].notna().all()
    assert report[["low", "high", "chance"]].isna().all(axis=None)


def test_bootstrap_intervals_hold_the_expected_score():
    def draw(seed):
        rng = np.random.default_rng(seed)
        labels = rng.integers(3, size=(300, 2))
        noise = rng.normal(size=(300, 6))
        noise[:, :2] += labels
        return noise, labels

    expected = np.mean([mig(*draw(s)) for s in range(300)])
    inside = []
    for s in range(100):
        options = {"metrics": ["mig"], "n_permutations": 0, "confidence": 0.8}
        row = latent_report(*draw(1000 + s), **options).loc[("mig", "")]
        inside.append(row["low"] <= expected <= row["high"])
        assert row["low"] < row["score"] < row["high"]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize("blocks", [None, [[0, 3], [1, 4]]])
def test_rows_of_a_group_are_resampled_together(blocks):
    repeated = np.repeat(np.arange(150), 16)  # as overlapping windows, nearly the same
    Z, labels = NOISY[repeated], LABELS[repeated, 0]
    options = {"blocks": blocks, "n_permutations": 0, "n_bootstraps": 300}
    options["metrics"] = ["mig", "sap", "total_correlation"]
    rows = latent_report(Z, labels, **options)
    groups = latent_report(Z, labels, groups=repeated.astype(str), **options)
    ratio = (groups["high"] - groups["low"]) / (rows["high"] - rows["low"])
    np.testing.assert_allclose(ratio, 4, rtol=0.4)  # the root of 16


@pytest.mark.parametrize("metrics", [["mig", "sap", "modularity"], ["dci"]])
def test_resamples_have_labels_of_each_factor(metrics):
    day = np.arange(300) // 10
    labels = np.where((day % 15 == 0)[:, None], LABELS[:300], -1)  # known on 2 of 30 days
    report = latent_report(NOISY[:300], labels, metrics=metrics, groups=day, n_bootstraps=20)
    assert np.isfinite(report).all(axis=None)


def test_a_resample_whose_labels_are_all_held_out():
    labels = np.full((400, 2), -1)
    labels[[10, 20, 30, 40]] = [[0, 0], [0, 1], [1, 0], [1, 1]]
    report = latent_report(NOISY[:400], labels, metrics=["dci"], n_bootstraps=20)
    assert np.isfinite(report).all(axis=None)


def test_an_infinite_resample_leaves_no_interval():
    Z = np.random.default_rng(0).normal(size=(40, 30))
    report = latent_report(Z, LABELS[:40], metrics=["total_correlation"], n_permutations=0)
    assert np.isfinite(report.score).all()
    assert report[["low", "high"]].isna().all(axis=None)


def test_weights_of_rows_reach_the_forests():
    z = np.random.default_rng(4).normal(size=(800, 2))
    even = np.arange(800) % 2 == 0
    y = np.where(even, z[:, 0], z[:, 1]) > 0  # told by the first column in every other row
    latents = read_latents(z, y, None, -1)
    importance, accuracy = importances(latents, latents.codes, None, 0)
    np.testing.assert_allclose(importance[:, 0] / importance.sum(), 0.5, atol=0.1)
    assert accuracy[0] == pytest.approx(0.75, abs=0.05)
    importance, accuracy = importances(latents, latents.codes, np.where(even, 50, 1), 0)
    assert importance[0, 0] / importance.sum() > 0.9
    assert accuracy[0] > 0.95


def test_scores_of_a_fitted_model():
    t = np.arange(1500)
    rng = np.random.default_rng(0)
    index = pd.date_range("2024", periods=1500, freq="h")
    load = pd.DataFrame({"load": np.sin(2 * np.pi * t / 24) + 0.1 * rng.normal(size=1500)}, index)
    w = sliding_windows(load, 24, 6, marginals=["hour"])
    model = DeepDIVEForecaster(
        marginal_dim=2, conditional_dim=4, hidden_dim=16, max_epochs=15, random_state=0
    ).set_output(transform="pandas")
    Z = model.fit(w.X, w.y, marginals=w.marginals).transform(w.X)
    blocks = latent_blocks(Z.columns)
    assert list(blocks) == ["marginal_hour", "conditional"]
    report = latent_report(
        Z, w.marginals, blocks=blocks, n_permutations=1, groups=w.origins.floor("D")
    )
    information = mutual_information(Z, w.marginals, blocks=blocks)["hour"]
    assert information["marginal_hour"] > 1
    gap = (information["marginal_hour"] - information["conditional"]) / np.log(24)
    assert report.loc[("mig", ""), "score"] == pytest.approx(abs(gap), abs=0.01)
