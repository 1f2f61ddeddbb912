"""Files, and the libraries that read a Message or are read by one."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from ignite.utils import convert_tensor
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch.utils.data import DataLoader

from fireworks import Message, concat
from fireworks.errors import ColumnNotFound, DamagedFile, WrongType


@pytest.fixture(scope="module", autouse=True)
def started_polars() -> None:
    """The first query opens descriptors of polars' runtime, which stay open."""
    pl.DataFrame({"a": [1]}).filter(pl.col("a") == 1)


@pytest.fixture
def message() -> Message:
    return Message(
        {
            "x": torch.arange(12.0).reshape(4, 3),
            "y": torch.tensor([0, 1, 1, 0]),
            "v": [0.5, None, 1.5, 2.5],
            "name": ["a", "b", None, "d"],
        }
    )


class TestFiles:
    def test_save_is_atomic(self, message: Message, tmp_path: Path) -> None:
        path = tmp_path / "m.arrow"
        message.save(path)
        with pytest.raises(WrongType, match="Column 'o' cannot be stored: row 1 is <object"):
            message.assign(o=[1, object(), 2, 3]).save(path)
        with pytest.raises(FileNotFoundError):
            message.save(tmp_path / "no folder" / "m.arrow")
        assert Message.load(path) == message
        assert [each.name for each in tmp_path.iterdir()] == ["m.arrow"]
        umask = os.umask(0)
        os.umask(umask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask

    def test_a_disk_that_is_full(self, message: Message, tmp_path: Path) -> None:
        path = tmp_path / "m.arrow"
        message.save(path)
        large = Message({"x": torch.randn(100_000)})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            for write in (large.save, large.to_parquet, large.to_csv):
                with pytest.raises(OSError, match="too large"):
                    write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert Message.load(path) == message
        assert [each.name for each in tmp_path.iterdir()] == ["m.arrow"]

    def test_truncated_files(self, message: Message, tmp_path: Path) -> None:
        path = tmp_path / "m.arrow"
        message.save(path)
        content = path.read_bytes()
        for length in [0, 1, 7, 100, len(content) // 2, len(content) - 20, len(content) - 1]:
            path.write_bytes(content[:length])
            with pytest.raises(DamagedFile, match=r"m\.arrow is not a complete"):
                Message.load(path)
        path.write_bytes(b"not Arrow at all" * 100)
        with pytest.raises(DamagedFile):
            Message.load(path)
        message.to_parquet(path)
        with pytest.raises(DamagedFile):
            Message.load(path)
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(DamagedFile):
            Message.from_parquet(path)

    def test_a_newer_version(self, tmp_path: Path) -> None:
        table = pa.table({"x": [1]}).replace_schema_metadata({"fireworks.version": "99"})
        with pa.ipc.new_file(tmp_path / "m.arrow", table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(DamagedFile, match="newer version of Fireworks"):
            Message.load(tmp_path / "m.arrow")

    def test_files_that_are_missing(self, tmp_path: Path) -> None:
        for load in (Message.load, Message.from_parquet, Message.from_csv):
            with pytest.raises(FileNotFoundError):
                load(tmp_path / "none")

    def test_loaded_tensors_can_be_written_to(self, message: Message, tmp_path: Path) -> None:
        message.save(tmp_path / "m.arrow")
        loaded = Message.load(tmp_path / "m.arrow")
        loaded["x"][0] = 7
        loaded["x"].requires_grad_()
        assert Message.load(tmp_path / "m.arrow") == message

    def test_no_rows_and_no_columns(self, message: Message, tmp_path: Path) -> None:
        for part in (Message(), message[:0]):
            part.save(tmp_path / "m.arrow")
            assert Message.load(tmp_path / "m.arrow") == part
            part.to_parquet(tmp_path / "m.parquet")
            assert Message.from_parquet(tmp_path / "m.parquet") == part

    def test_some_columns_of_parquet(self, message: Message, tmp_path: Path) -> None:
        message.to_parquet(tmp_path / "m.parquet")
        part = Message.from_parquet(tmp_path / "m.parquet", columns=["name", "x"])
        assert part == message[["name", "x"]]
        with pytest.raises(ColumnNotFound, match="Did you mean 'name'"):
            Message.from_parquet(tmp_path / "m.parquet", columns=["nam"])

    def test_csv(self, message: Message, tmp_path: Path) -> None:
        flat = message.drop("x")
        flat.to_csv(tmp_path / "m.csv")
        assert Message.from_csv(tmp_path / "m.csv") == flat.to_vectors()
        assert Message.from_csv(tmp_path / "m.csv", usecols=["v"]).columns == ["v"]
        with pytest.raises(WrongType, match="Column 'x' .* several values per row"):
            message.to_csv(tmp_path / "m.csv")
        assert Message.from_csv(tmp_path / "m.csv") == flat.to_vectors()

    def test_repeated_strings_stay_small(self, tmp_path: Path) -> None:
        message = Message({"s": ["a long string that repeats"] * 10_000})
        message.save(tmp_path / "m.arrow")
        assert (tmp_path / "m.arrow").stat().st_size < 60_000
        assert Message.load(tmp_path / "m.arrow") == message

    def test_a_slice_is_stored_alone(self, tmp_path: Path) -> None:
        message = Message({"x": torch.zeros(100_000), "s": [str(k) for k in range(100_000)]})
        message[5:7].save(tmp_path / "m.arrow")
        assert (tmp_path / "m.arrow").stat().st_size < 5_000


class TestTables:
    def test_pandas(self, message: Message) -> None:
        frame = pd.DataFrame.from_arrow(message)  # type: ignore[attr-defined]
        assert frame["y"].tolist() == [0, 1, 1, 0]
        assert frame["x"].iloc[1].tolist() == [3, 4, 5]
        assert Message(message.dataframe()) == message.to_vectors()

    def test_polars(self, message: Message) -> None:
        frame = pl.from_arrow(message.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        assert frame["x"].dtype == pl.Array(pl.Float32, 3)
        assert Message(frame) == message
        assert Message(frame.filter(pl.col("name") == "d")) == message[[3]]
        # polars takes any Mapping for a dict of columns, in which all are vectors or arrays.
        assert pl.DataFrame(message)["y"].sum() == 2  # type: ignore[arg-type]

    def test_duckdb(self, message: Message) -> None:
        connection = duckdb.connect()
        connection.register("m", message.to_arrow())
        rows = connection.sql("select sum(y), max(name), count(*), list(x) from m").fetchall()
        assert rows[0][:3] == (2, "d", 4)
        assert rows[0][3][3] == (9.0, 10.0, 11.0)
        back = Message(connection.sql("select v, name, x from m").to_arrow_table())
        assert back == message[["v", "name", "x"]]
        connection.close()

    def test_a_stream_of_several_batches(self, message: Message) -> None:
        table = pa.concat_tables([message[:1].to_arrow(), message[1:].to_arrow()])
        assert Message(table) == message
        assert Message(pa.table(table.to_reader())) == message

    def test_types_of_other_writers(self) -> None:
        table = pa.table(
            {
                "i": pa.array([1, None], pa.int32()),
                "list": pa.array([[1, 2], [3]], pa.list_(pa.int16())),
                "fixed": pa.array([[1, 2], [3, 4]], pa.list_(pa.int16(), 2)),
                "words": pa.array([["a"], []], pa.list_(pa.string())),
                "category": pa.array(["a", "b"]).dictionary_encode(),
                "when": pa.array([0, None], pa.timestamp("ms", "Europe/Paris")),
                "nothing": pa.nulls(2),
            }
        )
        message = Message(table)
        kinds = [field.kind for field in message.schema.values()]
        assert kinds == [
            "extension",
            "ragged",
            "tensor",
            "object",
            "category",
            "datetime",
            "object",
        ]
        assert message["i"].dtype == "Int32"
        assert message["fixed"].dtype == torch.int16
        assert str(message["when"].dtype) == "datetime64[ms, Europe/Paris]"


class TestTraining:
    def test_data_loader(self, message: Message) -> None:
        class Rows:
            def __len__(self) -> int:
                return 4

            def __getitem__(self, row: int) -> Message:
                return message[row]

        loader = DataLoader(Rows(), batch_size=2, collate_fn=concat, pin_memory=False)  # type: ignore[arg-type]
        assert concat(loader) == message

    def test_convert_tensor_of_ignite(self, message: Message) -> None:
        tensors = message.tensors(["x", "y"])
        moved = convert_tensor(tensors, device="meta")  # type: ignore[arg-type]
        assert isinstance(moved, Message)
        assert moved.device == torch.device("meta")

    def test_a_module_takes_its_columns(self, message: Message) -> None:
        def module(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x.sum(1) + y

        assert module(**message.tensors(["x", "y"])).shape == (4,)


class TestScikitLearn:
    @pytest.fixture
    def frame(self) -> pd.DataFrame:
        generator = np.random.default_rng(0)
        return pd.DataFrame(
            {
                "a": generator.normal(size=120),
                "b": generator.normal(size=120),
                "c": generator.choice(["u", "v", "w"], 120),
            }
        )

    @pytest.fixture
    def table(self, frame: pd.DataFrame) -> Message:
        return Message(frame).to_tensors("a")

    @pytest.fixture
    def target(self) -> np.ndarray:
        return np.random.default_rng(1).integers(0, 2, 120)

    def transformer(self) -> ColumnTransformer:
        return ColumnTransformer(
            [
                ("numbers", StandardScaler(), ["a", "b"]),
                ("words", OneHotEncoder(sparse_output=False), ["c"]),
            ]
        )

    def pipeline(self) -> Any:
        return Pipeline([("columns", self.transformer()), ("model", LogisticRegression())])

    def test_pipeline(self, frame: pd.DataFrame, table: Message, target: np.ndarray) -> None:
        expected, fitted = self.pipeline().fit(frame, target), self.pipeline().fit(table, target)
        assert np.array_equal(expected[-1].coef_, fitted[-1].coef_)
        for data in (frame, table):
            assert np.array_equal(fitted.predict_proba(data), expected.predict_proba(data))
        assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]

    def test_cross_validation(
        self, frame: pd.DataFrame, table: Message, target: np.ndarray
    ) -> None:
        scores = [cross_val_score(self.pipeline(), data, target) for data in (frame, table)]
        assert np.array_equal(*scores)

    @pytest.mark.parametrize("kind", ["pandas", "polars"])
    def test_set_output(self, kind: str, frame: pd.DataFrame, table: Message) -> None:
        outputs: list[Any] = [
            self.transformer().set_output(transform=kind).fit_transform(data)
            for data in (frame, table)
        ]
        assert outputs[0].equals(outputs[1])

    def test_without_columns_by_name(
        self, frame: pd.DataFrame, table: Message, target: np.ndarray
    ) -> None:
        part, expected = table.drop("c"), frame[["a", "b"]]
        models = [LogisticRegression().fit(data, target) for data in (part, expected)]
        assert np.array_equal(models[0].coef_, models[1].coef_)
        train, _ = train_test_split(table, random_state=0)
        assert len(train) == 90

    def test_as_an_array(self, frame: pd.DataFrame, table: Message) -> None:
        assert np.array_equal(np.asarray(table), frame.to_numpy())
        wide = Message({"x": torch.arange(6.0).reshape(2, 3), "y": [7, 8]})
        assert np.asarray(wide).tolist() == [[0, 1, 2, 7], [3, 4, 5, 8]]
        assert np.asarray(wide, dtype=np.int8).dtype == np.int8
