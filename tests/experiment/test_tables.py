"""Tables of the user's own, the record as Messages, and what queries may do."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
import torch

from fireworks.database import WriterSource
from fireworks.errors import (
    DamagedFile,
    ExperimentReadOnly,
    TableNotFound,
    WrongType,
    WrongValue,
)
from fireworks.experiment import Experiment, load_experiment, open_attempt
from fireworks.message import Message
from fireworks.source import Graph
from fireworks.sources import BatchingSource, MessageSource


def test_a_table_is_a_source_and_is_written_through_a_writer(experiment: Experiment) -> None:
    table = experiment.table("errors", {"text": sa.Text, "loss": sa.Double})
    rows = MessageSource({"text": ["a", "b", "c"], "loss": [1.0, 2.0, 3.0]})
    assert (rows >> BatchingSource(2) >> WriterSource(table.table, table.engine)).drain() == 3
    read = load_experiment(experiment.path)
    for each in (experiment, read):
        source = each.table("errors")
        assert source[:].columns == ["id", "text", "loss"]
        assert source[[2, 0]]["text"].tolist() == ["c", "a"]
    assert read.message("errors").columns == ["id", "text", "loss", "trial"]
    assert read.tables == ["errors"]
    assert len(experiment.table("errors", {"text": sa.Text, "loss": sa.Double})) == 3
    with pytest.raises(WrongValue, match="is there already, with the columns"):
        experiment.table("errors", {"other": sa.Text})
    with pytest.raises(TableNotFound, match="Did you mean 'errors'"):
        read.table("error")


def test_a_table_with_a_key_of_its_own_replaces_rows(experiment: Experiment) -> None:
    rows = Message({"id": [7, 8], "x": torch.ones(2, 3)})
    table = experiment.table("points", rows)
    WriterSource(table.table, table.engine, inputs=MessageSource(rows)).drain()
    again = Message({"id": [8], "x": torch.zeros(1, 3)})
    WriterSource(table.table, table.engine, inputs=MessageSource(again)).drain()
    assert experiment.table("points")[:]["x"].tolist() == [[1.0] * 3, [0.0] * 3]


@pytest.mark.parametrize("name", ["metrics", "Metric", "", "sqlite_x", "a\0b", 3])
def test_names_that_no_table_may_have(experiment: Experiment, name: Any) -> None:
    with pytest.raises((WrongValue, WrongType), match="table"):
        experiment.table(name, {"x": sa.Double})


def test_a_table_with_a_hostile_name_is_only_a_table(experiment: Experiment) -> None:
    name = """x"; DROP TABLE metrics; -- '../<b>"""
    experiment.log({name: Message({"a": [1]}), "loss": 1.0}, step=0)
    assert experiment.message(name)["a"].tolist() == [1]
    assert len(experiment.metrics()) == 1


def test_columns_that_the_record_adds(experiment: Experiment) -> None:
    with pytest.raises(WrongValue, match="cannot have a column 'seq'"):
        experiment.table("errors", {"Seq": sa.Integer})
    with pytest.raises(WrongValue, match="cannot have a column 'step'"):
        experiment.log(errors=Message({"step": [1]}), step=1)
    assert experiment.tables == []


def test_a_reader_makes_no_table(experiment: Experiment) -> None:
    with pytest.raises(ExperimentReadOnly, match="opened for reading"):
        load_experiment(experiment.path).table("errors", {"x": sa.Double})


def test_rows_are_the_trials_and_refused_once_its_attempt_is_over(experiment: Experiment) -> None:
    experiment.sweep.add_trial(3, seed=1, params={})
    attempt = experiment.sweep.start_attempt(3, host="here")
    rows = MessageSource({"x": [1.0, 2.0]})
    with open_attempt(experiment.path, 3, attempt) as trial:
        table = trial.table("points", {"x": sa.Double})
        writer = WriterSource(table.table, table.engine, inputs=rows)
        # Prepared when the connection is made: after the table is there.
        assert writer.drain() == 2
        assert experiment.message("points")["trial"].tolist() == [3, 3]
        experiment.sweep.finish_attempt(3, attempt, state="completed")
        with pytest.raises(WrongValue, match="attempt at the trial is over"):
            writer.drain()
    assert len(experiment.table("points")) == 2
    experiment.sweep.requeue(3)
    experiment.sweep.start_attempt(3, host="here")
    assert len(experiment.table("points")) == 0


def test_logged_messages_are_rows_with_a_step(experiment: Experiment) -> None:
    for step in (1, 2):
        rows = Message({"x": torch.full((2, 2), step * 1.0), "label": ["a", "b"]})
        experiment.log({"predictions": rows, "loss": 0.5}, step=step)
    read = load_experiment(experiment.path).message("predictions")
    assert read["step"].tolist() == [1, 1, 2, 2]
    assert read["x"].shape == (4, 2)
    assert read["label"].tolist() == ["a", "b"] * 2
    assert experiment.metrics("loss")["step"].tolist() == [1, 2]
    with pytest.raises(WrongValue, match="is there already, with the columns"):
        experiment.log(predictions=Message({"y": [1]}), step=3)


