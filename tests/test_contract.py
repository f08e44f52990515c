"""What the estimators promise to their users."""

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdive import DeepDIVEEncoder, DeepDIVEForecaster, Windows, sliding_windows

SMALL = {"hidden_dim": 16, "marginal_dim": 2, "conditional_dim": 4, "max_epochs": 2}


def forecaster(**options):
    return DeepDIVEForecaster(**{**SMALL, "random_state": 0, **options})


@pytest.fixture(scope="module")
def w():
    """Two noisy channels with a daily cycle, float64."""
    rng = np.random.default_rng(0)
    t = np.arange(400)[:, None]
    values = np.sin(2 * np.pi * (t / 24 + [0, 0.2])) * [1, 3] + rng.normal(0, 0.1, (400, 2))
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    frame = pd.DataFrame(values, index=index, columns=["east", "west"])
    return sliding_windows(frame, 24, 6, marginals=["hour"], dtype=np.float64)


@pytest.fixture(scope="module")
def model(w):
    return forecaster().fit(w.X, w.y, marginals=w.marginals)


def test_names_and_shapes_of_the_embedding(model, w):
    names = ["marginal_hour_0", "marginal_hour_1", *(f"conditional_{j}" for j in range(4))]
    assert model.get_feature_names_out().tolist() == names
    assert model.transform(w.X).shape == (len(w), 6)
    assert model.prototypes_["hour"].shape == (24, 2)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames(model, w, kind):
    framed = copy.deepcopy(model).set_output(transform=kind)
    assert list(framed.transform(w.X).columns) == model.get_feature_names_out().tolist()
    forecast = framed.predict(w.X)
    assert list(forecast.columns)[:3] == ["east_1", "west_1", "east_2"]
    np.testing.assert_array_equal(np.asarray(forecast), model.predict(w.X))


def test_a_list_gives_a_frame_without_an_index():
    X = np.random.default_rng(0).normal(size=(20, 4)).tolist()
    model = forecaster().set_output(transform="pandas").fit(X, [row[:2] for row in X])
    assert model.predict(X[:3]).index.tolist() == [0, 1, 2]


def test_validation_windows_are_of_the_dtype_of_the_fit(w):
    X, y = np.asarray(w.X), np.asarray(w.y).reshape(len(w), 6, 2)
    single = X.astype(np.float32), y.astype(np.float32)
    for train, valid in [((X, y), single), (single, (X, y))]:
        model = forecaster().fit(*train, X_val=valid[0][-50:], y_val=valid[1][-50:])
        assert model.predict(valid[0]).dtype == valid[0].dtype


def test_futures_in_the_layout_of_a_forecast(model, w):
    """Of windows: as `predict` returns them, and as `np.asarray` gives them."""
    flat = np.asarray(w.y)
    np.testing.assert_array_equal(model.score_samples(w.X, flat), model.score_samples(w.X, w.y))
    assert model.score(w.X, flat) == pytest.approx(model.score(w.X, w.y))
    other = forecaster().fit(w.X, w.y, w.marginals, X_val=w.X, y_val=flat)
    np.testing.assert_array_equal(
        other.predict(w.X),
        forecaster().fit(w.X, w.y, w.marginals, X_val=w.X, y_val=w.y).predict(w.X),
    )


def test_the_score_of_futures_with_three_dimensions(w):
    X, y = np.asarray(w.X), np.asarray(w.y).reshape(len(w), 6, 2)
    model = forecaster().fit(X, y)
    expected = r2_score(y.reshape(len(y), -1), model.predict(X).reshape(len(y), -1))
    assert model.score(X, y) == pytest.approx(expected)
    with pytest.raises(ValueError, match="2 steps of 6 targets, but 6 steps of 2 targets"):
        model.score(X, y.swapaxes(1, 2))
    assert np.isfinite(cross_val_score(forecaster(), X, y, cv=2)).all()


