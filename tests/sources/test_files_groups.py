"""Parquet, Feather and image folders: rows by index, announced rows, threads, pickles."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from fireworks import Message, concat
from fireworks.errors import WrongType
from fireworks.sources import (
    BatchingSource,
    FeatherSource,
    ImageFolderSource,
    ParquetSource,
    ShufflerSource,
)

NUM_ROWS = 3000


def table(start, stop):
    rows = range(start, stop)
    return pa.table(
        {
            "i": pa.array(rows),
            "text": [f"row {i}" if i % 5 else None for i in rows],
            "gaps": pa.array([None if i == 1717 else i for i in rows]),
            "flag": [i % 2 == 0 for i in rows],
            "ragged": pa.array([[float(i)] * (i % 3) for i in rows]),
            "vector": pa.FixedSizeListArray.from_arrays(np.arange(start * 4, stop * 4) / 8, 4),
            "category": pa.array([f"c{i // 100 % 7}" for i in rows]).dictionary_encode(),
            "record": pa.array([{"k": i} for i in rows]),
            "when": pa.array(rows, pa.timestamp("us")),
        }
    )


def write_parquet(folder):
    for part in range(3):
        rows = table(part * 1000, part * 1000 + 1000)
        parquet.write_table(rows, folder / f"{part}.parquet", row_group_size=90)
    return ParquetSource


def write_feather(folder):
    for part, compression in enumerate(["lz4", "zstd", "uncompressed"]):
        rows = table(part * 1000, part * 1000 + 1000)
        feather.write_feather(rows, folder / f"{part}.feather", compression, chunksize=90)
    return FeatherSource


@pytest.fixture(params=[write_parquet, write_feather], ids=["parquet", "feather"])
def make(request, tmp_path):
    source = request.param(tmp_path)
    return lambda **options: source(tmp_path, **options)


def counting(source):
    """Count how often each group is decoded."""
    decoded = Counter()
    decode = source._tables

    def tables(file, group, names):
        decoded[file.path, group] += 1
        return decode(file, group, names)

    source._tables = tables
    return decoded


def test_the_laws_of_a_sequence(make):
    source = make()
    items = list(source)
    assert len(items) == len(source) == source.num_rows == NUM_ROWS
    assert [item["i"].item() for item in items] == list(range(NUM_ROWS))
    assert all(source[i] == items[i] for i in range(0, NUM_ROWS, 77))
    assert source[[70, 3, 2999, 3]] == concat([source[i] for i in (70, 3, 2999, 3)])
    every = source.read_all()
    rows = np.random.default_rng(0).permutation(NUM_ROWS)
    assert source.read(rows) == every.take(rows)
    assert source.read(rows[:0]) == every[:0]


def test_columns_are_what_was_written_in_the_same_kinds_everywhere(make):
    source = make()
    kinds = {name: field.kind for name, field in source.schema.items()}
    assert kinds == {
        "i": "number",
        "text": "string",
        "gaps": "extension",
        "flag": "number",
        "ragged": "ragged",
        "vector": "tensor",
        "category": "string",
        "record": "object",
        "when": "datetime",
    }
    assert {str(source[i].schema) for i in range(0, NUM_ROWS, 90)} == {str(source.schema)}
    every = source.read_all()
    assert every["gaps"].isna().to_numpy().nonzero()[0].tolist() == [1717]
    assert every["vector"].equal(torch.arange(NUM_ROWS * 4).double().reshape(-1, 4) / 8)
    assert every["text"].isna().sum() == NUM_ROWS / 5
    assert every["category"].tolist()[695:705] == ["c6"] * 5 + ["c0"] * 5


def test_columns_are_chosen_and_converted(make):
    source = make(columns=["gaps", "i"], types={"i": "float32"})
    assert source.read_all().columns == ["gaps", "i"]
    assert source.schema["i"].dtype == "float32"


def test_a_shuffled_epoch_decodes_each_group_once_a_look_ahead(make):
    source = make(columns=["i", "vector"], max_bytes=40_000)
    batches = source >> ShufflerSource(0) >> BatchingSource(50)
    source.prepare()
    decoded = counting(source)
    order = [i for batch in batches for i in batch["i"].tolist()]
    assert sorted(order) == list(range(NUM_ROWS)) != order
    at_once = source._rows_at_once()
    assert 500 < at_once < 1500
    assert max(decoded.values()) <= -(-NUM_ROWS // at_once) + 4, decoded


def test_rows_in_order_are_decoded_once_and_not_planned_for(make):
    source = make(columns=["i", "text"], max_bytes=30_000)
    decoded = counting(source)
    batches = source >> BatchingSource(64)
    assert [i for batch in batches for i in batch["i"].tolist()] == list(range(NUM_ROWS))
    assert max(decoded.values()) <= 2


def test_what_is_held_stays_within_bounds(make):
    source = make(max_bytes=100_000)
    group = source[:90].nbytes
    generator = random.Random(0)
    held = []
    for _ in range(20):
        rows = np.array(generator.sample(range(NUM_ROWS), NUM_ROWS))
        source.will_need(rows)
        source.read(rows[:100])
        cached = sum(future.result().nbytes for future in source._cache._groups.values())
        planned = source._plan.nbytes
        held.append(cached + planned)
        assert planned > 0
    assert max(held) <= 100_000 + group


def test_announcements_in_any_order_change_no_row(make):
    source = make(max_bytes=60_000, columns=["i", "text"])
    every = make(columns=["i", "text"]).read_all()
    generator = np.random.default_rng(0)
    for _ in range(60):
        announced = generator.integers(0, NUM_ROWS * 2, generator.integers(1, 900))
        source.will_need(announced)
        if generator.random() < 0.3:
            source.wont_need(announced[::2])
        asked = generator.permutation(np.concatenate([announced, announced[:5] + 1]))
        assert source.read(asked) == every.take(asked % NUM_ROWS)


def test_threads_share_groups_and_plans(make):
    source = make(max_bytes=60_000, columns=["i", "text"])
    every = source.read_all()
    order = np.random.default_rng(0).permutation(NUM_ROWS)
    source.will_need(order)
    with ThreadPoolExecutor(8) as pool:
        for rows, message in zip(
            np.split(order, 60), pool.map(source.read, np.split(order, 60)), strict=True
        ):
            assert message == every.take(rows)


def test_threads_that_ask_for_one_group_decode_it_once(make):
    source = make()
    source.prepare()
    decoded = counting(source)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: source[i], range(80)))
    assert set(decoded.values()) == {1} and len(decoded) == 1


def test_pickles_hold_no_rows(make):
    source = make()
    every = source.read_all()
    pickled = pickle.dumps(source)
    assert len(pickled) < 20_000
    assert pickle.loads(pickled).read_all() == every


def test_the_batches_resume_at_every_step(make):
    def graph():
        return make(columns=["i"]) >> ShufflerSource(3) >> BatchingSource(500)

    whole = [*graph()]
    for stop in range(len(whole)):
        items = iter(graph())
        for _ in range(stop):
            next(items)
        state = json.loads(json.dumps(items.state_dict()))
        again = graph()
        again.load_state_dict(state)
        assert all(a == b for a, b in zip(again, whole[stop:], strict=True))


def test_a_batch_keeps_no_group_alive(make):
    batch = make(columns=["text"])[[0, 1000]]
    assert batch.nbytes < 200


def test_feather_reads_what_a_message_saves(tmp_path):
    message = Message({"x": torch.randn(5), "y": torch.randn(5, 2).bfloat16(), "s": list("abcde")})
    message.save(tmp_path / "m.arrow")
    assert FeatherSource(tmp_path).read_all() == message


def test_a_list_column_with_empty_lists_stays_ragged_and_one_with_none_does_not(tmp_path):
    for name, cells in [("empty", [[1], [], [2, 3]]), ("none", [[1], None, [2, 3]])]:
        parquet.write_table(pa.table({"l": pa.array(cells)}), tmp_path / f"{name}.parquet")
        feather.write_feather(pa.table({"l": pa.array(cells)}), tmp_path / f"{name}.feather")
    for source, end in [(ParquetSource, "parquet"), (FeatherSource, "feather")]:
        assert source(tmp_path / f"empty.{end}").schema["l"].kind == "ragged"
        assert source(tmp_path / f"none.{end}").schema["l"].kind == "object"


def test_files_without_statistics_and_without_rows(tmp_path):
    rows = pa.table({"n": [1, None], "m": [1, 2]})
    parquet.write_table(rows, tmp_path / "a.parquet", write_statistics=False)
    parquet.write_table(rows[:0], tmp_path / "b.parquet")
    source = ParquetSource(tmp_path)
    assert [source.schema[name].dtype for name in "nm"] == ["Int64", "int64"]
    empty = ParquetSource(tmp_path / "b.parquet")
    assert len(empty) == 0 and list(empty) == [] and empty.read_all().columns == ["n", "m"]
    feather.write_feather(rows[:0], tmp_path / "c.feather")
    assert FeatherSource(tmp_path).read_all().columns == ["n", "m"]


# Images


def write_images(folder):
    generator = np.random.default_rng(0)
    for _k, name in enumerate(["cat", "dog", "owl"]):
        (folder / name / "more").mkdir(parents=True)
        for i in range(4):
            pixels = generator.integers(0, 255, (6, 8, 3), np.uint8)
            path = folder / name / ("more" if i == 3 else ".") / f"{i}.png"
            Image.fromarray(pixels).save(path)
    (folder / "notes.md").write_text("not an image")


def test_an_image_folder_is_a_sequence(tmp_path):
    write_images(tmp_path)
    source = ImageFolderSource(tmp_path)
    every = source.read_all()
    assert len(source) == 12 and source.classes == ["cat", "dog", "owl"]
    assert every["image"].shape == (12, 3, 6, 8) and every["image"].dtype == torch.uint8
    assert every["label"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert every["class"].tolist()[::4] == ["cat", "dog", "owl"]
    assert every["path"].tolist()[3] == "cat/more/3.png"
    stored = np.array(Image.open(tmp_path / "dog" / "1.png"))
    assert np.array_equal(every["image"][5].permute(1, 2, 0).numpy(), stored)
    items = list(source)
    assert all(source[i] == items[i] for i in range(12))
    assert source[[7, 2]] == concat([source[7], source[2]])
    assert source[:0]["image"].shape == (0, 3, 6, 8)
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(8) as pool:
        assert all(
            a == b for a, b in zip(pool.map(copy.__getitem__, range(12)), items, strict=True)
        )


def test_images_are_resized_and_converted_and_left_alone(tmp_path):
    write_images(tmp_path)
    assert ImageFolderSource(tmp_path, size=(4, 2), mode="L")[0]["image"].shape == (1, 1, 4, 2)
    (tmp_path / "cat" / "0.png").write_bytes(b"no image")
    source = ImageFolderSource(tmp_path, columns=["label", "path"])
    assert source.read_all().columns == ["label", "path"]
    flat = ImageFolderSource(tmp_path / "dog" / "more")
    assert flat.read_all().columns == ["image", "path"]


def test_skipping_streams_and_resumes(make, tmp_path):
    source = make(on_error="skip")
    assert not source.indexed
    with pytest.raises(WrongType, match="stream"):
        source[0]
    whole = list(source)
    for stop in range(0, len(whole), 7):
        items = iter(make(on_error="skip"))
        for _ in range(stop):
            next(items)
        again = make(on_error="skip")
        again.load_state_dict(items.state_dict())
        items.close()
        assert all(a == b for a, b in zip(again, whole[stop:], strict=True))
