"""Labels of windows and their integer codes: one factor per column, some labels unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skdive.warning import warn

__all__ = ["FactorCodec"]


class FactorCodec:
    """Translate labels, known or unknown, into integer codes per factor, and back.

    A factor is something known about each window, such as its hour or its machine. Its labels may
    be ints, strings or bools, each factor of its own type. A label is unknown if it equals
    `missing_label`, or is None or NaN; its code is -1.

    Attributes
    ----------
    names_ : tuple of str, length F
        Names of the factors: of the columns where there are any, else `factor0`, `factor1`, ...
    classes_ : list of F ndarrays of shape (n_classes,)
        The distinct known labels of each factor, sorted, in their own type. Code `k` is class `k`.
    priors_ : list of F ndarrays of float64, shape (n_classes,)
        Share of each class among the labelled windows.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdive.factors import FactorCodec
    >>> labels = pd.DataFrame({"hour": [6, 7, -1, 6], "zone": ["east", "west", "west", None]})
    >>> codec = FactorCodec().fit(labels)
    >>> codec.names_
    ('hour', 'zone')
    >>> codec.transform(labels)
    array([[ 0,  0],
           [ 1,  1],
           [-1,  1],
           [ 0, -1]])
    >>> codec.inverse_transform([[1, 0]])
    array([[7, 'east']], dtype=object)
    """

    names_: tuple[str, ...]
    classes_: list[np.ndarray]
    priors_: list[np.ndarray]

    def fit(
        self, marginals: Any, n_samples: int | None = None, missing_label: Any = -1
    ) -> FactorCodec:
        """Learn names, classes and priors.

        Parameters
        ----------
        marginals : array-like, Series or DataFrame of shape (n,) or (n, F)
            Labels; one column per factor.
        n_samples : int, default=None
            Rows that there must be; None does not check.
        missing_label : int, str, float or None, default=-1
            The label that means unknown, besides None and NaN.

        Returns
        -------
        self : FactorCodec

        Raises
        ------
        ValueError, TypeError
            If labels are sparse, of more than two dimensions, of another number of rows than
            `n_samples`, or continuous; or if a factor has no label or only one class.
        """
        columns, names = _columns(marginals, n_samples)
        self.missing_label_ = missing_label
        self._has_names = names is not None
        self.names_ = tuple(names or (f"factor{i}" for i in range(len(columns))))
        self.classes_, self.priors_ = [], []
        for name, column in zip(self.names_, columns, strict=True):
            known = _known_values(column, _unknown(column, missing_label))
            try:
                classes, counts = np.unique(known, return_counts=True)
            except TypeError as error:
                raise ValueError(
                    f"factor {name!r} mixes labels of several types; make them all ints or all "
                    "strings."
                ) from error
            if len(classes) < 2:
                raise ValueError(_too_few(name, classes, column, missing_label))
            _check_discrete(name, classes, len(known))
            self.classes_.append(classes)
            self.priors_.append(counts / len(known))
        return self

    def transform(self, marginals: Any, n_samples: int | None = None) -> np.ndarray:
        """Translate labels into codes.

        Parameters
        ----------
        marginals : array-like, Series or DataFrame of shape (n,) or (n, F)
            Labels; columns with names are put in the order of `fit`.
        n_samples : int, default=None
            Rows that there must be; None does not check.

        Returns
        -------
        codes : ndarray of int64, shape (n, F)
            -1 where a label is unknown.

        Raises
        ------
        ValueError, TypeError
            If the number or the names of the factors are not those of `fit`, or as in `fit`.

        Warns
        -----
        UserWarning
            If a class was not seen in `fit`; it is taken as unknown.
        """
        columns, names = _columns(marginals, n_samples)
        if len(columns) != len(self.names_):
            raise ValueError(
                f"marginals has {len(columns)} factors, but {len(self.names_)} were fitted: "
                f"{list(self.names_)}. Give each of them, as missing_label where it is unknown."
            )
        if names is not None and self._has_names:
            if set(names) != set(self.names_):
                raise ValueError(
                    f"marginals has factors {names}, but those fitted are {list(self.names_)}."
                )
            columns = [columns[names.index(name)] for name in self.names_]

        codes = np.full((len(columns[0]), len(columns)), -1, dtype=np.int64)
        unseen = []
        for f, (column, classes) in enumerate(zip(columns, self.classes_, strict=True)):
            unknown = _unknown(column, self.missing_label_)
            known = _known_values(column, unknown)
            found = pd.Index(classes).get_indexer(pd.Index(known))
            codes[~unknown, f] = found
            if (found < 0).any():
                labels = list(dict.fromkeys(known[found < 0].tolist()))
                more = ", ..." if len(labels) > 5 else ""
                unseen.append(f"{self.names_[f]!r}: {', '.join(map(repr, labels[:5]))}{more}")
        if unseen:
            warn(
                f"classes not seen in fit are taken as unknown: {'; '.join(unseen)}.",
            )
        return codes

    def fit_transform(
        self, marginals: Any, n_samples: int | None = None, missing_label: Any = -1
    ) -> np.ndarray:
        """Fit, and translate the same labels; see `fit` and `transform`."""
        return self.fit(marginals, n_samples, missing_label).transform(marginals)

    def inverse_transform(self, codes: Any) -> np.ndarray:
        """Translate codes into labels.

        Parameters
        ----------
        codes : array-like of int, shape (n, F)
            Codes; -1 is unknown.

        Returns
        -------
        labels : ndarray of shape (n, F)
            In the type of the labels if all factors share one, else of dtype object. What is
            unknown is `missing_label`, or None where that is not of their type.

        Raises
        ------
        ValueError
            If `codes` has another shape or holds a code that no class has.
        """
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] != len(self.classes_):
            raise ValueError(f"codes must have shape (n, {len(self.classes_)}), got {codes.shape}.")
        dtypes = [classes.dtype for classes in self.classes_]
        shared = len({dtype.kind for dtype in dtypes}) == 1
        dtype = np.result_type(*dtypes) if shared else np.dtype(object)
        if codes.size and not (codes.min() >= -1 and (codes.max(axis=0) < self._n_classes).all()):
            raise ValueError(
                f"codes must lie in -1 ... n_classes - 1, for n_classes {self._n_classes}, got "
                f"{codes.min()} to {codes.max()}."
            )
        labels = np.empty(codes.shape, dtype=dtype)
        for f, classes in enumerate(self.classes_):
            labels[:, f] = classes[codes[:, f]]
        unknown = codes == -1
        if unknown.any():
            missing = np.asarray(self.missing_label_)
            fits = {"i": "iu", "u": "iu", "f": "iuf", "U": "U"}.get(dtype.kind, "")
            if missing.dtype.kind in fits:
                labels = labels.astype(np.result_type(dtype, missing.dtype))
                labels[unknown] = missing
            else:
                labels = labels.astype(object)
                labels[unknown] = None
        return labels

    @property
    def _n_classes(self) -> list[int]:
        return [len(classes) for classes in self.classes_]


def _columns(marginals: Any, n_samples: int | None) -> tuple[list, list[str] | None]:
    """Take labels apart into columns, and the names that they came with."""
    names: list | None = None
    columns: list
    if hasattr(marginals, "tocsr"):
        raise TypeError("marginals is sparse; pass a dense array, such as marginals.toarray().")
    if isinstance(marginals, pd.DataFrame):
        columns = [marginals.iloc[:, i] for i in range(marginals.shape[1])]
        names = list(marginals.columns)
    elif isinstance(marginals, pd.Series):
        columns, names = [marginals], [marginals.name]
    elif hasattr(marginals, "get_columns"):  # a frame of polars
        columns = [_objects(column.to_list()) for column in marginals.get_columns()]
        names = list(marginals.columns)
    elif hasattr(marginals, "to_list"):  # a Series of polars, a Categorical, an Index
        columns, names = [_objects(marginals.to_list())], [getattr(marginals, "name", None)]
    else:
        # As objects, because NumPy would turn the ints of [[1, "a"], [2, "b"]] into strings.
        array = marginals if isinstance(marginals, np.ndarray) else _objects(marginals)
        if array.ndim not in (1, 2):
            raise ValueError(
                "marginals must have shape (n,) or (n, factors), got "
                f"{type(marginals).__name__} of shape {array.shape}."
            )
        columns = [array] if array.ndim == 1 else list(array.T)
    if not columns:
        raise ValueError("marginals has no column: expected at least one factor.")
    if n_samples is not None and len(columns[0]) != n_samples:
        raise ValueError(
            f"marginals has {len(columns[0])} rows, but there are {n_samples} windows."
        )
    if names in (None, [None]):
        return columns, None
    names = [str(name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f"marginals has factors of the same name: {names}.")
    return columns, names


def _objects(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=object)


def _is_missing_label(column: Any, missing_label: Any) -> np.ndarray:
    if pd.isna(missing_label):
        return np.zeros(len(column), dtype=bool)
    return (pd.Series(column) == missing_label).to_numpy(dtype=bool, na_value=False)


def _unknown(column: Any, missing_label: Any) -> np.ndarray:
    return np.asarray(pd.isna(column)) | _is_missing_label(column, missing_label)


def _known_values(column: Any, unknown: np.ndarray) -> np.ndarray:
    """Return the known labels, ints as ints even where they came among objects."""
    values = np.asarray(column[~unknown])
    if values.dtype == object:
        values = np.asarray(pd.Series(values, dtype=object).infer_objects())
    return values


def _too_few(name: str, classes: np.ndarray, column: Any, missing_label: Any) -> str:
    """Say why a factor has fewer than two classes."""
    found = f"1 class ({classes.tolist()[0]!r})" if len(classes) else "no label at all"
    n_dropped = _is_missing_label(column, missing_label).sum()
    if n_dropped:
        why = (
            f"{n_dropped} labels equal missing_label={missing_label!r} and are read as unknown. If "
            f"{missing_label!r} is a class, pass a different missing_label, such as None"
        )
    else:
        why = "leave out a factor that does not vary"
    return f"factor {name!r} has {found}, but at least 2 classes are needed: {why}."


def _check_discrete(name: str, classes: np.ndarray, n_labels: int) -> None:
    """Refuse floats that are measurements rather than classes."""
    if classes.dtype.kind != "f":
        return
    is_whole = np.isfinite(classes) & (classes == np.rint(classes))
    if is_whole.all() and len(classes) <= max(20, n_labels // 2):
        return
    example = classes[~is_whole][0] if not is_whole.all() else classes[0]
    raise ValueError(
        f"factor {name!r} is continuous: {len(classes)} distinct floats, such as {example:g}, "
        f"among {n_labels} labels. Bin them, for example with "
        "sklearn.preprocessing.KBinsDiscretizer(encode='ordinal'), or pass classes as ints."
    )
