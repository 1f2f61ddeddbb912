"""Texts as ids of tokens, and the vocabulary between them."""

from __future__ import annotations

import json
import pickle
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fireworks import Message, Source, concat
from fireworks.errors import (
    ColumnNotFound,
    DamagedFile,
    RowOutOfRange,
    WrongType,
    WrongValue,
)
from fireworks.sources import (
    BatchingSource,
    IterableSource,
    MessageSource,
    PadSource,
    ShufflerSource,
    TokenizerSource,
    Vocabulary,
)

# A busy machine is slow at making up texts, too.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXTS = ["b a, b!", "", "a b c"]


def texts(values=None) -> MessageSource:
    values = TEXTS if values is None else values
    return MessageSource({"text": values, "i": range(len(values))})


def tokens(source: Source, row: int) -> list[str]:
    return source.vocabulary.decode(source[row]["text"][0])


def by_comma(text: str) -> list[str]:
    return [each for each in text.split(",") if each]


class TestTokenizer:
    def test_ids_by_hand(self):
        source = texts() >> TokenizerSource("text")
        # b 3 times, a twice, then "!", "," and c in the order of code points
        assert list(source.vocabulary) == ["<pad>", "<unk>", "b", "a", "!", ",", "c"]
        assert [row.tolist() for row in source.read_all()["text"]] == [
            [2, 3, 5, 2, 4],
            [],
            [3, 2, 6],
        ]
        assert source.schema["text"].kind == "ragged"
        assert source.schema["text"].dtype == "int64"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Don't 'stop', now!", ["Don't", "'", "stop", "'", ",", "now", "!"]),
            ("  x_1\t-2.5\n…", ["x_1", "-", "2", ".", "5", "…"]),
            ("a\u00a0b\u2003c\u2019s dogs\u2019", ["a", "b", "c\u2019s", "dogs", "\u2019"]),
            ("हिन्दी naïve 東京", ["हिन्दी", "naïve", "東京"]),
            ("cafe\u0301 🙂🙂", ["cafe\u0301", "🙂", "🙂"]),
            (" \n", []),
            ("' ''", ["'", "''"]),
        ],
    )
    def test_words(self, text, expected):
        assert tokens(texts([text, "x"]) >> TokenizerSource("text"), 0) == expected

    @patient
    @given(st.lists(st.text(st.characters(codec="ascii"), max_size=20), min_size=1, max_size=6))
    def test_words_of_ascii_against_a_plain_loop(self, values):
        def plain(text: str) -> list[str]:
            found = []
            for piece in re.sub(r"([^\w'\s])", r" \1 ", text).split():
                start, word, end = re.findall(r"^('*)(.*?)('*)$", piece)[0]
                found += [each for each in (start, word, end) if each]
            return found

        values = [value.translate({i: " " for i in range(32)} | {127: " "}) for value in values]
        source = texts(values) >> TokenizerSource("text")
        assert [tokens(source, i) for i in range(len(values))] == [plain(each) for each in values]

    @patient
    @given(st.lists(st.text(max_size=20), min_size=1, max_size=6))
    def test_characters(self, values):
        values = [each.encode("utf-8", "ignore").decode() for each in values]
        source = texts(values) >> TokenizerSource("text", by="characters")
        assert [tokens(source, i) for i in range(len(values))] == [list(each) for each in values]

    def test_a_function(self):
        source = texts(["x y,z", "", "z"]) >> TokenizerSource("text", by=by_comma)
        assert [tokens(source, i) for i in range(3)] == [["x y", "z"], [], ["z"]]

    def test_lower_case_cut_offs_and_special_tokens(self):
        source = texts(["A a B", "a b c"]) >> TokenizerSource(
            "text", lowercase=True, min_count=2, specials=["<unk>"]
        )
        assert list(source.vocabulary) == ["<unk>", "a", "b"]
        assert source[1]["text"][0].tolist() == [1, 2, 0]
        limited = texts(["a a b"]) >> TokenizerSource("text", max_size=3)
        assert list(limited.vocabulary) == ["<pad>", "<unk>", "a"]

    def test_begin_and_end(self):
        around: Any = {"begin": "<bos>", "end": "<eos>"}
        source = texts() >> TokenizerSource("text", **around)
        assert tokens(source, 0) == ["<bos>", "b", "a", ",", "b", "!", "<eos>"]
        assert tokens(source, 1) == ["<bos>", "<eos>"]
        assert source.vocabulary.specials == ["<pad>", "<unk>", "<bos>", "<eos>"]
        three = texts(["a b", "c", "d e"]) >> TokenizerSource("text", **around)
        assert [three.vocabulary.decode(row) for row in three.read_all()["text"]] == [
            ["<bos>", "a", "b", "<eos>"],
            ["<bos>", "c", "<eos>"],
            ["<bos>", "d", "e", "<eos>"],
        ]
        ends = texts() >> TokenizerSource("text", end="<eos>")
        assert [tokens(ends, i)[-1] for i in range(3)] == ["<eos>"] * 3
        assert tokens(ends, 2)[:-1] == ["a", "b", "c"]

    def test_there_and_back_from_downstream(self):
        loader = texts() >> TokenizerSource("text", end="<eos>") >> ShufflerSource(1)
        loader = loader >> BatchingSource(2) >> PadSource("text")
        assert loader.encode("a z").tolist() == [4, 1, 2]
        assert loader.decode([4, 3, 0, 0]) == "a b"
        for batch in loader:
            for ids, i in zip(batch["text"], batch["i"], strict=True):
                assert loader.decode(ids).split() == re.findall(r"\w|[,!]", TEXTS[i])
        characters = texts() >> TokenizerSource("text", by="characters")
        assert characters.decode(characters.encode("a, b")) == "a, b"

    def test_beside_the_texts(self):
        source = texts() >> TokenizerSource("text", output="ids")
        assert source[0].columns == ["text", "i", "ids"]

    def test_a_given_vocabulary_and_a_fitted_source(self):
        vocabulary = Vocabulary(["a"], specials=["<unk>"])
        source = texts() >> TokenizerSource("text", vocabulary=vocabulary)
        assert source[2]["text"][0].tolist() == [1, 0, 0]
        train = TokenizerSource("text", inputs=texts())
        test = texts(["c d"]) >> TokenizerSource("text", fitted=train)
        assert test[0]["text"][0].tolist() == [6, 1]
        assert pickle.loads(pickle.dumps(test)).read_all() == test.read_all()

    def test_one_pass_over_a_stream_builds_the_same(self):
        message = texts().message
        stream = IterableSource([message[:1], message[1:]]) >> TokenizerSource("text")
        indexed = texts() >> TokenizerSource("text")
        assert stream.vocabulary == indexed.vocabulary
        assert concat(list(stream)) == indexed.read_all()

    def test_no_texts(self):
        source = texts() >> TokenizerSource("text")
        assert source[[]].schema["text"].kind == "ragged"
        assert len(texts([]) >> TokenizerSource("text")) == 0

    def test_bad_input(self):
        untyped: Any = TokenizerSource
        with pytest.raises(WrongType, match="by is 'words'"):
            untyped("text", by="letters")
        with pytest.raises(WrongType, match="one column"):
            untyped(["text"])
        with pytest.raises(WrongValue, match="min_count"):
            TokenizerSource("text", min_count=0)
        with pytest.raises(WrongValue, match="3 special tokens"):
            TokenizerSource("text", max_size=2, end="<eos>")
        with pytest.raises(WrongValue, match="not both"):
            TokenizerSource("t", vocabulary=Vocabulary([]), fitted=TokenizerSource("t"))
        with pytest.raises(WrongValue, match="no special token '<eos>'"):
            TokenizerSource("t", vocabulary=Vocabulary([]), end="<eos>")
        with pytest.raises(WrongType, match="is no Vocabulary"):
            untyped("t", vocabulary=["a"])
        with pytest.raises(ColumnNotFound, match="Did you mean 'text'"):
            (texts() >> TokenizerSource("texts")).read_all()
        with pytest.raises(WrongType, match="'i' is a column of int64"):
            (texts() >> TokenizerSource("i")).read_all()
        with pytest.raises(WrongType, match="row 1 of 'text' is missing.*fillna"):
            (texts(["a", None]) >> TokenizerSource("text")).read_all()
        with pytest.raises(WrongType, match="3 among its tokens"):
            (texts() >> untyped("text", by=lambda text: [3])).read_all()
        strict = Vocabulary(["a", "b"], specials=[])
        with pytest.raises(WrongValue, match="'!' is not in the vocabulary, which has no '<unk>'"):
            (texts(["a!"]) >> TokenizerSource("text", vocabulary=strict)).read_all()
        with pytest.raises(WrongType, match="top of a module"):
            pickle.dumps(TokenizerSource("text", by=lambda text: []))


