"""Messages in files: Arrow IPC of our own version, Parquet and CSV; written atomically."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from fireworks.errors import ColumnNotFound, DamagedFile, FireworksError, WrongType, suggest
from fireworks.message.arrow import column_from_arrow, column_to_arrow
from fireworks.message.column import ArrowTable, Column
from fireworks.message.vectors import as_vector
from fireworks.record.atomic import sync_folder, temporary_name

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
_VERSION_KEY = b"fireworks.version"


def table_from_columns(columns: Mapping[str, Column], coded: bool = False) -> ArrowTable:
    """A pyarrow Table of columns, sharing memory where it can; for ``coded`` see the columns'."""
    arrays = [column_to_arrow(column, name, coded) for name, column in columns.items()]
    return pa.Table.from_arrays(arrays, names=list(columns))


def columns_from_table(table: ArrowTable, owned: bool = False) -> dict[str, Column]:
    """The columns of a pyarrow Table; ``owned``: nobody else has it."""
    return {
        str(name): column_from_arrow(column, owned)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


@contextlib.contextmanager
def written_atomically(path: str | os.PathLike[str]) -> Generator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target} cannot be written: there is no folder {target.parent}.")
    temporary = temporary_name(target)
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        yield temporary
        os.fsync(handle)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    sync_folder(target.parent)


def save(columns: Mapping[str, Column], path: str | os.PathLike[str]) -> None:
    """Write an Arrow IPC file."""
    table = table_from_columns(columns, coded=True)
    schema = table.schema.with_metadata({_VERSION_KEY: str(VERSION).encode()})
    with (
        written_atomically(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_table(table.replace_schema_metadata(schema.metadata))


def load(path: str | os.PathLike[str]) -> dict[str, Column]:
    """Read an Arrow IPC file written by `save`.

    Raises:
        DamagedFile: The file is truncated, of a newer version, or no Message.
        FileNotFoundError: There is no such file.
    """

    def read() -> dict[str, Column]:
        with pa.OSFile(os.fspath(path)) as file:
            content = file.read_buffer()
        with pa.ipc.open_file(content) as reader:
            metadata = reader.schema.metadata or {}
            _check_version(metadata.get(_VERSION_KEY), path)
            return columns_from_table(reader.read_all(), owned=True)

    return _reading(path, read)


def to_parquet(columns: Mapping[str, Column], path: str | os.PathLike[str]) -> None:
    """Write a Parquet file."""
    import pyarrow.parquet as parquet

    table = table_from_columns(columns)
    with written_atomically(path) as temporary:
        parquet.write_table(table, temporary)


def from_parquet(
    path: str | os.PathLike[str], columns: list[str] | None = None
) -> dict[str, Column]:
    """Read a Parquet file.

    Raises:
        DamagedFile: It is no complete Parquet file.
        ColumnNotFound: It has no such column.
    """
    import pyarrow.parquet as parquet

    def read() -> dict[str, Column]:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in columns or []:
                if name not in names:
                    raise ColumnNotFound(f"{path} has no column {name!r}.{suggest(name, names)}")
            return columns_from_table(file.read(columns), owned=True)

    return _reading(path, read)


def to_csv(
    columns: Mapping[str, Column], path: str | os.PathLike[str], options: dict[str, Any]
) -> None:
    """Write a CSV file.

    Raises:
        WrongType: A column whose cells are no single values.
    """
    import pandas as pd

    for name, column in columns.items():
        if column.field.shape or column.field.kind == "ragged":
            raise WrongType(
                f"Column {name!r} has several values per row, which a CSV cell "
                f"cannot hold. Drop it, or use save or to_parquet."
            )
    frame = pd.DataFrame({name: as_vector(each).present(name) for name, each in columns.items()})
    with written_atomically(path) as temporary:
        frame.to_csv(temporary, **cast(Any, {"index": False, **options}))


def from_csv(path: str | os.PathLike[str], options: dict[str, Any]) -> pd.DataFrame:
    """Read a CSV file."""
    import pandas as pd

    return pd.read_csv(path, **options)


def _check_version(version: bytes | None, path: object) -> None:
    if version is not None and int(version) > VERSION:
        raise DamagedFile(
            f"{path} was written by a newer version of Fireworks (format {int(version)}; this one "
            f"reads up to {VERSION}). Upgrade: pip install -U fireworks-ml"
        )


def _reading(path: object, read: Callable[[], dict[str, Column]]) -> dict[str, Column]:
    try:
        return read()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, FireworksError | FileNotFoundError):
            raise
        raise DamagedFile(
            f"{path} is not a complete Message file: {str(error).splitlines()[0]}. It may be "
            f"truncated, or of another format."
        ) from error