def test_copies_predict_the_same(model, w):
    expected = model.predict(w.X[:5])
    file = io.BytesIO()
    joblib.dump(model, file)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(file)):
        np.testing.assert_array_equal(other.predict(w.X[:5]), expected)
    again = clone(model).fit(w.X, w.y, marginals=w.marginals)
    np.testing.assert_array_equal(again.predict(w.X[:5]), expected)


def test_every_form_of_X_and_y_gives_the_same_model(w):
    X, Y = np.asarray(w.X), np.asarray(w.y).reshape(len(w), 6, 2)
    rows = X.reshape(len(X), -1)
    first = forecaster(early_stopping=False).fit(X, Y)
    expected = first.predict(X)
    assert expected.shape == (len(w), 6, 2)
    for same in (rows, pd.DataFrame(rows).add_prefix("f")):
        other = forecaster(early_stopping=False, n_channels=2).fit(same, Y)
        np.testing.assert_allclose(other.predict(same), expected)


@pytest.mark.parametrize("shape", [(), (6,), (6, 2)])
def test_predict_looks_like_y(w, shape):
    Y = np.asarray(w.y).reshape(len(w), 6, 2)
    y = {(): Y[:, 0, 0], (6,): Y[..., 0], (6, 2): Y}[shape]
    assert forecaster().fit(w.X, y).predict(w.X[:7]).shape == (7, *shape)


def test_a_lone_target_continues_its_channel(w):
    """The ridge start alone forecasts it well, given that it continues the right channel."""
    west = np.asarray(w.y).reshape(len(w), 6, 2)[..., 1]
    assert forecaster().fit(np.asarray(w.X), west).score(np.asarray(w.X), west) > 0.9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_X(w, dtype):
    X, y = np.asarray(w.X, dtype=dtype), np.asarray(w.y)
    fitted = forecaster().fit(X, y)
    for out in (fitted.predict(X), fitted.transform(X), fitted.reconstruct(X)):
        assert out.dtype == dtype


SCALES = [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e3), (1e6, -1e7), (1.0, 1e9)]


@pytest.mark.parametrize(("factor", "shift"), SCALES)
def test_units_do_not_matter(model, w, factor, shift):
    other = sliding_windows(w.X.base * factor + shift, 24, 6, dtype=np.float64)
    fitted = forecaster().fit(other.X, other.y, marginals=w.marginals)
    forecast = (fitted.predict(other.X) - shift) / factor
    np.testing.assert_allclose(forecast, model.predict(w.X), rtol=1e-4, atol=1e-4)


def test_marginals_can_be_told(model, w):
    inferred = model.predict(w.X)
    for unknown in (np.full(len(w), -1), [None] * len(w), np.full(len(w), np.nan)):
        np.testing.assert_array_equal(model.predict(w.X, marginals=unknown), inferred)
    told = model.predict(w.X, marginals=w.marginals)
    assert np.abs(told - inferred).max() > 0
    with pytest.warns(UserWarning, match="hour.*99"):
        unseen = model.predict(w.X, marginals=np.full(len(w), 99))
    np.testing.assert_array_equal(unseen, inferred)


def test_prediction_of_marginals(model, w):
    (probabilities,) = model.predict_marginals_proba(w.X)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    labels = model.predict_marginals(w.X)
    assert labels.shape == (len(w), 1)
    np.testing.assert_array_equal(labels[:, 0], model.classes_[0][probabilities.argmax(1)])


def test_the_reconstruction_is_the_decoded_embedding(model, w):
    np.testing.assert_allclose(
        model.inverse_transform(model.transform(w.X)), model.reconstruct(w.X), atol=1e-10
    )