def test_the_record_as_messages(experiment: Experiment) -> None:
    experiment.params = {"lr": 0.1}
    experiment.log(loss=1.0, step=0)
    assert experiment.message().columns == ["trial", "name", "step", "value", "time"]
    assert experiment.message("params")["value"].tolist() == ["0.1"]
    assert experiment.message("trials").columns[0] == "trial"
    for table in ("series", "events", "attempts", "notes", "media", "latest"):
        assert isinstance(experiment.message(table), Message)
    with pytest.raises(TableNotFound, match="Did you mean 'params'"):
        experiment.message("parms")


def test_export(experiment: Experiment, tmp_path: Path) -> None:
    experiment.log(loss=1.5, step=3)
    frame = experiment.metrics()
    parquet = experiment.export("metrics", tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), frame)
    csv = experiment.export("metrics", tmp_path / "m.csv")
    assert pd.read_csv(csv)["value"].tolist() == [1.5]
    with pytest.raises(WrongValue, match=r"\.csv or \.parquet"):
        experiment.export("metrics", tmp_path / "m.xls")
    assert {each.name for each in tmp_path.glob("m.*")} == {"m.parquet", "m.csv"}


def test_a_query_is_bounded_in_rows_and_time(experiment: Experiment) -> None:
    experiment.log_many({"step": range(100), "x": [0.5] * 100})
    assert len(experiment.sql("SELECT * FROM metric", max_rows=100)) == 100
    with pytest.raises(WrongValue, match="more than 99 rows"):
        experiment.sql("SELECT * FROM metric", max_rows=99)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    with pytest.raises(WrongValue, match=r"longer than 0\.1 s"):
        experiment.sql(endless, timeout=0.1)
    with pytest.raises(WrongType, match="must be a string"):
        experiment.sql(None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM metrics",
        "ATTACH DATABASE '/tmp/x.sqlite' AS x",
        "PRAGMA journal_mode = DELETE",
        "SELECT load_extension('/tmp/x.so')",
        "CREATE TEMP TABLE x (y)",
        "VACUUM INTO '/tmp/x.sqlite'",
    ],
)
def test_a_query_only_reads(experiment: Experiment, query: str) -> None:
    with pytest.raises(ExperimentReadOnly, match="only reads"):
        experiment.sql(query)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_value_cannot_fill_the_memory(experiment: Experiment) -> None:
    with pytest.raises(WrongValue, match="too big"):
        experiment.sql("SELECT zeroblob(900000000)")


def test_the_overview_is_the_last_values(experiment: Experiment) -> None:
    assert experiment.overview().columns.tolist() == ["trial"]
    for number in range(3):
        experiment.sweep.add_trial(number, seed=1, params={})
        attempt = experiment.sweep.start_attempt(number, host="here")
        with open_attempt(experiment.path, number, attempt) as trial:
            trial.log(loss=float(number), step=0)
            trial.log(loss=float(number) + 0.5, step=1)
            if number:
                trial.log(accuracy=float("nan"), step=0)
    frame = experiment.overview()
    assert frame.columns.tolist() == ["trial", "accuracy", "loss"]
    assert frame["trial"].tolist() == [0, 1, 2]
    assert frame["loss"].tolist() == [0.5, 1.5, 2.5]
    assert frame["accuracy"].isna().all()  # pyright: ignore[reportGeneralTypeIssues]
    assert experiment.overview("loss").columns.tolist() == ["trial", "loss"]
    with pytest.raises(WrongValue, match="Did you mean 'loss'"):
        experiment.overview("los")


def test_the_graph_of_sources(experiment: Experiment) -> None:
    with pytest.raises(TableNotFound, match=r"save_graph\(graph\)"):
        _ = experiment.graph
    graph = Graph(MessageSource({"x": [1.0, 2.0]}) >> BatchingSource(2))
    graph.drain()
    experiment.save_graph(graph)
    saved = load_experiment(experiment.path).graph
    assert saved["fingerprint"] == graph.fingerprint
    assert [each["kind"] for each in saved["nodes"]] == ["BatchingSource", "MessageSource"]
    assert sum(each["rows"] for each in saved["nodes"]) > 0
    assert saved["mermaid"].startswith("flowchart")
    for content in (b"{", b"[]", json.dumps({"nodes": 3}).encode()):
        (experiment.path / "graph.json").write_bytes(content)
        with pytest.raises(DamagedFile, match=r"graph\.json"):
            _ = experiment.graph


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_foreign_table_is_read_too(experiment: Experiment) -> None:
    connection = sqlite3.connect(experiment.path / "experiment.sqlite")
    connection.execute("CREATE TABLE mine (k INTEGER PRIMARY KEY, word TEXT)")
    connection.execute("INSERT INTO mine VALUES (1, 'x')")
    connection.commit()
    connection.close()
    assert experiment.message("mine")["word"].tolist() == ["x"]
    experiment.rewind(experiment.mark())
    assert len(experiment.message("mine")) == 1
