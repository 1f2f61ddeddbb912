"""Files that are malformed, cut off, mixed, missing, changed: errors that say where and what."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from fireworks import Message, concat
from fireworks.errors import (
    ColumnNotFound,
    DamagedFile,
    DuplicateColumn,
    FileChanged,
    FilesNotFound,
    SchemasDiffer,
    WrongType,
    WrongValue,
)
from fireworks.source import Retry
from fireworks.sources import (
    CSVSource,
    FastaSource,
    FeatherSource,
    ImageFolderSource,
    JSONLinesSource,
    LinesSource,
    ParquetSource,
    arrow_footer,
    record_files,
)

# pyarrow keeps a pipe for signals open from its first read of a CSV file on.
pyarrow.csv.read_csv(pa.BufferReader(b"a\n1\n"))


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Malformed lines: file, line and cause are named; or they are skipped, and kept in mind

MALFORMED = {
    "short": (CSVSource, "a,b\n1,2\n\n3\n4,5\n", 4, "Expected 2 columns, got 1"),
    "quoted": (CSVSource, 'a,b\n1,"x\ny"\n2,z,9\n3,w\n', 4, "Expected 2 columns, got 3"),
    "open": (CSVSource, 'a,b\n1,x\n2,"y\n', 3, "a quote is opened here and never closed"),
    "carriage": (CSVSource, "a,b\n1,2\n3,4\r5,6\n", 3, "several rows"),
    "bytes": (CSVSource, b"a,b\n1,x\n2,\xe9\n", 3, r"not utf-8 \(byte 0xe9\).*latin-1"),
    "object": (JSONLinesSource, '{"a": 1}\n\n{"a": 2\n{"a": 3}\n', 3, "no JSON: Expecting"),
    "array": (JSONLinesSource, '{"a": 1}\n[1]\n', 2, "a list, not an object"),
    "null": (JSONLinesSource, 'null\n{"a": 1}\n', 1, "a NoneType, not an object"),
    "two": (JSONLinesSource, '{"a": 1}\n{"a": 2}{"a": 3}\n', 2, "Extra data"),
    "latin": (JSONLinesSource, b'{"a": "x"}\n{"a": "\xe9"}\n', 2, "not utf-8"),
    "text": (LinesSource, b"one\ntwo\n\xff\xfe!\n", 3, r"not utf-8 \(byte 0xff\)"),
    "fasta": (FastaSource, "; comment\nACGT\n>a\nAC\n", 1, "begins with '>'"),
}


@pytest.fixture(params=MALFORMED)
def malformed(request, tmp_path):
    source, content, line, cause = MALFORMED[request.param]
    return source, written(tmp_path / "bad.data", content), line, cause


def test_a_malformed_line_is_named(malformed):
    source, path, line, cause = malformed
    with pytest.raises(DamagedFile, match=rf"bad\.data, line {line}: .*{cause}"):
        source(path).read_all()
    with pytest.raises(DamagedFile, match=rf"bad\.data, line {line}: .*{cause}"):
        prepared = source(path)
        prepared.prepare()
        prepared.read_all()


def test_a_malformed_line_is_skipped(malformed):
    source, path, line, _cause = malformed
    reader = source(path, on_error="skip")
    reader.prepare()
    assert not reader.indexed
    good = reader.read_all()
    assert len(good) >= 1
    assert [each.where for each in reader.skipped] == [f"{path}, line {line}"]
    assert reader.skipped_count == 1
    with pytest.raises(WrongType, match="on_error"):
        reader.__getitem__(0)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        ("x,1", "column 'n': .*invalid value 'x'"),
        (",1", 'declare types={"n": "Int64"}'),
        ("1.5,1", "1.5"),
    ],
)
def test_a_cell_that_does_not_fit_the_kind_settled_before(bad, cause, tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "BLOCK_BYTES", 100)
    lines = [f"{i},{i}" for i in range(200)]
    lines[150] = bad
    path = written(tmp_path / "a.csv", "n,m\n" + "\n".join(lines))
    with pytest.raises(DamagedFile, match=f"line 152: .*{cause}"):
        CSVSource(path).read_all()
    source = CSVSource(path)
    source.prepare()
    with pytest.raises(DamagedFile, match=f"line 152: .*{cause}"):
        source.read(np.array([7, 150, 199]))
    assert source[149]["n"].item() == 149
    skipping = CSVSource(path, on_error="skip")
    assert skipping.read_all()["m"].tolist() == [*range(150), *range(151, 200)]
    assert len(CSVSource(path, types={"n": str}).read_all()) == 200


def test_many_malformed_lines_are_all_found(tmp_path):
    lines = [f"{i},{i}" if i % 7 else f"{i}" for i in range(1000)]
    source = CSVSource(written(tmp_path / "a.csv", "n,m\n" + "\n".join(lines)), on_error="skip")
    assert source.read_all()["n"].tolist() == [i for i in range(1000) if i % 7]
    assert source.skipped_count == 143 and source.skipped[1].where.endswith("line 9")


def test_json_that_contradicts_itself_or_brings_new_keys(tmp_path):
    path = written(tmp_path / "a.jsonl", '{"a": 1}\n{"a": "x"}\n')
    with pytest.raises(DamagedFile, match=r"a\.jsonl.*changed from number to string.*types="):
        JSONLinesSource(path).read_all()
    assert len(JSONLinesSource(path, types={"a": "int64"}, on_error="skip").read_all()) == 1
    written(tmp_path / "b.jsonl", '{"c": 1}\n')
    written(tmp_path / "a.jsonl", '{"a": 1}\n')
    with pytest.raises(DamagedFile, match=r"b\.jsonl, line 1: the key 'c' .*a\.jsonl; declare"):
        JSONLinesSource(tmp_path).read_all()
    both = JSONLinesSource(tmp_path, types={"a": "Int64", "c": "Int64"}).read_all()
    assert both["c"].isna().tolist() == [True, False]


def test_a_null_line_does_not_end_the_process(tmp_path):
    path = written(tmp_path / "a.jsonl", "null\nnull\n")
    code = f"from fireworks.sources import JSONLinesSource as J; J({str(path)!r}).read_all()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "DamagedFile" in done.stderr


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path, monkeypatch):
    from fireworks.sources import records

    monkeypatch.setattr(records, "_RECORD_BYTES", 10_000)
    monkeypatch.setattr(record_files, "BLOCK_BYTES", 1_000)
    path = written(tmp_path / "a.csv", "n,s\n1,x\n" + '2,"y\n' + "3,z\n" * 50_000)
    with pytest.raises(DamagedFile, match=r"a\.csv, line \d+: the record .* Is a quote opened"):
        list(CSVSource(path))


# Damage


@pytest.mark.parametrize("source", [ParquetSource, FeatherSource])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"ARROW1\0\0rubbish", b"x" * 5000])
def test_what_is_no_such_file(source, content, tmp_path):
    path = written(tmp_path / "a.data", content)
    with pytest.raises(DamagedFile, match=r"a\.data: "):
        len(source(path))


def write(kind, path, rows):
    if kind is ParquetSource:
        parquet.write_table(rows, path, row_group_size=100, compression="zstd")
    else:
        feather.write_feather(rows, path, "zstd", chunksize=100)
    return path


@pytest.fixture(params=[ParquetSource, FeatherSource], ids=["parquet", "feather"])
def kind(request):
    return request.param


def rows_of(count=1000, **more):
    return pa.table({"i": range(count), "x": np.random.default_rng(0).random(count), **more})


def test_every_truncation_is_noticed(kind, tmp_path):
    content = write(kind, tmp_path / "a.data", rows_of()).read_bytes()
    for length in range(0, len(content) - 1, len(content) // 40):
        path = written(tmp_path / "cut.data", content[:length])
        with pytest.raises(DamagedFile, match=r"cut\.data"):
            kind(path).read_all()


def damaged(kind, path):
    """Overwrite the data of a group in the middle, not what describes it."""
    write(kind, path, rows_of())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if kind is FeatherSource:
        with open(path, "rb") as file:
            block = arrow_footer._blocks(file)[5]
        middle = int(block["offset"] + block["head"])
    content[middle : middle + 200] = b"\xa5" * 200
    path.write_bytes(content)
    return path


def test_a_corrupt_group_is_named_and_can_be_skipped(kind, tmp_path):
    path = damaged(kind, tmp_path / "a.data")
    source = kind(path)
    assert len(source) == 1000 and source[0]["i"].item() == 0
    with pytest.raises(DamagedFile, match=r"a\.data, row group \d: .*on_error=.skip"):
        source.read_all()
    skipping = kind(path, on_error="skip")
    left = skipping.read_all()
    assert len(left) in (800, 900) and skipping.skipped_count == (1000 - len(left)) // 100
    assert "row group" in skipping.skipped[0].where
    with pytest.raises(WrongType):
        len(skipping)


def test_any_flipped_byte_gives_rows_or_a_clear_error(kind, tmp_path):
    content = write(kind, tmp_path / "a.data", rows_of(200)).read_bytes()
    generator = np.random.default_rng(0)
    for at in generator.integers(0, len(content), 60):
        broken = bytearray(content)
        broken[at] ^= 1 << int(generator.integers(8))
        path = written(tmp_path / "b.data", bytes(broken))
        try:
            kind(path).read_all()
        except (DamagedFile, SchemasDiffer):
            continue


def test_a_file_that_is_no_file_of_the_kind_is_skipped_whole(kind, tmp_path):
    write(kind, tmp_path / "a.data", rows_of())
    written(tmp_path / "b.data", b"rubbish")
    source = kind(str(tmp_path / "*.data"), on_error="skip")
    assert len(source.read_all()) == 1000
    assert [each.where for each in source.skipped] == [str(tmp_path / "b.data")]


def test_compressed_text_that_is_cut_off(tmp_path):
    packed = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(9999)))
    path = written(tmp_path / "a.csv.gz", packed[: len(packed) // 2])
    with pytest.raises(DamagedFile, match=r"a\.csv\.gz, behind line \d+: its gzip content"):
        CSVSource(path).read_all()
    with pytest.raises(DamagedFile, match="gzip content"):
        CSVSource(written(tmp_path / "b.csv.gz", b"a,b\n1,2\n")).read_all()


def test_images_that_are_damaged_or_of_other_sizes(tmp_path):
    (tmp_path / "cat").mkdir()
    for i in range(3):
        Image.fromarray(np.zeros((4, 4 + i // 2, 3), np.uint8)).save(tmp_path / "cat" / f"{i}.png")
    source = ImageFolderSource(tmp_path)
    assert source[1]["image"].shape == (1, 3, 4, 4)
    with pytest.raises(DamagedFile, match=r"2\.png: it has 4 x 5 pixels .*0\.png has 4 x 4.*size="):
        source[2]
    content = (tmp_path / "cat" / "1.png").read_bytes()
    written(tmp_path / "cat" / "1.png", content[: len(content) // 2])
    with pytest.raises(DamagedFile, match=r"1\.png: the image cannot be decoded"):
        ImageFolderSource(tmp_path, size=(4, 4)).read_all()
    skipping = ImageFolderSource(tmp_path, size=(4, 4), on_error="skip")
    assert skipping.read_all()["path"].tolist() == ["cat/0.png", "cat/2.png"]
    written(tmp_path / "stray.png", content)
    with pytest.raises(WrongValue, match=r"images beside its folders.*stray\.png"):
        ImageFolderSource(tmp_path)


# Several files that do not agree


def test_mixed_schemas_name_both_files_and_the_column(kind, tmp_path):
    pattern = str(tmp_path / "*.data")
    write(kind, tmp_path / "a.data", rows_of())
    write(kind, tmp_path / "b.data", rows_of().rename_columns(["i", "y"]))
    with pytest.raises(SchemasDiffer, match=r"b\.data has no column 'x', which .*a\.data has"):
        len(kind(pattern))
    assert len(kind(pattern, columns=["i"])) == 2000
    write(kind, tmp_path / "b.data", rows_of(extra=[1] * 1000))
    with pytest.raises(SchemasDiffer, match=r"b\.data has a column 'extra', which .*a\.data lacks"):
        len(kind(pattern))
    write(kind, tmp_path / "b.data", rows_of().set_column(0, "i", pa.array(["t"] * 1000)))
    with pytest.raises(
        SchemasDiffer, match=r"'i' is int64 in .*a\.data and large_string in .*b\.d"
    ):
        len(kind(pattern))
    write(kind, tmp_path / "b.data", rows_of().set_column(0, "i", pa.array([2.0] * 1000)))
    assert len(kind(pattern, types={"i": "float32"}).read_all()) == 2000
    write(kind, tmp_path / "b.data", rows_of().select(["x", "i"]))
    assert kind(pattern).read_all()["i"].tolist() == [*range(1000)] * 2


def test_mixed_headers_name_both_files_and_the_column(tmp_path):
    written(tmp_path / "a.csv", "a,b\n1,2\n")
    written(tmp_path / "b.csv", "b,a\n2,1\n")
    source = CSVSource(tmp_path)
    source.prepare()
    assert (
        source.read_all() == Message({"a": [1, 1], "b": [2, 2]}) == CSVSource(tmp_path).read_all()
    )
    written(tmp_path / "c.csv", "a,c\n1,2\n")
    with pytest.raises(SchemasDiffer, match=r"c\.csv has no column 'b', which .*a\.csv has"):
        CSVSource(tmp_path).read_all()
    with pytest.raises(SchemasDiffer, match=r"c\.csv"):
        CSVSource(tmp_path).prepare()
    assert CSVSource(tmp_path, columns=["a"]).read_all()["a"].tolist() == [1, 1, 1]
    with pytest.raises(DuplicateColumn, match="two columns named 'a'"):
        CSVSource(written(tmp_path / "d.csv", "a,a\n1,2\n")).read_all()


# Empty files, missing files, wrong arguments


def test_empty_files(tmp_path):
    written(tmp_path / "b.csv", "")
    with pytest.raises(DamagedFile, match=r"b\.csv is empty: no header"):
        CSVSource(tmp_path).schema  # noqa: B018
    written(tmp_path / "a.csv", "x,y\n")
    headed = CSVSource(tmp_path, types={"x": "int64"})
    headed.prepare()
    assert len(headed) == 0 and list(headed) == []
    assert {n: f.kind for n, f in headed.read_all().schema.items()} == {
        "x": "number",
        "y": "string",
    }
    written(tmp_path / "c.csv", "x,y\n1,2\n")
    assert concat(list(CSVSource(tmp_path)))["x"].tolist() == [1]
    for source, name in [(LinesSource, "a.txt"), (FastaSource, "a.fa")]:
        empty = source(written(tmp_path / name, ""))
        empty.prepare()
        assert len(empty) == 0 and list(empty) == []
    with pytest.raises(DamagedFile, match=r"a\.jsonl: no record, so the columns are not known"):
        JSONLinesSource(written(tmp_path / "a.jsonl", "\n\n")).prepare()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.csv", "There is no file .*none.csv"),
        ("*.tsv", r"No file matches .*\*\.tsv"),
        ("", r"has no file that ends in \.csv or .*there is: a\.md"),
    ],
)
def test_missing_files(name, told, tmp_path):
    written(tmp_path / "a.md", "")
    with pytest.raises(FilesNotFound, match=told) as caught:
        CSVSource(f"{tmp_path}/{name}")
    assert isinstance(caught.value, FileNotFoundError)


def test_lists_globs_and_folders(tmp_path):
    for name in ["b.csv", "a.csv", "deep/c.csv", ".hidden.csv", "_deep/d.csv"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / name, f"n\n{name}\n")

    def names(paths):
        return CSVSource(paths).read_all()["n"].tolist()

    assert names(tmp_path) == ["a.csv", "b.csv", "deep/c.csv"]
    assert names(tmp_path / "*.csv") == ["a.csv", "b.csv"]
    assert names([tmp_path / "b.csv", f"{tmp_path}/deep/*"]) == ["b.csv", "deep/c.csv"]
    with pytest.raises(WrongValue, match=r"a\.csv is named twice"):
        names([tmp_path / "a.csv", tmp_path])
    for wrong, error in [([], WrongValue), (3, WrongType), ([3], WrongType)]:
        with pytest.raises(error):
            CSVSource(wrong)
    assert CSVSource(tmp_path).describe() != CSVSource(tmp_path / "a.csv").describe()


def test_unknown_columns_get_the_nearest_name(kind, tmp_path):
    path = write(kind, tmp_path / "a.data", rows_of())
    lines = written(tmp_path / "a.csv", "label,x\n1,2\n")
    for source, argument in [
        (kind(path, columns=["xx"]), "columns"),
        (kind(path, types={"xx": int}), "types"),
    ]:
        with pytest.raises(ColumnNotFound, match=rf"'xx', which {argument}= names.*mean 'x'"):
            len(source)
    with pytest.raises(ColumnNotFound, match="'lable', which columns= names.*mean 'label'"):
        CSVSource(lines, columns=["lable"]).read_all()
    with pytest.raises(ColumnNotFound, match="mean 'sequence'"):
        FastaSource(written(tmp_path / "a.fa", ">a\nA"), columns=["sequense"])


@pytest.mark.parametrize(
    "options",
    [
        {"columns": []},
        {"columns": ["a", "a"]},
        {"types": {"a": "integer"}},
        {"types": {"a": object()}},
        {"on_error": "ignore"},
        {"delimiter": ";;"},
        {"quote": ""},
        {"encoding": "utf-16"},
        {"encoding": "martian"},
    ],
)
def test_wrong_arguments(options, tmp_path):
    with pytest.raises(WrongValue):
        CSVSource(written(tmp_path / "a.csv", "a\n1\n"), **options)
    with pytest.raises(WrongType):
        CSVSource(tmp_path / "a.csv", columns="a")


def test_utf_16_is_told(tmp_path):
    path = written(tmp_path / "a.csv", "a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(DamagedFile, match="UTF-16.*iconv"):
        CSVSource(path).read_all()


# Files that change or vanish


def sources(folder):
    (folder / "cat").mkdir()
    for i in range(2):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "cat" / f"{i}.png")
    text = "".join(f"{i}\n" for i in range(400))
    yield CSVSource(written(folder / "a.csv", "n\n" + text))
    yield LinesSource(written(folder / "a.txt", text))
    yield JSONLinesSource(written(folder / "a.jsonl", '{"a": 1}\n' * 400))
    yield FastaSource(written(folder / "a.fa", ">a\nA\n" * 400))
    yield ParquetSource(write(ParquetSource, folder / "a.parquet", rows_of()), max_bytes=0)
    yield FeatherSource(write(FeatherSource, folder / "a.feather", rows_of()), max_bytes=0)
    yield ImageFolderSource(folder)


@pytest.mark.parametrize("change", ["vanished", "written to"])
def test_files_that_change_or_vanish(change, tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "BLOCK_BYTES", 300)
    for source in sources(tmp_path):
        source.prepare()
        streamed = source.stream()
        next(streamed)
        assert len(source[0]) == 1
        for file in source.files:
            if change == "vanished":
                os.rename(file.path, file.path + ".away")
            else:
                with open(file.path, "ab") as opened:
                    opened.write(b"1\n")
        with pytest.raises(FileChanged, match=rf"(?s){change}.*make the source anew"):
            source[len(source) - 1]
        if not isinstance(source, ImageFolderSource):
            with pytest.raises(FileChanged, match=change):
                list(streamed)


def test_retrying_what_fails_now_and_then(tmp_path, monkeypatch):
    path = write(ParquetSource, tmp_path / "a.parquet", rows_of())
    lines = written(tmp_path / "a.csv", "n\n" + "".join(f"{i}\n" for i in range(999)))
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "cat" / "0.png")
    made = [
        (ParquetSource, path),
        (CSVSource, lines),
        (ImageFolderSource, tmp_path),
    ]
    patient = [source(each, on_error=Retry(1, wait=0.001)) for source, each in made]
    brittle = [source(each) for source, each in made]
    stat, asked = os.stat, []

    def failing(path, **options):
        """A network file system on a bad day."""
        asked.append(path)
        if len(asked) % 3 == 0:
            raise OSError(5, "Input/output error")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", failing)
    for source in patient:
        for _ in range(3):
            source.prepare()
            assert len(source.read(np.array([0]))) == 1
    assert len(asked) > 9
    for source in brittle:
        with pytest.raises(OSError, match="Input/output error"):
            for _ in range(3):
                source.prepare()
                source.read(np.array([0]))