def test_the_bound_adds_up_and_notices_anomalies(model, w):
    terms = model.score_samples(w.X, w.y, return_terms=True)
    total = terms.pop("elbo")
    assert set(terms) == {"reconstruction", "forecast", "kl_marginal", "kl_conditional"}
    np.testing.assert_allclose(sum(terms.values()), total)
    np.testing.assert_allclose(model.score_samples(w.X), total - terms["forecast"])
    X = np.asarray(w.X)
    for anomalous in (X + 20, X * 20):
        assert model.score_samples(anomalous).max() < model.score_samples(X).min()


def test_variants_of_the_paper(w):
    conditional = forecaster().fit(w.X, w.y)
    assert conditional.transform(w.X).shape == (len(w), 4)
    with pytest.raises(ValueError, match="without marginals"):
        conditional.predict_marginals(w.X)
    marginal = forecaster(conditional_dim=0).fit(w.X, w.y, marginals=w.marginals)
    assert marginal.transform(w.X).shape == (len(w), 2)


def test_partly_labelled_windows_are_enough():
    rng = np.random.default_rng(0)
    fast = rng.integers(0, 2, 400)
    phase = rng.uniform(0, 6, 400)
    X = np.sin(np.outer(0.3 + 0.4 * fast, np.arange(30)) + phase[:, None])
    labels = np.where(rng.random(400) < 0.3, np.array(["slow", "fast"])[fast], None)
    encoder = DeepDIVEEncoder(random_state=0, lr=0.01).fit(X, labels)
    assert np.mean(encoder.predict_marginals(X)[:, 0] == np.array(["slow", "fast"])[fast]) > 0.95


def test_the_encoder_in_a_pipeline(w):
    day = (w.marginals["hour"] >= 12).to_numpy()
    encoder = DeepDIVEEncoder(random_state=0, lr=0.01, hidden_dim=32)
    pipeline = make_pipeline(encoder, LogisticRegression())
    assert pipeline.fit(w.X[:250], day[:250]).score(w.X[300:], day[300:]) > 0.9


def test_the_encoder_can_forecast_the_end_of_its_windows(w):
    encoder = DeepDIVEEncoder(**SMALL, horizon=6, random_state=0).fit(w.X, w.marginals)
    assert encoder.reconstruct(w.X).shape == w.X.shape
    assert encoder.inverse_transform(encoder.transform(w.X)).shape == (len(w), 18, 2)
    assert "train_forecast" in encoder.net_.history[-1]
    embedding = encoder.transform(w.X)
    np.testing.assert_array_equal(encoder.set_params(horizon=2).transform(w.X), embedding)
    flat = np.asarray(w.X).reshape(len(w), -1)
    encoder = DeepDIVEEncoder(**SMALL, horizon=6, n_channels=2).fit(flat)
    for X in (flat, flat.tolist(), w.X):
        assert encoder.reconstruct(X).shape == np.shape(X)
    with pytest.raises(ValueError, match="horizon must be less than the 24 steps"):
        DeepDIVEEncoder(horizon=24).fit(w.X)


def test_futures_may_begin_within_the_window(w):
    y = w.X.steps(4, 7)
    model = forecaster(max_epochs=1).fit(w.X, y)
    assert model.predict(w.X).shape == (len(w), 6)
    assert np.isfinite(model.score(w.X, y))
    values = np.concatenate([w.X[0], np.asarray(w.X)[1:, -1], np.zeros((6, 2))])
    values[len(w) - round(0.1 * len(w)) :] *= 3  # in the held-out windows alone
    other = sliding_windows(values, 24, 6, dtype=np.float64).X
    again = forecaster(max_epochs=1).fit(other, other.steps(4, 7))
    losses = [fitted.net_.history[0, "train_loss"] for fitted in (model, again)]
    assert losses[0] == losses[1]


def test_validation_data(w):
    train, valid = w.split_at("2024-01-12")
    fitted = forecaster(max_epochs=1).fit(train.X, train.y, X_val=valid.X, y_val=valid.y)
    # The windows passed are those that are scored: futures in reverse order fit worse.
    worse = forecaster(max_epochs=1).fit(train.X, train.y, X_val=valid.X, y_val=valid.y[::-1])
    assert fitted.net_.history[0, "valid_forecast"] < worse.net_.history[0, "valid_forecast"]
    assert "valid_loss" not in forecaster(early_stopping=False).fit(w.X, w.y).net_.history[-1]


