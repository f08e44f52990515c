import numpy as np
import pytest
from sklearn.metrics import r2_score

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.scoring import RunningR2

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_add_up_to_the_score_of_scikit_learn(offset, weighted):
    y_true = RNG.normal(size=(100, 3)) + offset
    y_pred = y_true + 0.5 * RNG.normal(size=(100, 3))
    y_true[:, 1] = 0  # a constant output counts 0 where it is missed ...
    y_true[:, 2] = y_pred[:, 2] = 7  # ... and 1 where it is met
    weight = RNG.random(100) if weighted else np.ones(100)
    r2 = RunningR2(centre=y_true.mean(0) + 0.1)
    for rows in (slice(0, 1), slice(1, 60), slice(60, 100)):
        r2.add(y_true[rows], y_pred[rows], weight[rows])

    assert r2.result() == pytest.approx(r2_score(y_true, y_pred, sample_weight=weight), abs=1e-9)


@pytest.mark.parametrize("targets", [None, [1]])
def test_windows_score_as_arrays_do(targets):
    series = RNG.normal(size=(120, 2)).cumsum(0)
    w = sliding_windows(series, 8, 3, targets=targets)
    model = DeepDIVEForecaster(hidden_dim=8, max_epochs=1, random_state=0).fit(w.X, w.y)
    y, weight = np.asarray(w.y), RNG.random(len(w))

    assert model.score(w.X, w.y) == pytest.approx(r2_score(y, model.predict(w.X)))
    expected = r2_score(y, model.predict(w.X), sample_weight=weight)
    assert model.score(w.X, w.y, sample_weight=weight) == pytest.approx(expected)
    assert model.score(w.X, w.y) == pytest.approx(model.score(w.X, y))
