"""What is particular to tables on a PostgreSQL server; all else is tested with both stores."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch

from fireworks.errors import (
    DamagedFile,
    DatabaseUnreachable,
    ExperimentInUse,
    ExperimentNotFound,
    ExperimentReadOnly,
    MissingDependency,
    NotRecorded,
    WrongType,
    WrongValue,
)
from fireworks.experiment import Experiment, Text, experiments, load_experiment, open_attempt
from fireworks.message import Message
from fireworks.record import postgresql
from fireworks.record.filesystem import refuse_network
from fireworks.record.removal import leftovers, remove_leftovers, remove_run
from fireworks.record.urls import VARIABLE, StoreURL, schema_name
from tests.servers import PostgreSQL, administrator


@pytest.fixture
def store(postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(VARIABLE, "")
    yield postgresql.url
    for name in schemas(postgresql.url):
        run(postgresql.url, f'DROP SCHEMA "{name}" CASCADE')


def run(url: str, statement: str) -> None:
    with administrator(sa.make_url(url)) as connection:
        connection.exec_driver_sql(statement)


def schemas(url: str) -> list[str]:
    with administrator(sa.make_url(url)) as connection:
        query = "SELECT nspname FROM pg_namespace WHERE obj_description(oid) LIKE 'fireworks%'"
        return list(connection.scalars(sa.text(query)))


def test_the_tables_are_in_a_schema_and_the_rest_in_the_folder(tmp_path: Path, store: str) -> None:
    with Experiment("digits", root=tmp_path, parameters={"lr": 0.1}, store=store) as made:
        made.log(loss=0.5, step=1)
        with made.file("note.txt", "w") as stream:
            stream.write("x")
    assert sorted(os.listdir(made.path)) == ["experiment.json", "experiment.lock", "files"]
    (schema,) = schemas(store)
    assert schema.startswith("digits-0001-")
    (listed,) = experiments(tmp_path, where="params.lr == 0.1")
    assert listed.metrics()["value"].tolist() == [0.5]
    with load_experiment(made.path, write=True) as again:
        again.log(loss=0.25, step=2)
    assert listed.latest == {"loss": 0.25}
    # A person's view of it, with PostgreSQL's own tools.
    with administrator(sa.make_url(store)) as connection:
        rows = connection.exec_driver_sql(f'SELECT name, step, value FROM "{schema}".metric')
        assert sorted(map(tuple, rows)) == [("loss", 1, 0.5), ("loss", 2, 0.25)]


def test_a_password_is_recorded_nowhere(tmp_path: Path, store: str) -> None:
    secret = store.replace("fireworks@", "fireworks:s3cret@")
    with Experiment("digits", root=tmp_path, store=secret) as experiment:
        experiment.log(loss=1.0)
        assert os.environ[VARIABLE] == secret
        assert "s3cret" not in repr(experiment.metadata)
        assert experiment.metadata["environment"][VARIABLE] == store.replace("fireworks@", "***@")
    assert "s3cret" not in (experiment.path / "experiment.json").read_text()
    assert json.loads((experiment.path / "experiment.json").read_text())["store"]["url"] == store
    # It goes to the place that it belongs to, and to no other that a folder may name.
    assert "s3cret" in StoreURL(store).for_libpq
    assert "s3cret" not in StoreURL(store.replace("127.0.0.1", "example.org")).for_libpq
    with pytest.raises(DatabaseUnreachable) as raised:
        Experiment("digits", root=tmp_path, store="postgresql://me:s3cret@127.0.0.1:1/none")
    assert "s3cret" not in str(raised.value)
    assert os.listdir(tmp_path) == ["digits-0001"]


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://me@host/database",
        "postgresql+asyncpg://me@host/database",
        "postgresql://host",
        "postgresql://me:s3cret@host:port/database",
        "runs.sqlite",
        "",
    ],
)
def test_urls_that_are_none_of_a_store(tmp_path: Path, url: str) -> None:
    with pytest.raises(WrongValue, match=r"store") as raised:
        Experiment("digits", root=tmp_path, store=url)
    assert "s3cret" not in str(raised.value)
    with pytest.raises(WrongType, match="store must be a URL"):
        Experiment("digits", root=tmp_path, store=3)  # pyright: ignore[reportArgumentType]
    assert os.listdir(tmp_path) == []


def test_without_psycopg_the_extra_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependency, match=r"fireworks-ml\[postgresql\]"):
        Experiment("digits", root=tmp_path, store="postgresql://me@127.0.0.1/x")
    assert os.listdir(tmp_path) == []


def test_what_makes_no_run_leaves_no_schema(tmp_path: Path, store: str) -> None:
    with pytest.raises(WrongType, match="The parameter 'f'"):
        Experiment("digits", root=tmp_path, parameters={"f": print}, store=store)
    with pytest.raises(WrongValue, match="cannot hold a value"):
        Experiment("digits", root=tmp_path, parameters={"a\0b": 1}, store=store)
    assert os.listdir(tmp_path) == []
    assert schemas(store) == []


def test_long_names_make_schemas_of_their_own() -> None:
    names = {schema_name("ü" * 60 + "-0001") for _ in range(2)}
    assert len(names) == 2
    assert all(len(each.encode()) <= 63 for each in names)


def test_a_server_that_crashes_loses_nothing_that_was_logged(
    tmp_path: Path, postgresql: PostgreSQL, store: str
) -> None:
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        experiment.log(loss=0.0, step=0)
        experiment.flush()
        postgresql.kill()
        experiment.log(loss=1.0, step=1)
        with pytest.raises((NotRecorded, DatabaseUnreachable)):
            experiment.flush()
        with pytest.raises(DatabaseUnreachable, match="There is no connection"):
            load_experiment(experiment.path).metrics()
        assert load_experiment(experiment.path).status == "running"
        postgresql.start()
        experiment.flush()
        assert experiment.metrics()["value"].tolist() == [0.0, 1.0]
        postgresql.restart()  # while the connection is idle
        experiment.log(loss=2.0, step=2)
        experiment.flush()
    assert load_experiment(experiment.path).metrics()["value"].tolist() == [0.0, 1.0, 2.0]


def test_a_removed_run_takes_its_schema_along(
    tmp_path: Path, postgresql: PostgreSQL, store: str
) -> None:
    Experiment("digits", root=tmp_path, store=store).close()
    Experiment("digits", root=tmp_path, store=store).close()
    remove_run(tmp_path / "digits-0001")
    (schema,) = schemas(store)
    assert schema.startswith("digits-0002")
    # What a process left that was killed while it made or removed a run.
    (tmp_path / "digits-0002").rename(tmp_path / ".removed-digits-0002")
    remove_leftovers(leftovers(tmp_path, older_than=-1))
    assert schemas(store) == []
    assert os.listdir(tmp_path) == []


def test_a_run_whose_server_is_away_is_not_removed(tmp_path: Path, store: str) -> None:
    Experiment("digits", root=tmp_path, store=store).close()
    index = tmp_path / "digits-0001" / "experiment.json"
    index.write_text(index.read_text().replace(str(sa.make_url(store).port), "1"))
    with pytest.raises(DatabaseUnreachable):
        remove_run(tmp_path / "digits-0001")
    assert os.listdir(tmp_path) == ["digits-0001"]


def test_only_an_experiments_schema_is_dropped(tmp_path: Path, store: str) -> None:
    Experiment("digits", root=tmp_path, store=store).close()
    index = tmp_path / "digits-0001" / "experiment.json"
    (schema,) = schemas(store)
    index.write_text(index.read_text().replace(schema, "public"))
    with pytest.raises(DamagedFile, match="is not an experiment's"):
        remove_run(tmp_path / "digits-0001")
    with pytest.raises(DamagedFile, match="is not an experiment's"):
        load_experiment(tmp_path / "digits-0001").metrics()


def test_schemas_that_are_gone_or_newer(tmp_path: Path, store: str) -> None:
    Experiment("digits", root=tmp_path, store=store).close()
    (schema,) = schemas(store)
    run(store, f"COMMENT ON SCHEMA \"{schema}\" IS 'fireworks-experiment 99'")
    for write in (False, True):
        with pytest.raises(DamagedFile, match="newer release"):
            load_experiment(tmp_path / "digits-0001", write=write).metrics()
    run(store, f'DROP SCHEMA "{schema}" CASCADE')
    for write in (False, True):
        with pytest.raises(ExperimentNotFound, match="There is no schema"):
            load_experiment(tmp_path / "digits-0001", write=write).metrics()
    assert load_experiment(tmp_path / "digits-0001").status == "completed"


def test_tables_of_the_first_version_are_brought_forward(tmp_path: Path, store: str) -> None:
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        experiment.log(loss=1.0, step=0)
    (schema,) = schemas(store)
    run(
        store,
        f'SET search_path = "{schema}"; DROP TABLE sweep_state, sweep_trials, media; '
        "ALTER TABLE reports DROP COLUMN seq; ALTER TABLE artifacts DROP COLUMN seq; "
        f"COMMENT ON SCHEMA \"{schema}\" IS 'fireworks-experiment 1'",
    )
    read = load_experiment(experiment.path)
    assert read.metrics()["value"].tolist() == [1.0]
    with pytest.raises(LookupError):
        read.media("note")
    with load_experiment(experiment.path, write=True) as again:
        again.log(note=Text("x"), step=1)
        again.artifact(__file__)
        again.sweep.add_trial(0, seed=1, params={})
    assert read.media("note") == {1: "x"}


def test_copies_and_archives_are_runs_without_a_server(tmp_path: Path, store: str) -> None:
    rows = Message({"x": torch.eye(2), "n": [1, 2], "word": ["a", "%s 'ü'"], "f": [0.5, 1e300]})
    with Experiment("digits", root=tmp_path, parameters={"lr": 0.1}, store=store) as experiment:
        experiment.log({"loss": float("nan"), "note": Text("x"), "rows": rows}, step=1)
        table = experiment.table("mine", {"word": sa.Text, "time": sa.DateTime, "yes": sa.Boolean})
        with table.engine.begin() as connection:
            moment = sa.func.cast("2026-11-23 01:02:03.5", sa.DateTime)
            connection.execute(table.table.insert().values(word="w", time=moment, yes=True))
        here = experiment.mark()
        experiment.log(loss=2.0, step=2)
        copy = load_experiment(experiment.copy(tmp_path / "copy"))
    assert (copy.path / "experiment.sqlite").is_file()
    assert copy.metrics().equals(experiment.metrics())
    assert (copy.params, copy.media("note"), copy.tables) == (
        {"lr": 0.1},
        {1: "x"},
        ["mine", "rows"],
    )
    for name in ("rows", "mine"):
        assert copy.message(name).dataframe().equals(experiment.message(name).dataframe())
    assert torch.equal(copy.message("rows")["x"], torch.eye(2))
    # It goes on as a run with tables in its folder: what is written counts as there.
    with load_experiment(copy.path, write=True, position=here) as going_on:
        assert going_on.metrics()["step"].tolist() == [1]
        own = going_on.table("mine")
        with own.engine.begin() as connection:
            connection.execute(own.table.insert().values(word="v"))
        going_on.rewind(here)
        assert going_on.message("mine")["word"].tolist() == ["w"]


def test_a_query_does_nothing_but_read(tmp_path: Path, store: str) -> None:
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        experiment.log(loss=1.0, step=0)
        for query in (
            "DELETE FROM metrics",
            "COMMIT",
            "SET transaction_read_only = off",
            "SELECT nextval('notes_id_seq')",
            "COPY metrics TO '/tmp/x'",
            "/* x */ INSERT INTO notes VALUES (1, 1, 'x')",
        ):
            with pytest.raises(ExperimentReadOnly, match="only reads"):
                experiment.sql(query)
        for query in (
            "SELECT 1; DELETE FROM metrics",
            "WITH gone AS (DELETE FROM metrics RETURNING *) SELECT * FROM gone",
            "SELECT set_config('transaction_read_only', 'off', false)",
        ):
            with pytest.raises((WrongValue, ExperimentReadOnly)):
                experiment.sql(query)
        assert len(experiment.metrics()) == 1
        frame = experiment.sql(
            "SELECT '50%' AS \"a?\", '?' AS b, :x::text AS c -- ? :x %\n", {"x": "it's"}
        )
        assert frame.iloc[0].tolist() == ["50%", "?", "it's"]
        with pytest.raises(WrongValue, match=r"longer than 0\.2 s"):
            experiment.sql("SELECT pg_sleep(20)", timeout=0.2)


def test_who_holds_a_transaction_open_is_waited_for(
    tmp_path: Path, store: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(postgresql, "BUSY_SECONDS", 0.3)
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        table = experiment.table("mine", {"word": sa.Text})
        with table.engine.begin() as connection:
            connection.execute(table.table.insert().values(word="half"))
            # Its position is not decided before it ends.
            with pytest.raises(ExperimentInUse, match="holds a transaction open"):
                experiment.mark()
        here = experiment.mark()
        experiment.rewind(here)
        assert experiment.message("mine")["word"].tolist() == ["half"]


def test_on_a_network_file_system_the_tables_may_be_on_a_server(
    tmp_path: Path, store: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("fireworks.record.filesystem.filesystem", lambda path: "nfs4")
    with pytest.raises(WrongValue, match="store="):
        refuse_network(tmp_path)
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        experiment.log(loss=1.0)
    with load_experiment(experiment.path, write=True) as again:
        again.log(loss=2.0)


def test_a_schema_of_a_run_that_others_were_faster_to_number(tmp_path: Path, store: str) -> None:
    """Two that are made at once: the one that must take the next number leaves no schema."""
    first = Experiment("digits", root=tmp_path, store=store)
    second = Experiment("digits", root=tmp_path, store=store)
    assert (first.id, second.id) == ("digits-0001", "digits-0002")
    first.close()
    second.close()
    assert len(schemas(store)) == 2


def test_what_was_committed_survives_kill_9(
    python: Callable[..., Any], tmp_path: Path, store: str
) -> None:
    process = python(
        """