class TestVocabulary:
    def test_is_a_sequence_of_tokens(self):
        vocabulary = Vocabulary(["a", "b"])
        assert (len(vocabulary), vocabulary[2], vocabulary[-2:]) == (4, "a", ["a", "b"])
        assert "b" in vocabulary and "c" not in vocabulary
        assert vocabulary.id("b") == 3 and vocabulary.id("c") == 1
        assert vocabulary == Vocabulary(["a", "b"]) != Vocabulary(["b", "a"])
        assert "4 tokens: '<pad>', '<unk>', 'a', 'b'" in repr(vocabulary)

    @patient
    @given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 5)))
    def test_the_order_is_that_of_counts_whatever_that_of_the_dict(self, counts):
        built = Vocabulary.from_counts(counts, specials=[])
        backwards = dict(reversed(list(counts.items())))
        assert built == Vocabulary.from_counts(backwards, specials=[])
        assert list(built) == sorted(counts, key=lambda token: (-counts[token], token))

    def test_a_special_token_in_the_text_is_the_special_one(self):
        built = Vocabulary.from_counts({"<pad>": 9, "a": 1})
        assert list(built) == ["<pad>", "<unk>", "a"]

    def test_encode_and_decode(self):
        vocabulary = Vocabulary(["a", "b"])
        assert vocabulary.encode(["b", "z", "a"]).tolist() == [3, 1, 2]
        assert vocabulary.encode([]).dtype == np.int64
        assert vocabulary.decode([3, 1, 0]) == ["b", "<unk>", "<pad>"]
        assert vocabulary.decode(np.array([3, 1, 0]), specials=False) == ["b"]
        with pytest.raises(WrongType, match="list of tokens"):
            vocabulary.encode("ab")
        for bad in (4, -1):
            with pytest.raises(RowOutOfRange, match=f"no id {bad}; they go from 0 to 3"):
                vocabulary.decode([0, bad])
        for bad in ([[1]], [0.5]):
            with pytest.raises(WrongType, match="integers in one dimension"):
                vocabulary.decode(bad)

    @patient
    @given(st.lists(st.text(), unique=True))
    def test_saved_and_loaded(self, tmp_path_factory, values):
        path = tmp_path_factory.getbasetemp() / "vocabulary.json"
        values = [each for each in values if each.isprintable() and each not in ("<s>",)]
        vocabulary = Vocabulary(values, specials=["<s>"])
        vocabulary.save(path)
        assert Vocabulary.load(path) == vocabulary

    def test_damaged_files(self, tmp_path):
        path = tmp_path / "v.json"
        for content in ("", "[1]", "{}", '{"version": 1, "specials": [], "tokens": [1]}'):
            path.write_text(content)
            with pytest.raises(DamagedFile, match="holds no vocabulary"):
                Vocabulary.load(path)
        path.write_text(json.dumps({"version": 2, "specials": [], "tokens": []}))
        with pytest.raises(DamagedFile, match="version 2"):
            Vocabulary.load(path)
        with pytest.raises(FileNotFoundError):
            Vocabulary.load(tmp_path / "nowhere.json")

    def test_bad_input(self):
        untyped: Any = Vocabulary
        with pytest.raises(WrongValue, match="'a' is given twice"):
            Vocabulary(["a", "b", "a"])
        with pytest.raises(WrongValue, match="special tokens count too"):
            Vocabulary(["<pad>"])
        with pytest.raises(WrongType, match="strings, not 3"):
            untyped([3])
        with pytest.raises(WrongType, match="specials is a list"):
            Vocabulary([], specials="<pad>")


def test_message_columns_of_ids_survive_a_file(tmp_path):
    rows = (texts() >> TokenizerSource("text")).read_all()
    rows.save(tmp_path / "rows.arrow")
    assert Message.load(tmp_path / "rows.arrow") == rows
