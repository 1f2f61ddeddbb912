"""One small example of every source of files, for the conformance suite."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
from PIL import Image

from fireworks import Source
from fireworks.sources import (
    BatchingSource,
    CSVSource,
    FastaSource,
    FeatherSource,
    ImageFolderSource,
    JSONLinesSource,
    LinesSource,
    ParquetSource,
    ShufflerSource,
)

# pyarrow keeps a pipe for signals open from its first read of a CSV file on.
pyarrow.csv.read_csv(io.BytesIO(b"a\n1\n"))

_folder = tempfile.TemporaryDirectory(prefix="fireworks-conformance-files-")
FOLDER = Path(_folder.name)


def _write() -> None:
    for part in range(2):
        numbers = list(range(part * 12, part * 12 + 12))
        table = pa.table({"i": numbers, "text": [f"line {n}" for n in numbers]})
        pyarrow.parquet.write_table(table, FOLDER / f"{part}.parquet", row_group_size=5)
        pyarrow.feather.write_feather(table, str(FOLDER / f"{part}.feather"), chunksize=5)
        pyarrow.csv.write_csv(table, FOLDER / f"{part}.csv")
        lines = [f'{{"i": {n}, "text": "line {n}"}}\n' for n in numbers]
        (FOLDER / f"{part}.jsonl").write_text("".join(lines))
        (FOLDER / f"{part}.txt").write_text("".join(f"line {n}\n" for n in numbers))
        (FOLDER / f"{part}.fasta").write_text("".join(f">s{n}\nAC\nGT\n" for n in numbers))
        images = FOLDER / "images" / "ab"[part]
        images.mkdir(parents=True)
        for n in numbers:
            Image.fromarray(np.full((4, 4, 3), n, np.uint8)).save(images / f"{n:02}.png")


_write()


def prepared(source: Source) -> Source:
    source.prepare()
    return source


def files(ending: str) -> str:
    return str(FOLDER / f"*.{ending}")


INDEXED: dict[str, Callable[[], Source]] = {
    "ParquetSource": lambda: ParquetSource(files("parquet")),
    "ParquetSource/shuffled": lambda: (
        ParquetSource(files("parquet"), columns=["i"]) >> ShufflerSource(1) >> BatchingSource(5)
    ),
    "FeatherSource": lambda: FeatherSource(files("feather")) >> BatchingSource(5),
    "CSVSource": lambda: prepared(CSVSource(files("csv"))),
    "JSONLinesSource": lambda: prepared(JSONLinesSource(files("jsonl"))),
    "LinesSource": lambda: prepared(LinesSource(files("txt"))) >> ShufflerSource(1),
    "FastaSource": lambda: prepared(FastaSource(files("fasta"))),
    "ImageFolderSource": lambda: ImageFolderSource(FOLDER / "images", columns=["image", "label"]),
}

STREAMED: dict[str, Callable[[], Source]] = {
    "CSVSource": lambda: CSVSource(files("csv")) >> BatchingSource(5),
    "JSONLinesSource": lambda: JSONLinesSource(files("jsonl")) >> BatchingSource(5),
    "LinesSource": lambda: LinesSource(files("txt")) >> BatchingSource(5),
    "FastaSource": lambda: FastaSource(files("fasta")) >> BatchingSource(5),
}
