"""Text files: the laws of a sequence, resumes, threads, pickles, compression."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from fireworks import Message, concat
from fireworks.errors import WrongType
from fireworks.sources import (
    CSVSource,
    FastaSource,
    JSONLinesSource,
    LinesSource,
    record_files,
    records,
)

# pyarrow keeps a pipe for signals open from its first read of a CSV file on.
pyarrow.csv.read_csv(pa.BufferReader(b"a\n1\n"))

WORDS = ["plain", "with, comma", 'with "quotes"', "two\nlines", "", "é ü 漢", "  blank "]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks far smaller than the files, so that every test crosses many."""
    monkeypatch.setattr(record_files, "BLOCK_BYTES", 300)


def write_csv(folder):
    for part in range(3):
        with open(folder / f"{part}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\r\n" if part == 1 else "\n")
            writer.writerow(["i", "x", "word"])
            for i in range(part * 50, part * 50 + 50):
                writer.writerow([i, i / 4, WORDS[i % len(WORDS)]])
    return CSVSource


def write_jsonl(folder):
    for part in range(3):
        rows = [
            {"i": i, "x": i / 4, "word": WORDS[i % len(WORDS)], "list": list(range(i % 3))}
            for i in range(part * 50, part * 50 + 50)
        ]
        text = "\n\n".join(json.dumps(row) for row in rows)
        (folder / f"{part}.jsonl").write_text(text)
    return JSONLinesSource


def write_lines(folder):
    for part in range(3):
        lines = [f"line {i} {'é' * (i % 5)}" if i % 4 else "" for i in range(50)]
        (folder / f"{part}.txt").write_text("\n".join(lines) + ("\n" if part else "\nlast"))
    return LinesSource


def write_fasta(folder):
    for part in range(3):
        records_ = [f">s{part}.{i} sample {i}\n" + "ACGT\n" * (i % 7) for i in range(50)]
        (folder / f"{part}.fa").write_text("".join(records_))
    return FastaSource


WRITERS = [write_csv, write_jsonl, write_lines, write_fasta]


@pytest.fixture(params=WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))
def make(request, tmp_path):
    source = request.param(tmp_path)
    return lambda: source(tmp_path)


def prepared(source):
    source.prepare()
    assert source.indexed
    return source


def test_a_stream_and_an_index_give_the_same_rows(make):
    streamed = make().read_all()
    source = prepared(make())
    assert len(source) == source.num_rows == len(streamed) >= 150
    assert source.read_all() == streamed
    assert next(len(block) for block in make()) < 50


def test_the_laws_of_a_sequence(make):
    source = prepared(make())
    items = list(source)
    assert len(items) == len(source)
    assert all(source[i] == items[i] for i in range(len(items)))
    assert source[[7, 3, 140, 3]] == concat([source[i] for i in (7, 3, 140, 3)])
    assert source[-1] == items[-1]
    rows = np.random.default_rng(0).permutation(len(source))
    assert source.read(rows) == source.read_all().take(rows)
    assert source.read(rows[:0]) == source.read_all()[:0]


def test_the_stream_resumes_behind_every_block(make):
    whole = list(make())
    for stop in range(len(whole) + 1):
        first = make()
        items = iter(first)
        for _ in range(stop):
            next(items)
        state = json.loads(json.dumps(items.state_dict()))
        items.close()
        second = make()
        second.load_state_dict(state)
        left = list(second)
        assert len(left) == len(whole) - stop
        assert all(a == b for a, b in zip(left, whole[stop:], strict=True))


