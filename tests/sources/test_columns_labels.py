"""Labels as ids, as vectors, and as the names of inputs."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fireworks import Message, Source, concat
from fireworks.errors import ColumnNotFound, DuplicateColumn, WiringError, WrongType, WrongValue
from fireworks.sources import (
    BatchingSource,
    IterableSource,
    LabelerSource,
    Labels,
    LabelSource,
    MessageSource,
    OneHotSource,
    ShufflerSource,
)

ANIMALS = ["eel", "cat", "dog", "cat"]


def animals(**more) -> MessageSource:
    return MessageSource({"animal": ANIMALS, "i": range(4), **more})


class Counting(Source):
    def __init__(self):
        self.asked = 0

    @property
    def num_rows(self):
        return 6

    def read(self, rows):
        self.asked += len(rows)
        return Message({"animal": np.array(["b", "a", "c"])[rows % 3]})


class TestLabeler:
    def test_ids_in_sorted_order(self):
        rows = (animals() >> LabelerSource("animal")).read_all()
        assert rows["animal"].dtype == torch.int64
        assert rows["animal"].tolist() == [2, 0, 1, 0]
        assert rows["i"].tolist() == [0, 1, 2, 3]

    def test_ids_in_the_order_given(self):
        source = animals() >> LabelerSource("animal", labels=["dog", "eel", "cat", "fox"])
        assert source.read_all()["animal"].tolist() == [1, 2, 0, 2]

    def test_there_and_back_from_downstream(self):
        loader = animals() >> LabelerSource("animal") >> ShufflerSource(0) >> BatchingSource(2)
        assert list(loader.labels["animal"]) == ["cat", "dog", "eel"]
        assert loader.to_ids(["dog", "cat"]).tolist() == [1, 0]
        assert loader.to_labels(torch.tensor([[2, 0]])).tolist() == [["eel", "cat"]]
        assert loader.to_labels([1, -100, 3]).tolist() == ["dog", None, None]
        message = Message({"animal": ["eel"], "age": [3]})
        assert loader.to_tensor(message)["animal"].tolist() == [2]
        assert loader.to_tensor(message[["age"]]) == message[["age"]]
        for batch in loader:
            back = loader.to_labels(batch["animal"])
            assert back.tolist() == [ANIMALS[i] for i in batch["i"]]

    @pytest.mark.parametrize(
        ("values", "labels"),
        [
            ([3.5, -1.0, 3.5], [-1.0, 3.5]),
            ([True, False, True], [False, True]),
            (torch.tensor([7, 5, 7]), [5, 7]),
            (pd.Series(["b", "a", "b"], dtype="category"), ["a", "b"]),
            (np.array(["2020-02-01", "2020-01-01", "2020-02-01"], "M8[s]"), None),
            (["ä", "z", "ä"], ["z", "ä"]),  # by code points
            (pd.array([2, 1, 2], dtype="Int64"), [1, 2]),
        ],
        ids=str,
    )
    def test_labels_of_all_kinds(self, values, labels):
        source = MessageSource({"y": values}) >> LabelerSource("y")
        assert source.read_all()["y"].tolist() == [1, 0, 1]
        assert labels is None or list(source.labels["y"]) == labels

    def test_several_columns(self):
        source = animals(size=[3, 1, 2, 1]) >> LabelerSource(["animal", "size"])
        rows = source.read_all()
        assert (rows["animal"].tolist(), rows["size"].tolist()) == ([2, 0, 1, 0], [2, 0, 1, 0])
        assert source.to_labels([0], column="size").tolist() == [1]
        with pytest.raises(WrongValue, match="'animal', 'size'; name one"):
            source.to_labels([0])

    def test_unknown_labels(self):
        known: Any = {"labels": ["cat", "dog"]}
        with pytest.raises(WrongValue, match="'animal'.*Row 0 is 'eel', .* 2 labels.*unknown="):
            (animals() >> LabelerSource("animal", **known)).read_all()
        source = animals() >> LabelerSource("animal", **known, unknown=-100)
        assert source.read_all()["animal"].tolist() == [-100, 0, 1, 0]
        source = MessageSource({"y": ["cats"]}) >> LabelerSource("y", **known)
        with pytest.raises(WrongValue, match="Did you mean 'cat'"):
            source.read_all()

    def test_missing_values_are_no_labels(self):
        rows = MessageSource({"y": ["b", None, "a"], "z": [1.0, np.nan, 0.5]})
        source = rows >> LabelerSource(["y", "z"], unknown=-1)
        assert list(source.labels["y"]) == ["a", "b"]
        assert source.read_all()["y"].tolist() == [1, -1, 0]
        assert source.read_all()["z"].tolist() == [1, -1, 0]
        nothing = MessageSource({"y": [None, None]}) >> LabelerSource("y", labels=["a"], unknown=7)
        assert nothing.read_all()["y"].tolist() == [7, 7]

    def test_one_scan_and_only_when_needed(self):
        counting = Counting()
        source = counting >> LabelerSource("animal") >> BatchingSource(2)
        assert counting.asked == 0
        source.input.prepare()
        assert counting.asked == 6
        list(source)
        assert counting.asked == 12

    def test_labels_in_blocks_of_a_stream(self):
        chunks = [Message({"y": [i]}) for i in (5, 3)] + [Message({"y": [0.5]})]
        source = IterableSource(chunks) >> LabelerSource("y")
        assert list(source.labels["y"]) == [0.5, 3.0, 5.0]
        assert concat(list(source))["y"].tolist() == [2, 1, 0]

    def test_fitted_on_another(self):
        train = LabelerSource("animal", inputs=animals())
        test = MessageSource({"animal": ["dog"]}) >> LabelerSource("animal", fitted=train)
        assert test.read_all()["animal"].tolist() == [1]
        copy = pickle.loads(pickle.dumps(test))
        assert copy.read_all() == test.read_all()
        assert copy._fitted is None  # the training data stays at home

    def test_bad_input(self):
        untyped: Any = LabelerSource
        with pytest.raises(WrongValue, match="at least one column"):
            LabelerSource([])
        with pytest.raises(WrongValue, match="'a' is given twice"):
            LabelerSource("y", labels=["a", "b", "a"])
        with pytest.raises(WrongValue, match=r"\['z'\]; its columns are \['y'\]"):
            LabelerSource("y", labels={"z": ["a"]})
        with pytest.raises(WrongType, match="a list, not 'ab'"):
            LabelerSource("y", labels="ab")
        with pytest.raises(WrongType, match="'y'.*strings, numbers"):
            LabelerSource("y", labels=["a", 1])
        with pytest.raises(WrongType, match="another LabelerSource, not MessageSource"):
            untyped("y", fitted=animals())
        with pytest.raises(WrongValue, match="not both"):
            LabelerSource("y", labels=["a"], fitted=LabelerSource("y"))
        with pytest.raises(WrongType, match="unknown"):
            untyped("y", unknown="a")
        with pytest.raises(ColumnNotFound, match="Did you mean 'animal'"):
            (animals() >> LabelerSource("animl")).read_all()
        with pytest.raises(WrongType, match="int64 values .* labels of type large_string"):
            (animals() >> LabelerSource("i", labels=["0", "1"])).read_all()
        with pytest.raises(WrongType, match="'x'.*single value"):
            (animals(x=torch.zeros(4, 2)) >> LabelerSource("x")).read_all()
        with pytest.raises(WrongType, match="type int64 and of type large_string"):
            chunks = [Message({"y": [1]}), Message({"y": ["a"]})]
            (IterableSource(chunks) >> LabelerSource("y")).prepare()
        with pytest.raises(WrongValue, match="no labels"):
            (MessageSource({"y": []}) >> LabelerSource("y")).prepare()


class TestLabels:
    def test_is_a_sequence(self):
        labels = Labels(["b", "a", "c"])
        assert (len(labels), labels[1], labels[-2:]) == (3, "a", ["a", "c"])
        assert "a" in labels and "d" not in labels
        assert labels == Labels(["b", "a", "c"]) == ["b", "a", "c"] != Labels(["a", "b", "c"])
        assert repr(labels) == "Labels('b', 'a', 'c')"

    def test_numbers_come_back_as_numbers(self):
        assert Labels([3, 5]).of([1, 0]).dtype == np.int64
        with pytest.raises(WrongType, match="integers"):
            Labels([3, 5]).of([0.5])


class TestOneHot:
    def test_values(self):
        rows = (animals() >> OneHotSource("animal")).read_all()
        assert rows["animal"].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
        assert rows["animal"].dtype == torch.float32

    def test_ids_and_given_labels(self):
        source = animals() >> OneHotSource("i", labels=range(6), dtype=torch.bool)
        assert source[2]["i"].tolist() == [[False, False, True, False, False, False]]

    def test_unknown(self):
        some: Any = {"labels": ["cat"]}
        source = animals() >> OneHotSource("animal", **some, unknown="zeros")
        assert source.read_all()["animal"].tolist() == [[0], [1], [0], [1]]
        with pytest.raises(WrongValue, match="Row 0 is 'eel'"):
            (animals() >> OneHotSource("animal", **some)).read_all()

    def test_fitted_on_another(self):
        train = OneHotSource("animal", inputs=animals())
        test = MessageSource({"animal": ["dog"]}) >> OneHotSource("animal", fitted=train)
        assert test.read_all()["animal"].tolist() == [[0, 1, 0]]

    def test_bad_input(self):
        untyped: Any = OneHotSource
        with pytest.raises(WrongValue, match="unknown"):
            untyped("y", unknown="ignore")
        with pytest.raises(WrongType, match="dtype"):
            untyped("y", dtype="float32")


class TestLabel:
    def two(self) -> LabelSource:
        cats = MessageSource({"i": range(3)}) >> ShufflerSource(1)
        return LabelSource(inputs={"cat": cats, "dog": MessageSource({"i": range(10, 12)})})

    def test_rows_are_named_after_their_input(self):
        rows = self.two().read_all()
        assert rows["label"].tolist() == ["cat"] * 3 + ["dog"] * 2
        assert rows["i"][3:].tolist() == [10, 11]

    def test_any_row_of_any_epoch(self):
        source = self.two()
        epochs = [concat(list(source)) for _ in range(2)]
        assert epochs[0] != epochs[1]
        whole = concat(epochs)
        rows = np.array([9, 0, 4, 7, 5, 0, 3])
        assert source.read(rows) == whole.take(rows)
        above = source.rows_above(rows)
        assert {key: each.tolist() for key, each in above.items()} == {
            "cat": [0, 5, 3, 0],
            "dog": [3, 1, 0],
        }

    def test_one_source_with_a_name(self):
        source = MessageSource({"i": [1]}, name="cat") >> LabelSource("animal")
        assert source.read_all().to_dict() == {"i": [1], "animal": ["cat"]}
        keyed = LabelSource(inputs={"dog": MessageSource({"i": [1]})})
        assert keyed[0]["label"].tolist() == ["dog"]

    def test_streams(self):
        chunks = [Message({"i": [0]}), Message({"i": [1, 2]})]
        source = LabelSource(inputs={"a": IterableSource(chunks), "b": MessageSource({"i": [3]})})
        assert not source.indexed
        rows = concat(list(source))
        assert rows.to_dict() == {"i": [0, 1, 2, 3], "label": ["a", "a", "a", "b"]}

    def test_bad_input(self):
        with pytest.raises(WiringError, match="what to call the rows of MessageSource"):
            (MessageSource({"i": [1]}) >> LabelSource()).read_all()
        with pytest.raises(DuplicateColumn, match="adds a column 'i'"):
            (MessageSource({"i": [1]}, name="a") >> LabelSource("i")).read_all()
        with pytest.raises(WiringError, match="no input"):
            len(LabelSource())
