"""What a Message does: rows, columns, changes, combinations, transformations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from fireworks import Message, concat, merge
from fireworks.errors import ColumnNotFound, DuplicateColumn, WrongLength, WrongType, WrongValue


@pytest.fixture
def message() -> Message:
    return Message(
        {
            "x": torch.arange(12.0).reshape(4, 3),
            "label": [0, 1, 1, 0],
            "name": ["a", "b", "c", "d"],
        }
    )


class TestConstruction:
    def test_kinds(self, message: Message) -> None:
        kinds = {name: field.kind for name, field in message.schema.items()}
        assert kinds == {"x": "tensor", "label": "number", "name": "string"}
        assert isinstance(message["x"], torch.Tensor)
        assert isinstance(message["label"], pd.Series)
        assert message["name"].dtype == "str"
        assert message["name"].name == "name"

    def test_shares_what_it_is_given(self) -> None:
        tensor, array = torch.zeros(3), np.zeros(3)
        message = Message({"t": tensor, "a": array})
        assert message["t"] is tensor
        assert np.shares_memory(message.array("a"), array)
        assert array.flags.writeable

    @pytest.mark.parametrize(
        "data",
        [
            {"x": [1, 2], "s": ["a", "b"]},
            [{"x": 1, "s": "a"}, {"x": 2, "s": "b"}],
            pd.DataFrame({"x": [1, 2], "s": ["a", "b"]}),
            pd.DataFrame({"x": [1, 2], "s": ["a", "b"]}, index=[7, 3]),
            pa.table({"x": [1, 2], "s": ["a", "b"]}),
            pa.record_batch({"x": [1, 2], "s": ["a", "b"]}),
            np.array([(1, "a"), (2, "b")], [("x", "i8"), ("s", "U1")]),
            Message({"x": [1, 2], "s": ["a", "b"]}),
        ],
        ids=lambda data: type(data).__name__,
    )
    def test_sources(self, data: Any) -> None:
        assert Message(data) == Message({"x": np.array([1, 2]), "s": np.array(["a", "b"])})

    def test_tensordict(self) -> None:
        from tensordict import TensorDict

        inside = TensorDict({"x": torch.ones(2, 3), "y": torch.zeros(2)}, batch_size=[2])
        assert Message(inside) == Message({"x": torch.ones(2, 3), "y": torch.zeros(2)})

    def test_two_arguments(self) -> None:
        frame = pd.DataFrame({"s": ["a", "b"]})
        assert Message({"x": torch.ones(2)}, frame).columns == ["x", "s"]
        with pytest.raises(DuplicateColumn, match="'s'"):
            Message({"s": torch.ones(2)}, frame)
        with pytest.raises(WrongLength):
            Message({"x": torch.ones(3)}, frame)

    def test_scalars_are_repeated(self) -> None:
        message = Message({"x": torch.ones(3), "a": 1, "s": "no", "n": None, "t": torch.tensor(2)})
        assert len(message) == 3
        assert message["s"].tolist() == ["no"] * 3
        assert message["t"].tolist() == [2, 2, 2]
        assert len(Message({"a": 1, "b": "x"})) == 1

    def test_empty(self) -> None:
        assert len(Message()) == 0
        assert Message().columns == []
        assert Message({}) == Message([]) == Message() == concat([]) == merge([])
        assert repr(Message()) == "Message()"

    def test_records(self) -> None:
        records = [{"x": torch.ones(2), "a": 1}, {"x": torch.zeros(2), "b": "s"}]
        message = Message(records)
        assert message["x"].tolist() == [[1, 1], [0, 0]]
        assert message["a"].isna().tolist() == [False, True]
        assert message["b"].tolist()[1] == "s"

    def test_lists_find_their_kind_as_in_pandas(self) -> None:
        for values in ([1, 2], [1.5, None], [True, False], ["a", None], [True, None], [1, "a"]):
            expected = pd.DataFrame({"v": values})["v"]
            assert Message({"v": values})["v"].dtype == expected.dtype

    @pytest.mark.parametrize(
        ("data", "error", "text"),
        [
            ({"x": [1], "y": [1, 2]}, WrongLength, "'y' has 2 rows"),
            ({1: [1]}, WrongType, "not 1"),
            (torch.ones(2), WrongType, "no column name"),
            (np.ones(2), WrongType, "no column names"),
            ("text", WrongType, "cannot be made of str"),
            (3, WrongType, "cannot be made of int"),
            ([1, 2], WrongType, "Record 0"),
            ({"x": {"a": 1}}, WrongType, "a dict cannot be a column"),
            ({"x": ["\ud800"]}, WrongType, "surrogate"),
            (pd.DataFrame([[1, 2]], columns=["a", "a"]), DuplicateColumn, "'a'"),
            (pa.table([[1], [2]], ["a", "a"]), DuplicateColumn, "'a'"),
        ],
    )
    def test_bad_input(self, data: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            Message(data)


class TestMapping:
    def test_is_a_mapping_whose_length_is_rows(self, message: Message) -> None:
        assert isinstance(message, Mapping)
        assert len(message) == 4
        assert list(message) == list(message.keys()) == message.columns == ["x", "label", "name"]
        assert "x" in message
        assert "y" not in message
        assert message.get("y", 7) == 7
        assert dict(message).keys() == {"x", "label", "name"}
        assert [name for name, _ in message.items()] == message.columns
        assert next(iter(message.values())) is message["x"]

    def test_unknown_column(self, message: Message) -> None:
        with pytest.raises(ColumnNotFound, match="Did you mean 'label'"):
            message["lable"]
        with pytest.raises(KeyError):
            message[["x", "nmae"]]
        with pytest.raises(DuplicateColumn):
            message[["x", "x"]]


class TestRows:
    @pytest.mark.parametrize(
        "rows",
        [
            [2, 0],
            np.array([2, 0]),
            np.array([2, 0], np.uint8),
            np.array([-2, -4]),
            torch.tensor([2, 0]),
            pd.Series([2, 0]),
            pa.array([2, 0]),
            range(2, -1, -2),
            np.array([9, 2, 9, 0])[1::2],
        ],
        ids=lambda rows: f"{type(rows).__name__} {rows}",
    )
    def test_numbers(self, message: Message, rows: Any) -> None:
        assert message[rows]["name"].tolist() == ["c", "a"]
        assert message.take(rows, columns="x")["x"].tolist() == [[6, 7, 8], [0, 1, 2]]

    @pytest.mark.parametrize(
        "mask",
        [
            [False, True, True, False],
            np.array([False, True, True, False]),
            torch.tensor([False, True, True, False]),
            pd.Series([False, True, True, False], index=[4, 3, 2, 1]),
            pd.Series([False, True, True, False], dtype="boolean"),
            pa.array([False, True, True, False]),
        ],
        ids=lambda mask: type(mask).__name__,
    )
    def test_masks(self, message: Message, mask: Any) -> None:
        assert message[mask]["name"].tolist() == ["b", "c"]
        assert message[message["label"] == 1] == message[mask] == message.filter(mask)

    @pytest.mark.parametrize(
        ("rows", "error", "text"),
        [
            (4, IndexError, "outside this table of 4 rows"),
            ([0, -5], IndexError, "position 1"),
            ([0.0, 1.0], TypeError, "Rows cannot be selected"),
            (1.5, TypeError, "Rows cannot be selected"),
            (True, TypeError, "names no row"),
            (None, TypeError, "Rows cannot be selected"),
            ((0, 1), TypeError, "Rows cannot be selected"),
            ([True, False], ValueError, "mask of 2 booleans cannot select from 4 rows"),
            (np.zeros((2, 2), int), TypeError, "one dimension"),
            ([[0, 1]], TypeError, "one dimension"),
            ([0, "a"], TypeError, "Rows cannot be selected"),
            (2**70, IndexError, "outside"),
            ([2**70], IndexError, "outside"),
            ([-(2**70)], IndexError, "outside"),
            (np.array([2**64 - 1], np.uint64), IndexError, "outside"),
            (pd.array([True, None, False, None], "boolean"), TypeError, "not of row 1"),
            ([True, None, False, True], TypeError, "not of row 1"),
        ],
    )
    def test_bad_rows(self, message: Message, rows: Any, error: type[Exception], text: str) -> None:
        with pytest.raises(error, match=text):
            message[rows]

    def test_rows_of_any_integer_dtype(self, message: Message) -> None:
        for dtype in (np.int8, np.uint8, np.uint64, object):
            assert message[np.array([2, 0], dtype)] == message[[2, 0]]

    def test_no_rows_to_select_from(self) -> None:
        with pytest.raises(IndexError, match="no rows"):
            Message({"x": []})[0]

    def test_rows_one_by_one(self, message: Message) -> None:
        rows = list(message.rows())
        assert rows[1]["name"] == "b"
        assert rows[1]["x"].tolist() == [3, 4, 5]
        assert Message(rows) == message


class TestAliasing:
    def test_slices_view_and_gathers_copy(self, message: Message) -> None:
        view, copied = message[1:3], message[[1, 2]]
        message["x"][1] = -1
        assert view["x"][0].tolist() == [-1, -1, -1]
        assert copied["x"][0].tolist() == [3, 4, 5]

    def test_series_are_read_only(self, message: Message) -> None:
        series = message["label"]
        with pytest.raises(ValueError, match="read-only"):
            series.iloc[0] = 9
        with pytest.raises(ValueError, match="read-only"):
            message.array("label")[0] = 9
        names = message["name"]
        names.iloc[0] = "z"
        zoned = Message({"z": pd.date_range("2024", periods=2, tz="UTC")})
        times = zoned["z"]
        times.iloc[0] = pd.Timestamp("1999", tz="UTC")
        assert message["name"].tolist() == ["a", "b", "c", "d"]
        assert zoned["z"].dt.year.tolist() == [2024, 2024]

    def test_assignment_changes_no_other_message(self, message: Message) -> None:
        view, same, renamed = message[:2], message[["x", "label"]], message.rename(x="y")
        tensor = message["x"]
        message[[0, 1]] = {"x": torch.zeros(2, 3), "label": 7}
        message["name"] = 0
        assert view["x"][1].tolist() == same["x"][1].tolist() == [3, 4, 5]
        assert renamed["y"][1].tolist() == tensor[1].tolist() == [3, 4, 5]
        assert view["label"].tolist() == [0, 1]
        assert view["name"].tolist() == ["a", "b"]
        view["x"] = torch.ones(2)
        assert message["x"].shape == (4, 3)


class TestChanges:
    def test_columns(self, message: Message) -> None:
        message["y"] = message["label"] * 2
        message["label"] = torch.zeros(4)
        message["k"] = "same"
        assert message.columns == ["x", "label", "name", "y", "k"]
        assert message.schema["label"].kind == "tensor"
        del message["y"], message["k"]
        with pytest.raises(ColumnNotFound):
            del message["y"]

    def test_first_column_gives_the_length(self) -> None:
        message = Message()
        message["x"] = [1, 2]
        with pytest.raises(WrongLength, match="it has 3 rows, the table has 2"):
            message["x"] = [1, 2, 3]
        assert len(message) == 2

    @pytest.mark.parametrize(
        ("key", "value", "error"),
        [
            ("x", [1, 2], WrongLength),
            ("new", torch.ones(5), WrongLength),
            ("new", {"a": 1}, WrongType),
            ([0, 9], {"label": 0}, IndexError),
            ([0, 1], {"lable": 0}, ColumnNotFound),
            ([0, 1], {"label": [1, 2, 3]}, WrongLength),
            ([0, 1], {"label": 1, "x": torch.ones(2, 4)}, WrongType),
            ([0, 1], {"label": 1, "x": torch.ones(2, 3, dtype=torch.complex64)}, WrongType),
            ([0, 1], {"name": "n", "label": 1.5}, WrongType),
            ([0, 1], {"x": torch.ones(2, 3), "label": "one"}, WrongType),
            ([0, 1], {"label": 1, "name": 5}, WrongType),
            ([0, 1], {"label": 1, "x": "text"}, WrongType),
            ([0, 1], Message({"label": [1, 1]}), ColumnNotFound),
            ([0, 1], 5, WrongType),
            ([True, False], {"label": 1}, WrongLength),
        ],
    )
    def test_bad_assignments_change_nothing(
        self, message: Message, key: Any, value: Any, error: type[Exception]
    ) -> None:
        before = message.copy()
        with pytest.raises(error):
            message[key] = value
        assert message == before

    def test_rows(self, message: Message) -> None:
        message[1] = {"name": "B", "x": torch.tensor([[7.0, 8, 9]])}
        message[[3, 3]] = {"label": [5, 6]}
        message[message["name"] == "a"] = {"label": np.int8(9)}
        message[2:] = {"x": torch.zeros(2, 3, dtype=torch.int32)}
        assert message["name"].tolist() == ["a", "B", "c", "d"]
        assert message["label"].tolist() == [9, 1, 1, 6]
        assert message["x"].tolist() == [[0, 1, 2], [7, 8, 9], [0, 0, 0], [0, 0, 0]]

    def test_rows_of_dict_by_one_row_message(self, message: Message) -> None:
        message[0] = message[3]
        assert message[0] == message[3]

    def test_deletion(self, message: Message) -> None:
        del message[[0, -1]]
        assert message["name"].tolist() == ["b", "c"]
        with pytest.raises(IndexError):
            del message[[0, 2]]
        assert len(message) == 2
        del message[:]
        assert message.columns == ["x", "label", "name"]


class TestCombination:
    def test_append(self, message: Message) -> None:
        both = message.append({"x": torch.ones(1, 3), "label": 5, "name": None})
        assert len(both) == 5
        assert both["name"].isna().tolist() == [False] * 4 + [True]

    def test_numbers_are_promoted(self) -> None:
        both = concat(
            [Message({"a": [1], "t": torch.ones(1)}), {"a": [1.5], "t": torch.ones(1).double()}]
        )
        assert both.array("a").dtype == np.float64
        assert both["t"].dtype == torch.float64

    def test_vectors_of_other_kinds_become_objects(self) -> None:
        assert concat([{"a": [1]}, {"a": ["x"]}])["a"].tolist() == [1, "x"]

    @pytest.mark.parametrize(
        ("other", "error", "text"),
        [
            ({"label": [1], "name": ["a"]}, ColumnNotFound, "no column 'x'"),
            ({"x": torch.ones(1, 3), "label": 1, "name": "a", "z": 1}, ColumnNotFound, "'z'"),
            ({"x": torch.ones(1, 2), "label": 1, "name": "a"}, WrongType, "shape"),
            ({"x": [1], "label": 1, "name": "a"}, WrongType, "tensor in one Message"),
            ({"x": torch.ones(1, 3, device="meta"), "label": 1, "name": "a"}, WrongType, "meta"),
        ],
    )
    def test_bad_append(
        self, message: Message, other: Any, error: type[Exception], text: str
    ) -> None:
        with pytest.raises(error, match=text):
            message.append(other)

    def test_datetimes_and_numbers(self) -> None:
        with pytest.raises(WrongType, match="datetime64"):
            concat([{"a": np.array(["2020"], "M8[ms]")}, {"a": [1]}])

    def test_merge(self, message: Message) -> None:
        merged = message.merge({"y": torch.ones(4)})
        assert merged.columns == ["x", "label", "name", "y"]
        assert merged["x"] is message["x"]
        with pytest.raises(DuplicateColumn, match="'x'"):
            message.merge({"x": torch.ones(4)})
        with pytest.raises(WrongLength, match="3 rows"):
            message.merge({"y": torch.ones(3)})
        assert message.merge(Message()) == message

    def test_join(self, message: Message) -> None:
        other = {"label": [1, 0, 1], "weight": torch.tensor([0.1, 0.2, 0.3])}
        joined = message.join(other, on="label")
        assert joined["name"].tolist() == ["a", "b", "b", "c", "c", "d"]
        assert torch.equal(joined["weight"], torch.tensor([0.2, 0.1, 0.3, 0.1, 0.3, 0.2]))

    def test_left_join(self, message: Message) -> None:
        joined = message.join({"label": [1], "w": ["one"]}, on=["label"], how="left")
        assert joined["w"].isna().tolist() == [True, False, False, True]
        with pytest.raises(WrongType, match="2 rows have no match"):
            message.join({"label": [1], "w": torch.ones(1)}, on="label", how="left")

    @pytest.mark.parametrize(
        ("other", "on", "how", "error"),
        [
            ({"label": [1], "x": [1]}, "label", "inner", DuplicateColumn),
            ({"w": [1]}, "label", "inner", ColumnNotFound),
            ({"label": [1]}, "lable", "inner", ColumnNotFound),
            ({"label": [1]}, "label", "outer", WrongValue),
            ({"label": ["one"]}, "label", "inner", WrongType),
        ],
    )
    def test_bad_join(
        self, message: Message, other: Any, on: str, how: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            message.join(other, on=on, how=how)


class TestTransformation:
    def test_map(self, message: Message) -> None:
        doubled = message.map({"x": lambda x: x * 2, "name": lambda s: s.str.upper()})
        assert doubled["x"][1].tolist() == [6, 8, 10]
        assert doubled["name"].tolist() == ["A", "B", "C", "D"]
        assert message["name"].tolist() == ["a", "b", "c", "d"]
        assert message.map(lambda m: {"n": m["x"].sum(1)}).columns == ["n"]
        with pytest.raises(ColumnNotFound):
            message.map({"y": abs})

    def test_filter(self, message: Message) -> None:
        assert message.filter(lambda m: m["x"][:, 0] > 3)["name"].tolist() == ["c", "d"]
        with pytest.raises(WrongLength):
            message.filter([True])

    def test_permute(self, message: Message) -> None:
        assert message.permute([3, 2, 1, 0]) == message[::-1]
        for rows in ([0, 1, 2], [0, 0, 1, 2], [0, 1, 2, 3, 3]):
            with pytest.raises(WrongValue, match="permutation"):
                message.permute(rows)

    def test_sample(self, message: Message) -> None:
        drawn = message.sample(3, seed=1)
        assert drawn == message.sample(3, seed=1)
        assert len(set(drawn["name"])) == 3
        assert {tuple(message.sample(4, seed=k)["name"]) for k in range(5)} != {tuple("abcd")}
        with pytest.raises(WrongValue, match="5 different rows"):
            message.sample(5, seed=0)

    def test_rename_and_drop(self, message: Message) -> None:
        assert message.rename({"x": "name", "name": "x"}).columns == ["name", "label", "x"]
        with pytest.raises(DuplicateColumn):
            message.rename(x="label")
        with pytest.raises(ColumnNotFound):
            message.rename(y="z")
        assert message.drop(["x", "name"]).columns == ["label"]
        assert len(message.drop(message.columns)) == 0
        with pytest.raises(ColumnNotFound):
            message.drop("y")

    @pytest.mark.parametrize("ascending", [True, False])
    @pytest.mark.parametrize(
        "values",
        [
            [3, 1, 2, 1, 3, 0],
            [1.5, None, 0.5, None, -0.5, 1.5],
            ["b", "a", None, "ß", "", "b"],
            [True, False, True, False, True, True],
            np.array([3, 0, 255, 0, 1, 2], np.uint8),
            np.array([-(2**63), 2**63 - 1, 0, 1, -1, 0]),
            np.array(["2020", "NaT", "2019", "2021", "NaT", "2020"], "M8[s]"),
            pd.Categorical(
                ["lo", "hi", None, "mid", "lo", "hi"], ["lo", "mid", "hi"], ordered=True
            ),
            pd.array([2, None, 1, 2, 0, None], "Int64"),
            pd.date_range("2024", periods=6, tz="UTC")[[3, 1, 2, 0, 5, 4]],
        ],
        ids=lambda values: str(getattr(values, "dtype", type(values[0]))),
    )
    def test_sort_as_pandas_does(self, values: Any, ascending: bool) -> None:
        message = Message({"v": values, "row": range(6)})
        expected = pd.DataFrame({"v": values, "row": range(6)}).sort_values(
            "v", ascending=ascending, kind="stable", na_position="last"
        )
        assert message.sort("v", ascending)["row"].tolist() == expected["row"].tolist()
        if not ascending and expected["v"].duplicated().any():
            return  # pandas keeps ties in order as well; above has shown it
        assert (
            message.sort(["v", "row"], [ascending, True])["row"].tolist()
            == expected["row"].tolist()
        )

    def test_sort_of_many_rows_is_stable(self) -> None:
        generator = np.random.default_rng(0)
        for values in (generator.integers(0, 9, 30_000), generator.normal(size=30_000)):
            order = Message({"v": values, "row": np.arange(30_000)}).sort("v").array("row")
            assert np.array_equal(order, np.argsort(values, kind="stable"))

    def test_sort_by_what_has_no_order(self, message: Message) -> None:
        with pytest.raises(WrongType, match="no order"):
            message.sort("x")
        with pytest.raises(WrongType):
            Message({"o": [1, "a"]}).sort("o")
        with pytest.raises(WrongLength):
            message.sort("label", ascending=[True, False])


class TestKindsAndDevices:
    def test_tensors(self, message: Message) -> None:
        assert message.tensors(["x", "label"])["label"].dtype == torch.int64
        assert message.to_tensors("label").columns == message.columns
        with pytest.raises(WrongType, match="'name' cannot be a tensor: .*row 0 is 'a'"):
            message.tensors()
        ragged = Message({"r": [[1, 2], [3, 4]], "o": [np.ones(2), np.zeros(2)]}).tensors()
        assert ragged["r"].tolist() == [[1, 2], [3, 4]]
        assert ragged["o"].shape == (2, 2)

    @pytest.mark.parametrize(
        ("values", "text"),
        [
            ([1, "a", 2], "row 1 is 'a'"),
            ([[1, 2], [3]], "row 1 has 1 values and row 0 has 2"),
            ([np.ones((2, 2)), np.ones((1, 2))], "row 1 has shape"),
            ([1, None, True], "row 1 is None"),
            (pd.array([1, None], "Int64"), "row 1 is missing"),
            (pd.Categorical(["a"]), "row 0 is 'a'"),
            (np.array(["2020"], "M8[s]"), "datetimes"),
        ],
    )
    def test_what_cannot_be_a_tensor(self, values: Any, text: str) -> None:
        with pytest.raises(WrongType, match=text):
            Message({"v": values}).tensors()

    def test_vectors(self, message: Message) -> None:
        vectors = message.to_vectors()
        assert vectors["x"].iloc[1].tolist() == [3, 4, 5]
        frame = message.dataframe(["x", "label"])
        assert frame["x"].iloc[0].tolist() == [0, 1, 2]
        assert frame["label"].dtype == np.int64

    def test_devices(self, message: Message) -> None:
        moved = message.to("meta")
        assert moved.device == torch.device("meta")
        assert moved["name"].tolist() == ["a", "b", "c", "d"]
        mixed = message.assign(y=torch.ones(4)).to("meta", columns="y")
        assert mixed.device is None
        assert mixed["x"].device == torch.device("cpu")
        assert mixed[[1, 2]]["y"].shape == (2,)
        assert message.cpu()["x"] is message["x"]
        assert message[["name"]].device is None

    def test_gradients(self) -> None:
        weights = torch.ones(4, 2, requires_grad=True)
        message = Message({"w": weights, "k": ["a", "b", "a", "b"]})
        (message[[0, 0, 3]]["w"].sum() + message[1:2]["w"].sum()).backward()
        assert weights.grad is not None
        assert weights.grad.tolist() == [[2, 2], [1, 1], [0, 0], [1, 1]]
        weights.grad = None
        message[[0]] = {"w": torch.zeros(1, 2)}
        concat([message, message]).groupby("k").sum()["w"].sum().backward()
        assert weights.grad is not None
        assert weights.grad.tolist() == [[0, 0], [2, 2], [2, 2], [2, 2]]


class TestEquality:
    def test_exact(self, message: Message) -> None:
        assert message == Message({name: message[name] for name in message})
        assert message != message.drop("x")
        assert message == message[["label", "x", "name"]]  # as with dicts
        assert message != message.map({"x": torch.Tensor.double})
        assert message != message.map({"x": lambda x: x + 1e-7})
        assert message != dict(message)
        assert (message == 3) is False
        assert Message({"a": [1.0, np.nan]}) == Message({"a": [1.0, np.nan]})
        assert Message({"a": torch.tensor([np.nan])}) == Message({"a": torch.tensor([np.nan])})
        with pytest.raises(TypeError, match="unhashable"):
            hash(message)

    def test_tolerance(self, message: Message) -> None:
        near = message.map({"x": lambda x: x * (1 + 1e-6)})
        assert message.equals(near, rtol=1e-5)
        assert not message.equals(near, rtol=1e-8)
        assert Message({"a": [1.0, np.nan]}).equals(Message({"a": [1.1, np.nan]}), atol=0.2)
        cells = [np.ones(2), np.ones(1)]
        assert Message({"o": cells}).equals(Message({"o": [c + 1e-9 for c in cells]}), atol=1e-6)