def test_threads_and_pickles(make):
    source = prepared(make())
    every = source.read_all()
    rows = [np.random.default_rng(seed).integers(0, len(source), 30) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for asked, message in zip(rows, pool.map(source.read, rows), strict=True):
            assert message == every.take(asked)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.indexed and copy.read_all() == every
    assert pickle.loads(pickle.dumps(make())).read_all() == every


def test_threads_that_all_scan_first(make):
    source = make()
    with ThreadPoolExecutor(8) as pool:
        counts = set(pool.map(lambda _: source.num_rows, range(8)))
    assert counts == {len(source)}


PACK = {"gz": gzip.compress, "bz2": bz2.compress, "zst": lambda data: _zstd(data)}


def _zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("suffix", PACK)
def test_compressed_files_stream_and_resume_and_say_why(make, suffix, tmp_path):
    whole = make().read_all()
    for path in sorted(tmp_path.iterdir()):
        (tmp_path / f"{path.name}.{suffix}").write_bytes(PACK[suffix](path.read_bytes()))
        path.unlink()
    source = make()
    source.prepare()
    assert not source.indexed
    chunks = list(source)
    assert concat(chunks) == whole
    with pytest.raises(WrongType, match=rf"0\.\w+\.{suffix} is compressed.*Decompress"):
        source[3]
    with pytest.raises(WrongType, match="compressed"):
        _ = source.num_rows
    for stop in range(0, len(chunks), 3):
        items = iter(make())
        for _ in range(stop):
            next(items)
        state = items.state_dict()
        items.close()
        again = make()
        again.load_state_dict(state)
        assert concat([whole[:0], *again]) == whole[sum(map(len, chunks[:stop])) :]


def test_compression_is_known_by_content_too(tmp_path):
    (tmp_path / "data").write_bytes(gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n"))
    assert CSVSource(tmp_path / "data").read_all()["a"].tolist() == [1, 3]


def test_before_it_is_scanned_an_index_is_refused_with_the_way_out(make):
    source = make()
    for ask in (lambda: source[0], lambda: len(source)):
        with pytest.raises(WrongType, match=r"streams until source\.prepare\(\)"):
            ask()
    assert not source.indexed


def test_cells_are_what_was_written(tmp_path):
    write_csv(tmp_path)
    message = CSVSource(tmp_path).read_all()
    assert message["i"].tolist() == list(range(150))
    assert message["word"].tolist() == [WORDS[i % len(WORDS)] for i in range(150)]
    assert CSVSource(tmp_path, columns=["word", "i"]).read_all().columns == ["word", "i"]


def test_json_keeps_lists_and_missing_keys(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1, "l": [1, 2], "o": {"k": 1}}\n{"l": []}\n')
    message = JSONLinesSource(path).read_all()
    assert message.schema["n"].dtype == "Int64" and message["n"].isna().tolist() == [False, True]
    assert message.schema["l"].kind == "ragged"
    assert message["o"].tolist() == [{"k": 1}, None]


def test_kinds_are_the_same_in_every_block(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("n,x\n" + "".join(f"{i},{i}\n" if i else ",\n" for i in range(500)))
    blocks = list(CSVSource(path))
    assert len(blocks) > 5
    assert {str(block.schema) for block in blocks} == {str(blocks[0].schema)}
    assert blocks[0].schema["n"].dtype == "Int64"
    declared = CSVSource(path, types={"n": "float32", "x": str}).read_all()
    assert (declared.schema["n"].dtype, declared.schema["x"].kind) == ("float32", "string")


def test_fasta_records(tmp_path):
    (tmp_path / "a.fa").write_text(">one first of all\nACG\nT >\n>two\n\n>\nAA")
    source = prepared(FastaSource(tmp_path))
    assert source.read_all() == Message(
        {
            "id": ["one", "two", ""],
            "description": ["first of all", "", ""],
            "sequence": ["ACGT>", "", "AA"],
        }
    )


def test_windows_ends_marks_and_encodings(tmp_path):
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n1,x\r\n\r\n2,y")
    source = prepared(CSVSource(tmp_path / "bom.csv"))
    assert source.read_all() == Message({"a": [1, 2], "b": ["x", "y"]})
    (tmp_path / "latin.csv").write_bytes("a\né\nü\n".encode("latin-1"))
    latin = prepared(CSVSource(tmp_path / "latin.csv", encoding="latin-1"))
    assert latin.read_all()["a"].tolist() == ["é", "ü"] and latin[1]["a"].tolist() == ["ü"]
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\nt\rwo\r\n")
    assert prepared(LinesSource(tmp_path / "w.txt")).read_all()["text"].tolist() == [
        "one",
        "",
        "t\rwo",
    ]


def test_other_dialects(tmp_path):
    (tmp_path / "a.tsv").write_text("1\t'a\tb'\n2\t'c\nd'\n")
    source = prepared(CSVSource(tmp_path, delimiter="\t", quote="'", header=["n", "s"]))
    assert source.read_all() == Message({"n": [1, 2], "s": ["a\tb", "c\nd"]})


@pytest.mark.parametrize(
    "text",
    [
        '1,5" disk\n2,"a\nb"\n',
        '1,"a""\nb"""\n2,""\n',
        '1,"a"x\n2,y"z"\n3,"q\nr"\n',
        '1,""""\n2,"\n"\n',
    ],
)
def test_records_end_where_a_csv_parser_says(text, tmp_path):
    split = records.csv_split(",", '"')
    data = text.encode()
    expected = list(csv.reader(text.splitlines(keepends=True)))
    assert len(split(data, True)) == len(expected)
    for cut in range(len(data) + 1):  # whatever is read first, the ends found are ends
        head = split(data[:cut], False).tolist()
        assert head == [end for end in split(data, True).tolist() if end <= cut][: len(head)]
    (tmp_path / "a.csv").write_text("n,s\n" + text)
    assert CSVSource(tmp_path).read_all()["s"].tolist() == [row[1] for row in expected]
