import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.preprocessing import KBinsDiscretizer, LabelEncoder

from skdive.factors import FactorCodec

FRAME = pd.DataFrame(
    {
        "hour": [6, 7, 8, 6],
        "zone": ["west", "east", "east", "west"],
        "open": [True, False, False, True],
    }
)
CODES = np.array([[0, 1, 1], [1, 0, 0], [2, 0, 0], [0, 1, 1]])

# ---------------------------------------------------------------------------------------------
# Values


@pytest.mark.parametrize(
    "marginals",
    [
        FRAME,
        FRAME.astype(object),
        FRAME.astype("category"),
        FRAME.convert_dtypes(),
        FRAME.to_numpy(),
        FRAME.to_numpy().tolist(),
        FRAME.set_axis([3, 3, 1, 1]),
    ],
    ids=["frame", "objects", "categories", "nullable", "array", "list", "index"],
)
def test_codes_of_several_factors_each_of_its_own_type(marginals):
    codec = FactorCodec()
    codes = codec.fit_transform(marginals)
    assert codes.dtype == np.int64
    assert_array_equal(codes, CODES)
    is_frame = isinstance(marginals, pd.DataFrame)
    assert codec.names_ == (
        ("hour", "zone", "open") if is_frame else ("factor0", "factor1", "factor2")
    )
    assert [c.tolist() for c in codec.classes_] == [[6, 7, 8], ["east", "west"], [False, True]]
    assert [c.dtype.kind for c in codec.classes_] == ["i", "O", "b"]
    for prior, expected in zip(
        codec.priors_, [[0.5, 0.25, 0.25], [0.5] * 2, [0.5] * 2], strict=True
    ):
        assert prior.dtype == np.float64
        assert_array_equal(prior, expected)
    labels = codec.inverse_transform(codes)
    assert labels.dtype == object
    assert_array_equal(labels, FRAME.to_numpy())
    assert [type(label) for label in labels[0]] == [int, str, bool]


