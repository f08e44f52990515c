"""DeepDIVE against its parts: the claim of the paper's ablation, on MotionSense.

100 -> 80 samples at 50 Hz, six channels, factors activity and subject: DeepDIVE against (a),
conditional latents only, and (b), marginal latents only, all with default parameters. Every
recording is split in time, 6:2:2: the second part is for early stopping, the third is scored. RRSE
is that of `skdive.metrics`, relative to the test mean of each step and channel, in original units.

    python benchmarks/motionsense_ablation.py --seeds 3
"""

import argparse

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_motionsense
from skdive.metrics import rrse

VARIANTS = {"DeepDIVE": {}, "(a) conditional": {}, "(b) marginal": {"conditional_dim": 0}}


def scores(variant, seed, train, valid, test):
    """RRSE of reconstruction and forecast, balanced accuracy of activity and subject."""
    labels = [None if variant.startswith("(a)") else part.marginals for part in (train, valid)]
    model = DeepDIVEForecaster(random_state=seed, **VARIANTS[variant])
    held_out = {"X_val": valid.X, "y_val": valid.y, "marginals_val": labels[1]}
    model.fit(train.X, train.y, labels[0], **held_out)
    row = [
        rrse(test.X, model.reconstruct(test.X)),
        rrse(test.y, model.predict(test.X)),
    ]
    if model.factor_names_:
        known, told = test.marginals.astype(str), model.predict_marginals(test.X).astype(str)
        row += [balanced_accuracy_score(known.iloc[:, f], told[:, f]) for f in range(2)]
    return row


def main():
    """Print a row for each variant and seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    frame = load_motionsense(as_frame=True).frame
    w = sliding_windows(frame, 100, 80, stride=10, marginals=["activity", "subject"])
    parts = w.split_fractions(6, 2, 2)
    print(f"{'':16} seed  RRSE x  RRSE y  activity  subject")
    for variant in VARIANTS:
        rows = [scores(variant, seed, *parts) for seed in seeds]
        for label, row in [*enumerate(rows), ("mean", np.mean(rows, axis=0))]:
            print(f"{variant:16} {label!s:4}", *(f"{value:7.4f}" for value in row), flush=True)


if __name__ == "__main__":
    main()