def test_validation_labels(w):
    valid = {"X_val": w.X[300:], "y_val": w.y[300:]}
    labels = w.marginals[:200]
    unknown = forecaster(max_epochs=1).fit(w.X[:200], w.y[:200], labels, **valid)
    known = forecaster(max_epochs=1)
    known.fit(w.X[:200], w.y[:200], labels, **valid, marginals_val=w.marginals[300:])
    assert unknown.net_.history[0, "valid_cross_entropy"] == 0
    (probabilities,) = known.predict_marginals_proba(w.X[300:])
    hours = w.marginals["hour"].to_numpy()[300:]
    cross_entropy = -np.log(probabilities[np.arange(len(hours)), hours]).mean()
    assert known.net_.history[0, "valid_cross_entropy"] == pytest.approx(cross_entropy)


def test_random_state(w):
    one, same, other = (forecaster(random_state=s).fit(w.X, w.y).predict(w.X) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0


class NeverMaterialised(Windows):
    """Windows that must stay lazy."""

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("materialised")


def test_a_search_never_materialises_X(w):
    X = NeverMaterialised(w.X.base, w.X.starts, w.X.length, names=w.X.names)
    folds = TimeSeriesSplit(3, gap=w.embargo)
    search = GridSearchCV(forecaster(), {"beta": [0.1, 1.0]}, cv=folds, n_jobs=2)
    search.fit(X, w.y, marginals=w.marginals)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    sent = len(pickle.dumps((w.X, w.y)))
    assert sent < w.X.base.nbytes + 2 * w.X.starts.nbytes + 2000 < w.X.nbytes / 5


def test_metadata_routing(w):
    with config_context(enable_metadata_routing=True):
        step = forecaster().set_fit_request(marginals=True, X_val=True, y_val=True)
        step.set_predict_request(marginals=True)
        X, X_val = (np.asarray(x).reshape(len(x), -1) for x in (w.X, w.X[:50]))
        pipeline = make_pipeline(
            FunctionTransformer(lambda x: 2 * x), step.set_params(n_channels=2),
            transform_input=["X_val"],
        )  # fmt: skip
        y = np.asarray(w.y)
        pipeline.fit(X, y, marginals=w.marginals, X_val=X_val, y_val=y[:50])
        fitted = pipeline[-1]
        assert fitted.factor_names_ == ("hour",)
        assert "valid_forecast" in fitted.net_.history[-1]
        inferred = pipeline.predict(X)
        told = pipeline.predict(X, marginals=w.marginals)
        assert np.abs(told - inferred).max() > 0


class Recorder:
    """A callback of scikit-learn that counts epochs, and may stop."""

    def __init__(self, stop_after=None):
        self.stop_after, self.epochs = stop_after, 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.epochs += 1
            return self.epochs == self.stop_after
        return False


def test_callbacks_of_scikit_learn(w):
    callback = pytest.importorskip("sklearn.callback")
    counted = Recorder()
    forecaster(max_epochs=3).set_callbacks(counted).fit(w.X, w.y)
    assert counted.epochs == 3
    stopping = Recorder(stop_after=2)
    assert forecaster(max_epochs=5).set_callbacks(stopping).fit(w.X, w.y).n_iter_ == 2
    search = GridSearchCV(forecaster(max_epochs=1), {"beta": [0.1, 1.0]}, cv=TimeSeriesSplit(2))
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=2)).fit(w.X, w.y)
    assert search.best_estimator_.n_iter_ == 1


def test_not_fitted(w):
    with pytest.raises(NotFittedError):
        DeepDIVEForecaster().predict(w.X)