def test_codes_of_polars_frames_and_series():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"hour": [6, None, 8, 6], "zone": ["b", "a", None, "a"]})
    codec = FactorCodec()
    assert_array_equal(codec.fit_transform(frame), [[0, 1], [-1, 0], [1, -1], [0, 0]])
    assert codec.names_ == ("hour", "zone")
    assert codec.classes_[0].dtype == np.int64
    assert_array_equal(codec.fit_transform(frame["hour"]), [[0], [-1], [1], [0]])
    assert codec.names_ == ("hour",)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ([3, 1, 3], "factor0"),
        (np.array([3, 1, 3], dtype=np.uint8), "factor0"),
        (np.array(["b", "a", "b"]), "factor0"),
        (["b", "a", "b"], "factor0"),
        (np.array([True, False, True]), "factor0"),
        (np.array([2.0, 0.0, 2.0]), "factor0"),
        (pd.Series([3, 1, 3], name="day"), "day"),
        (pd.Series([3, 1, 3]), "factor0"),
        (pd.Series([3, 1, 3], name=0), "0"),
        (pd.Categorical(["b", "a", "b"]), "factor0"),
        (pd.Index([3, 1, 3], name="day"), "day"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_factor_and_its_name(labels, name):
    codec = FactorCodec()
    codes = codec.fit_transform(labels, n_samples=3)
    assert_array_equal(codes, [[1], [0], [1]])
    assert codec.names_ == (name,)
    back = codec.inverse_transform(codes)
    assert_array_equal(back.ravel(), np.asarray(labels))
    if isinstance(labels, np.ndarray):
        assert back.dtype == labels.dtype


@settings(deadline=None)
@given(
    labels=st.one_of(
        st.lists(st.integers(0, 5), min_size=2), st.lists(st.text("abcé", max_size=2), min_size=2)
    ).filter(lambda labels: len(set(labels)) > 1),
    data=st.data(),
)
def test_codes_are_those_of_label_encoder_and_unknown_labels_change_nothing_else(labels, data):
    codec = FactorCodec()
    codes = codec.fit_transform(labels)[:, 0]
    encoder = LabelEncoder()
    assert_array_equal(codes, encoder.fit_transform(labels))
    assert_array_equal(codec.classes_[0], encoder.classes_)
    np.testing.assert_allclose(codec.priors_[0], np.bincount(codes) / len(codes))

    holes = data.draw(st.lists(st.integers(0, len(labels)), max_size=4))
    unknown = data.draw(st.sampled_from([None, -1, np.nan]))
    mixed, expected = list(labels), codes.tolist()
    for place in holes:
        mixed.insert(place, unknown)
        expected.insert(place, -1)
    partly = FactorCodec()
    assert_array_equal(partly.fit_transform(mixed)[:, 0], expected)
    assert partly.classes_[0].tolist() == codec.classes_[0].tolist()
    assert_array_equal(partly.priors_[0], codec.priors_[0])
    assert_array_equal(codec.transform(mixed)[:, 0], expected)


@pytest.mark.parametrize(
    ("labels", "missing_label"),
    [
        ([1, -1, 2], -1),
        ([1, None, 2], -1),
        ([1, np.nan, 2], -1),
        (["a", "?", "b"], "?"),
        (np.array(["a", "?", "b"]), "?"),
        ([-1, 7, 0], 7),
        ([-1, None, 0], None),
        (np.array([-1, np.nan, 0]), np.nan),
        (pd.Series([1, None, 2], dtype="Int64"), -1),
        (pd.Series([1, -1, None, 2], dtype="Int64").drop(2), -1),
        (pd.Categorical(["a", None, "b"]), -1),
        (pd.Series(["a", None, "b"], dtype="str"), -1),
        (pd.Series([True, None, False], dtype="boolean"), -1),
        (np.array([False, -1, True], dtype=object), -1),
    ],
    ids=repr,
)
def test_what_counts_as_unknown(labels, missing_label):
    codec = FactorCodec()
    codes = codec.fit_transform(labels, missing_label=missing_label)
    assert_array_equal(codes[:, 0] == -1, [False, True, False])
    assert len(codec.classes_[0]) == 2
    assert_array_equal(codec.priors_[0], [0.5, 0.5])


@pytest.mark.parametrize(
    ("labels", "missing_label", "dtype", "unknown"),
    [
        ([1, 2], -1, np.int64, -1),
        (np.array([1, 2], dtype=np.uint8), -1, np.int64, -1),
        ([1, 2], None, object, None),
        ([1, 2], np.nan, object, None),
        ([1.0, 2.0], -1, np.float64, -1.0),
        (np.array(["a", "b"]), "none", "<U4", "none"),
        (np.array(["a", "b"]), -1, object, None),
        (["a", "b"], -1, object, None),
        ([True, False], -1, object, None),
    ],
    ids=repr,
)
def test_unknown_codes_become_the_missing_label_or_none(labels, missing_label, dtype, unknown):
    codec = FactorCodec().fit(labels, missing_label=missing_label)
    known = codec.inverse_transform([[1], [0]])
    assert known.tolist() == [[max(labels)], [min(labels)]]
    some = codec.inverse_transform([[1], [-1]])
    assert some.dtype == dtype
    assert some.tolist() == [[max(labels)], [unknown]]


def test_factors_of_one_type_keep_it():
    codec = FactorCodec().fit(np.array([["a", "x"], ["b", "long"]]))
    assert codec.inverse_transform([[0, 0]]).dtype == "<U4"
    codec = FactorCodec().fit(pd.DataFrame({"a": np.int8([1, 2]), "b": [1000, 2000]}))
    assert_array_equal(codec.inverse_transform([[1, 1], [0, 0]]), [[2, 2000], [1, 1000]])
    assert codec.inverse_transform(np.empty((0, 2), dtype=int)).shape == (0, 2)


def test_named_columns_are_put_in_order_and_others_go_by_position():
    codec = FactorCodec().fit(FRAME)
    assert_array_equal(codec.transform(FRAME[["open", "hour", "zone"]]), CODES)
    assert_array_equal(codec.transform(FRAME.to_numpy()), CODES)
    unnamed = FactorCodec().fit(FRAME.to_numpy())
    assert_array_equal(unnamed.transform(FRAME), CODES)


def test_int_labels_and_whole_floats_are_the_same_classes():
    codec = FactorCodec().fit([0, 1, 2])
    assert_array_equal(codec.transform(np.array([2.0, np.nan, 0.0]))[:, 0], [2, -1, 0])
    assert_array_equal(codec.transform([2, None, 0])[:, 0], [2, -1, 0])


def test_ints_are_always_labels_and_binned_floats_too():
    values = np.arange(500)
    assert len(FactorCodec().fit(values).classes_[0]) == 500
    binned = KBinsDiscretizer(8, encode="ordinal", quantile_method="averaged_inverted_cdf")
    codec = FactorCodec().fit(binned.fit_transform(np.random.default_rng(0).normal(size=(500, 1))))
    assert_array_equal(codec.classes_[0], np.arange(8.0))


def test_classes_not_seen_in_fit_are_unknown_and_named_once():
    codec = FactorCodec().fit(FRAME)
    new = FRAME.assign(hour=[6, 99, 98, 99], zone=["east", "north", "west", None])
    with pytest.warns(UserWarning, match=r"'hour': 99, 98; 'zone': 'north'\.$") as record:
        codes = codec.transform(new)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert_array_equal(codes[:, :2], [[0, 0], [-1, -1], [-1, 1], [-1, -1]])
    codec = FactorCodec().fit([0, 1])
    with pytest.warns(UserWarning, match=r"'factor0': 2, 3, 4, 5, 6, \.\.\.\.$"):
        assert (codec.transform(np.arange(2, 50)) == -1).all()
    with pytest.warns(UserWarning, match="'factor0': 'a'"):
        assert_array_equal(codec.transform(["a", 1])[:, 0], [-1, 1])


def test_a_codec_pickles():
    codec = pickle.loads(pickle.dumps(FactorCodec().fit(FRAME)))
    assert_array_equal(codec.transform(FRAME), CODES)


# ---------------------------------------------------------------------------------------------
# Errors


class Sparse:
    def tocsr(self):
        """Only sparse matrices have this."""


rng = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("marginals", "kwargs", "error", "message"),
    [
        ([1, 2, 1], {"n_samples": 4}, ValueError, "3 rows, but there are 4 windows"),
        (
            np.zeros((2, 2, 2)),
            {},
            ValueError,
            r"\(n,\) or \(n, factors\), got ndarray of .*2, 2, 2",
        ),
        ({"hour": [1, 2]}, {}, ValueError, "got dict of shape"),
        (3, {}, ValueError, "got int of shape"),
        (None, {}, ValueError, "got NoneType of shape"),
        (np.zeros((3, 0)), {}, ValueError, "at least one factor"),
        (Sparse(), {}, TypeError, "sparse; pass a dense array"),
        (
            [-1, None, np.nan],
            {},
            ValueError,
            "'factor0' has no label at all.*1 labels equal missing",
        ),
        ([None, None], {}, ValueError, "'factor0' has no label at all, .* does not vary"),
        ([], {}, ValueError, "no label at all"),
        ([4, 4, None], {}, ValueError, r"'factor0' has 1 class \(4\), .* leave out a factor"),
        (
            [1, -1, 1, -1],
            {},
            ValueError,
            r"1 class \(1\), but .* 2 labels equal missing_label=-1 .* If -1 is a class, pass ",
        ),
        (FRAME.assign(zone="east"), {}, ValueError, r"factor 'zone' has 1 class \('east'\)"),
        (["a", "?"], {"missing_label": "?"}, ValueError, r"1 class \('a'\).*missing_label='\?'"),
        ([0.5, 1.0, 2.0], {}, ValueError, r"3 distinct floats, such as 0.5, .*\.KBinsDiscretizer"),
        ([0.0, np.inf], {}, ValueError, "such as inf"),
        (rng.normal(size=50), {}, ValueError, "'factor0' is continuous: 50 distinct .* 50 labels"),
        (
            np.arange(50.0),
            {},
            ValueError,
            "'factor0' is continuous: 50 distinct floats, such as 0,",
        ),
        ([1, "a", 2], {}, ValueError, "'factor0' mixes labels of several types"),
        (FRAME.set_axis(["a", "a", "b"], axis=1), {}, ValueError, r"same name: \['a', 'a', 'b'\]"),
        (FRAME.set_axis([1, "1", 2], axis=1), {}, ValueError, "same name"),
    ],
)
def test_fit_errors(marginals, kwargs, error, message):
    with pytest.raises(error, match=message):
        FactorCodec().fit(marginals, **kwargs)