import sys
from fireworks.experiment import Experiment
experiment = Experiment("digits", root=sys.argv[1], store=sys.argv[2])
for step in range(100_000):
    experiment.log({"loss": step / 2}, step=step)
    if step % 100 == 99:
        experiment.flush()
        print(step, flush=True)
""",
        tmp_path,
        store,
    )
    for _ in range(20):
        told = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    told = max([told, *map(int, process.stdout)])
    process.wait()
    read = load_experiment(tmp_path / "digits-0001")
    assert read.status == "killed"
    steps = read.metrics()["step"].tolist()
    assert steps == list(range(len(steps)))
    assert len(steps) > told
    assert read.sql("SELECT step FROM latest")["step"].tolist() == [steps[-1]]


def test_trials_in_processes_of_their_own(
    python: Callable[..., Any], tmp_path: Path, store: str
) -> None:
    script = """
import sys
from fireworks.experiment import open_attempt
with open_attempt(sys.argv[1], int(sys.argv[2]), 1) as trial:
    for step in range(200):
        trial.log(loss=float(step), step=step)
        trial.flush()
"""
    with Experiment("digits", root=tmp_path, store=store) as experiment:
        for trial in range(3):
            experiment.sweep.add_trial(trial, seed=trial, params={})
            experiment.sweep.start_attempt(trial, host="here")
        processes = [python(script, experiment.path, trial) for trial in range(3)]
        while any(each.poll() is None for each in processes):
            experiment.log(parent=1.0)
            time.sleep(0.01)
        assert [each.returncode for each in processes] == [0, 0, 0]
        rows = experiment.sql(
            "SELECT trial, step, seq FROM metrics JOIN series ON id = series "
            "WHERE trial >= 0 ORDER BY trial, seq"
        )
        assert rows["step"].tolist() == [*range(200)] * 3
        assert not rows["seq"].duplicated().any()
        experiment.sweep.finish_attempt(0, 1, state="completed", result={"loss": 1.0})
        with pytest.raises(ExperimentInUse, match="trial 0 is completed"):
            open_attempt(experiment.path, 0, 1)
