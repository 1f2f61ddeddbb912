"""Texts as ids of their tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pyarrow import compute

from fireworks.errors import WrongType, WrongValue
from fireworks.message import Message
from fireworks.message.kinds.object import ObjectColumn
from fireworks.message.kinds.ragged import RaggedColumn
from fireworks.message.kinds.string import StringColumn
from fireworks.source import OnError, Source
from fireworks.sources.callables import check_travels, name_of
from fireworks.sources.fitting import FittingSource
from fireworks.sources.tokens import Cut, Tokens, by_function, characters, words
from fireworks.sources.vocabulary import PAD, UNKNOWN, Vocabulary, check_limits

pc: Any = compute  # its functions are made when it is loaded, unseen by type checkers


class TokenizerSource(FittingSource[Vocabulary]):
    """A column of texts as a ragged column of token ids, int64; PadSource makes it a tensor.

    The vocabulary is built in one streaming pass over epoch 0 of the input when it is first needed,
    in memory that grows with the number of distinct tokens only, or is given. From downstream,
    ``source.vocabulary``, ``source.encode`` and ``source.decode`` lead here::

        texts >> TokenizerSource("text", min_count=2) >> BatchingSource(32) >> PadSource("text")

    Args:
        column: The column of texts.
        by: How to cut a text into tokens: ``"words"`` (words, and punctuation marks apart from
            them), ``"characters"`` (code points), or a function of a text that returns a list.
        lowercase: Whether texts are brought to lower case first.
        min_count: Tokens that occur less often do not get into the vocabulary.
        max_size: Most ids in the vocabulary, the special ones counted.
        specials: Special tokens, from id 0; ``"<unk>"`` stands for what is not in the vocabulary.
        begin: A special token to put before each text, for example ``"<bos>"``.
        end: One to put behind it.
        vocabulary: A vocabulary to use, instead of building one.
        fitted: Another TokenizerSource whose vocabulary is used: for validation and test data.
        output: The name of the column of ids; by default they take the place of the texts.
        on_error: ``"raise"``, ``"skip"`` to leave out rows that cannot be changed (see
            ``skipped``; the source then streams), or ``Retry(n)``.
        inputs: The source of the texts.
        name: Tells this source from others of its class.

    Raises:
        WrongValue: A limit below 1, both ``vocabulary`` and ``fitted``, special tokens that the
            given vocabulary lacks; or (when read) a token that is not in a vocabulary without
            ``"<unk>"``.
        WrongType: ``by`` is something else, or (when read) the column holds no strings, or a text
            is missing; its row is named.
    """

    def __init__(
        self,
        column: str,
        *,
        by: Literal["words", "characters"] | Cut = "words",
        lowercase: bool = False,
        min_count: int = 1,
        max_size: int | None = None,
        specials: Sequence[str] = (PAD, UNKNOWN),
        begin: str | None = None,
        end: str | None = None,
        vocabulary: Vocabulary | None = None,
        fitted: TokenizerSource | None = None,
        output: str | None = None,
        on_error: OnError = "raise",
        inputs: Source | Mapping[str, Source] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(inputs=inputs, name=name, on_error=on_error)
        if by not in ("words", "characters") and not callable(by):
            raise WrongType(f"by is 'words', 'characters' or a function of a text, not {by!r}.")
        if not isinstance(column, str):
            raise WrongType(f"{self!r} takes the name of one column, not {column!r}.")
        around = [each for each in (begin, end) if each is not None]
        specials = [*specials, *(each for each in around if each not in specials)]
        check_limits(min_count, max_size, specials)
        self.learn_from(fitted)
        if vocabulary is not None:
            if fitted is not None:
                raise WrongValue(f"{self!r} takes vocabulary= or fitted=, not both.")
            if not isinstance(vocabulary, Vocabulary):
                raise WrongType(f"{vocabulary!r:.60} is no Vocabulary; make one of a list first.")
            if lacking := [each for each in around if each not in vocabulary.specials]:
                raise WrongValue(f"The vocabulary has no special token {lacking[0]!r}.")
        self._learned = vocabulary
        self._given = None if vocabulary is None else vocabulary.digest
        self.column = column
        self.output = column if output is None else output
        self._by = by
        self._lowercase = lowercase
        self._min_count = min_count
        self._max_size = max_size
        self._specials = specials
        self._begin = begin
        self._end = end

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens and their ids; the first access builds it."""
        return self.learned

    def learn(self) -> Vocabulary:
        """Count the tokens of all texts and build the vocabulary."""
        counts: Counter[str] = Counter()
        for rows in self.input.blocks():
            counts.update(self._cut(self._texts(rows)).counts())
        return Vocabulary.from_counts(
            counts, min_count=self._min_count, max_size=self._max_size, specials=self._specials
        )

    def transform(self, message: Message) -> Message:
        """Return the rows with the ids of their tokens."""
        changed = message.copy(deep=False)
        changed[self.output] = self._encoded(self._texts(message))
        return changed

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids of one text's tokens, int64, shape (length,)."""
        return self._encoded(pa.array([text], pa.large_string())).values

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of ids: tokens joined by spaces (characters by nothing), no special ones.

        White space and case are not what they were.
        """
        between = "" if self._by == "characters" else " "
        return between.join(self.vocabulary.decode(ids, specials=False))

    def describe(self) -> dict[str, Any]:
        """Return how texts are cut, and how the vocabulary is built or which was given."""
        return {
            "column": self.column,
            "output": self.output,
            "by": self._by if isinstance(self._by, str) else name_of(self._by),
            "lowercase": self._lowercase,
            "min_count": self._min_count,
            "max_size": self._max_size,
            "specials": self._specials,
            "begin": self._begin,
            "end": self._end,
            "vocabulary": self._given,
        }

    def _encoded(self, texts: Any) -> RaggedColumn:
        tokens, vocabulary = self._cut(texts), self.vocabulary
        ids, offsets = vocabulary.encode(tokens.distinct)[tokens.codes], tokens.offsets
        around = [
            (vocabulary.id(special), places)
            for special, places in ((self._begin, offsets[:-1]), (self._end, offsets[1:]))
            if special is not None
        ]
        if around:
            # Text by text, so that the end of one comes before the beginning of the next.
            places = np.stack([each for _, each in around], axis=1)
            ids = np.insert(ids, places.ravel(), np.tile([each for each, _ in around], len(texts)))
            offsets = offsets + len(around) * np.arange(len(offsets))
        return RaggedColumn(ids, offsets)

    def _cut(self, texts: Any) -> Tokens:
        if self._lowercase:
            texts = pc.utf8_lower(texts)
        if callable(self._by):
            return by_function(texts, self._by)
        return characters(texts) if self._by == "characters" else words(texts)

    def _texts(self, message: Message) -> Any:
        texts = message.array(self.column)
        column = message.stored[self.column]
        if isinstance(column, ObjectColumn) and not len(column):
            texts = pa.array([], pa.large_string())
        elif not isinstance(column, StringColumn):
            raise WrongType(
                f"{self!r} tokenizes strings; {self.column!r} is a column of {column.field.dtype}."
            )
        if texts.null_count:
            row = pc.index(texts.is_null(), True).as_py()
            raise WrongType(
                f"The text in row {row} of {self.column!r} is missing. Fill such texts first, for "
                f"example with MapSource(…), whose function returns message.fillna(…)."
            )
        return texts

    def __getstate__(self) -> dict[str, Any]:
        if callable(self._by):
            check_travels(self, self._by)
        return super().__getstate__()