def test_minus_one_can_be_a_class():
    assert_array_equal(FactorCodec().fit([1, -1], missing_label=None).classes_[0], [-1, 1])


@pytest.mark.parametrize(
    ("marginals", "kwargs", "message"),
    [
        (FRAME[["hour"]], {}, r"1 factors, but 3 were fitted: \['hour', 'zone', 'open'\]"),
        ([1, 2], {}, "1 factors, but 3"),
        (FRAME.rename(columns={"open": "shut"}), {}, r"\['hour', 'zone', 'shut'\], but those fitt"),
        (FRAME, {"n_samples": 5}, "4 rows, but there are 5 windows"),
    ],
)
def test_transform_errors(marginals, kwargs, message):
    codec = FactorCodec().fit(FRAME)
    with pytest.raises(ValueError, match=message):
        codec.transform(marginals, **kwargs)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([0, 1, 1], r"shape \(n, 3\), got \(3,\)"),
        ([[0, 1]], r"got \(1, 2\)"),
        ([[3, 0, 0]], r"n_classes \[3, 2, 2\], got 0 to 3"),
        ([[0, 0, -2]], "got -2 to 0"),
    ],
)
def test_inverse_transform_errors(codes, message):
    with pytest.raises(ValueError, match=message):
        FactorCodec().fit(FRAME).inverse_transform(codes)
