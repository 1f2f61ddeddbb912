"""Transformers of scikit-learn as sources."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from fireworks import Message, concat
from fireworks.errors import ColumnNotFound, DuplicateColumn, WrongType, WrongValue
from fireworks.sources import BatchingSource, IterableSource, MessageSource, SklearnSource

X = np.random.default_rng(0).normal(size=(40, 5)) + np.arange(5)
TEXTS = ["the cat sat", "a dog sat", "the dog", "cats and dogs"] * 10


def rows() -> MessageSource:
    return MessageSource(
        {
            "x": torch.tensor(X),
            "a": X[:, 0],
            "b": X[:, 1],
            "kind": list("pqrs") * 10,
            "text": TEXTS,
            "y": [0, 1] * 20,
        }
    )


class TestValues:
    def test_features_by_name_in_place_of_their_columns(self):
        source = rows() >> SklearnSource(StandardScaler(), ["a", "b"])
        found = source.read_all()
        assert found.columns == ["x", "kind", "text", "y", "a", "b"]
        expected = StandardScaler().fit_transform(X[:, :2])
        np.testing.assert_allclose(np.stack([found["a"], found["b"]], 1), expected)
        batches = concat(list(source >> BatchingSource(7)))
        assert batches.equals(found, rtol=1e-12, atol=1e-12)

    def test_one_tensor(self):
        found = (rows() >> SklearnSource(PCA(2), "x", output="x")).read_all()
        expected = PCA(2).fit_transform(X)
        assert found["x"].dtype == torch.float32
        np.testing.assert_allclose(found["x"].numpy(), expected, rtol=1e-4, atol=1e-4)
        double = rows() >> SklearnSource(PCA(2), "x", output="p", dtype=torch.float64)
        assert double.read_all()["p"].dtype == torch.float64
        assert "x" not in double.read_all()

    def test_names_of_tensors(self):
        found = rows() >> SklearnSource(MinMaxScaler(), ["x", "a"])
        assert found[0].columns[-6:] == ["x_0", "x_1", "x_2", "x_3", "x_4", "a"]

    def test_categories_sparse_results_and_strings(self):
        found = (rows() >> SklearnSource(OneHotEncoder(), "kind")).read_all()
        assert found.columns[-4:] == ["kind_p", "kind_q", "kind_r", "kind_s"]
        assert found["kind_q"].tolist() == [0, 1, 0, 0] * 10
        back = rows() >> SklearnSource(FunctionTransformer(np.char.upper), "kind")
        with pytest.raises((TypeError, ValueError)):
            back.read_all()  # its own error reaches the user

    def test_a_column_transformer_picks_by_name(self):
        transformer = ColumnTransformer(
            [("scaled", StandardScaler(), ["a"]), ("coded", OrdinalEncoder(), ["kind"])]
        )
        source = rows() >> SklearnSource(transformer, ["kind", "a"])
        assert source[0].columns[-2:] == ["scaled__a", "coded__kind"]
        assert source.read_all()["coded__kind"][:4].tolist() == [0, 1, 2, 3]

    def test_pandas_output(self):
        scaler = StandardScaler().set_output(transform="pandas")
        found = rows() >> SklearnSource(scaler, ["a"])
        assert found.read_all()["a"].mean() == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("pipeline", [False, True])
    def test_texts(self, pipeline):
        vectorizer = TfidfVectorizer()
        if pipeline:
            vectorizer = make_pipeline(vectorizer, StandardScaler(with_mean=False))
        found = (rows() >> SklearnSource(vectorizer, "text", output="v")).read_all()
        alone = vectorizer.fit_transform(TEXTS).toarray()
        np.testing.assert_allclose(found["v"].numpy(), alone, rtol=1e-5, atol=1e-6)

    def test_without_names_an_output_is_needed(self):
        hashing = HashingVectorizer(n_features=8)
        with pytest.raises(WrongType, match=r"does not name its 8 features.*output="):
            (rows() >> SklearnSource(hashing, "text")).read_all()
        assert (rows() >> SklearnSource(hashing, "text", output="v"))[0]["v"].shape == (1, 8)

    def test_all_columns(self):
        source = MessageSource({"a": X[:, 0], "b": X[:, 1]}) >> SklearnSource(StandardScaler())
        assert source[0].columns == ["a", "b"]

    def test_a_target(self):
        y = np.arange(40) % 3 == 0
        message = Message({"x": torch.tensor(X + 9 * np.outer(y, [0, 0, 0, 1, 0])), "y": y})
        for columns in ("x", None):
            source = MessageSource(message) >> SklearnSource(SelectKBest(k=1), columns, target="y")
            assert source[0].columns == ["y", "x_3"]


class TestFitting:
    def test_the_transformer_given_is_left_alone(self):
        scaler = StandardScaler()
        source = rows() >> SklearnSource(scaler, "a")
        source.prepare()
        assert not hasattr(scaler, "mean_")
        assert source.estimator.mean_ == pytest.approx(X[:, 0].mean())

    def test_a_fitted_one_is_used_as_it_is(self):
        scaler = StandardScaler().fit([[10.0], [30.0]])
        source = MessageSource({"a": [20.0, 40.0]}) >> SklearnSource(scaler, "a")
        assert source.read_all()["a"].tolist() == [0, 2]
        assert source.estimator is scaler
        assert source[0].columns == ["a"]

    def test_one_without_a_state_is_not_fitted_to_all_rows(self):
        source = rows() >> SklearnSource(Normalizer(), ["a", "b"])
        found = source.read_all()
        np.testing.assert_allclose(found["a"] ** 2 + found["b"] ** 2, 1)
        assert source.input.statistics.rows == 41

    def test_fitted_on_another(self):
        rows = MessageSource({"a": [10.0, 30.0]})
        train = SklearnSource(StandardScaler(), "a", inputs=rows)
        test = MessageSource({"a": [40.0]}) >> SklearnSource(fitted=train)
        assert test.read_all()["a"].tolist() == [2]

    def test_incremental(self):
        message = rows().message
        chunks = [message[i : i + 3] for i in range(0, 40, 3)]
        source = IterableSource(chunks) >> SklearnSource(StandardScaler(), "a", incremental=True)
        assert source.estimator.mean_ == pytest.approx(X[:, 0].mean())
        many = np.random.default_rng(1).normal(size=(12_290, 4))
        pca = IncrementalPCA(3)  # refuses the 2 rows that are left over
        source = MessageSource({"x": torch.tensor(many)}) >> SklearnSource(
            pca, "x", output="x", incremental=True
        )
        assert source.estimator.n_samples_seen_ == 12_290
        with pytest.raises(WrongType, match="PCA has no partial_fit"):
            SklearnSource(PCA(2), "x", incremental=True)

    def test_pickled_with_what_was_fitted(self):
        source = rows() >> SklearnSource(StandardScaler(), "a")
        source.prepare()
        copy = pickle.loads(pickle.dumps(source))
        assert copy._learned is not None
        assert copy.read_all() == source.read_all()


class TestBadInput:
    def test_arguments(self):
        untyped: Any = SklearnSource
        with pytest.raises(WrongValue, match="a transformer or fitted="):
            SklearnSource()
        with pytest.raises(WrongValue, match="and not both"):
            SklearnSource(PCA(), fitted=SklearnSource(PCA()))
        for bad in (StandardScaler, 3, "pca"):
            with pytest.raises(WrongType, match="is no transformer"):
                SklearnSource(bad)
        with pytest.raises(WrongValue, match="at least one column"):
            SklearnSource(PCA(), [])
        with pytest.raises(WrongType, match="dtype of torch"):
            untyped(PCA(), dtype=np.float32)

    def test_columns(self):
        with pytest.raises(ColumnNotFound, match="Did you mean 'text'"):
            (rows() >> SklearnSource(StandardScaler(), "txet")).read_all()
        lists = MessageSource({"t": [[1], [2, 3]]})
        with pytest.raises(WrongType, match="several lengths.*PadSource"):
            (lists >> SklearnSource(StandardScaler(), "t")).read_all()
        taken = rows().message.assign(pca0=1.0)
        with pytest.raises(DuplicateColumn, match="makes a feature 'pca0'"):
            (MessageSource(taken) >> SklearnSource(PCA(2), "x")).read_all()
        texts = rows() >> SklearnSource(OneHotEncoder(), "kind")
        upper = SklearnSource(FunctionTransformer(lambda frame: frame), "kind", output="k")
        assert texts[0] and upper
        with pytest.raises(WrongType, match="cannot be in a tensor"):
            (rows() >> upper).read_all()

    def test_no_rows(self):
        empty = MessageSource({"a": np.empty(0)})
        with pytest.raises(WrongValue, match="nothing to fit to"):
            (empty >> SklearnSource(StandardScaler(), "a")).prepare()
        with pytest.raises(WrongValue, match="nothing to fit to"):
            (empty >> SklearnSource(StandardScaler(), "a", incremental=True)).prepare()

    def test_no_scikit_learn(self):
        code = (
            "import sys; sys.modules['sklearn'] = None\n"
            "from fireworks.sources import SklearnSource\n"
            "try: SklearnSource(object())\n"
            "except ImportError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "pip install 'fireworks-ml[sklearn]'" in done.stdout, done.stderr
