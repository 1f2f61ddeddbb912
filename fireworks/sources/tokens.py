"""Texts cut into tokens: many texts at once, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from fireworks.errors import WrongType

Cut = Callable[[str], Iterable[str]]

pc: Any = compute  # its functions are made when it is loaded, unseen by type checkers

# Words are runs of letters, marks, digits, underscores and inner apostrophes (straight or curly).
# Each of these puts spaces around something else. RE2's own classes of characters are ASCII only.
_APART = (
    (r"([^\pL\pM\pN_'\x{2019}\s])", r" \1 "),
    (r"(^|\s)(['\x{2019}]+)", r"\1 \2 "),
    (r"(['\x{2019}]+)($|\s)", r" \1 \2"),
)


@dataclass(frozen=True)
class Tokens:
    """The tokens of some texts, as places in the list of those that are distinct.

    Attributes:
        distinct: The distinct tokens.
        codes: Each token of each text, end to end: its place in ``distinct``; int64, shape (m,).
        offsets: Where each text begins and ends in ``codes``; int64, shape (n + 1,), from 0.
    """

    distinct: list[str]
    codes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def counts(self) -> dict[str, int]:
        """Return how often each token occurs."""
        found = np.bincount(self.codes, minlength=len(self.distinct))
        return dict(zip(self.distinct, found.tolist(), strict=True))


def characters(texts: Any) -> Tokens:
    """Cut texts, an Arrow array of strings, into their characters (code points)."""
    lengths = pc.utf8_length(texts).to_numpy().astype(np.int64)
    whole = "".join(texts.to_pylist())
    points = np.frombuffer(whole.encode("utf-32-le"), np.uint32).astype(np.int64)
    seen = np.bincount(points) > 0
    codes = (np.cumsum(seen) - 1)[points] if len(points) else points
    return Tokens([chr(point) for point in seen.nonzero()[0].tolist()], codes, _offsets(lengths))


def words(texts: Any) -> Tokens:
    """Cut texts, an Arrow array of strings, into words and punctuation marks.

    ``"Don't 'stop', now!"`` gives ``Don't``, ``'``, ``stop``, ``'``, ``,``, ``now``, ``!``.
    """
    for pattern, replacement in _APART:
        texts = pc.replace_substring_regex(texts, pattern=pattern, replacement=replacement)
    pieces = pc.utf8_split_whitespace(texts)
    bounds = pieces.offsets.to_numpy().astype(np.int64)
    values = pieces.values.slice(bounds[0], bounds[-1] - bounds[0])
    # White space at either end leaves empty pieces.
    held = pc.not_equal(values, "")
    before = np.concatenate([[0], np.cumsum(held.to_numpy(zero_copy_only=False))])
    return _coded(values.filter(held), before[bounds - bounds[0]])


def by_function(texts: Any, cut: Cut) -> Tokens:
    """Cut each text of an Arrow array of strings with a function.

    Raises:
        WrongType: The function returned something else than strings.
    """
    pieces = [list(cut(text)) for text in texts.to_pylist()]
    flat = [token for each in pieces for token in each]
    try:
        values = pa.array(flat, pa.large_string())
    except (pa.ArrowException, TypeError):
        values = None
    if values is None or values.null_count:
        wrong = next(each for each in flat if not isinstance(each, str))
        raise WrongType(f"A tokenizer returns strings; there is {wrong!r:.60} among its tokens.")
    return _coded(values, _offsets(np.array([len(each) for each in pieces], np.int64)))


def _coded(values: Any, offsets: NDArray[np.int64]) -> Tokens:
    coded = values.dictionary_encode()
    codes = coded.indices.to_numpy().astype(np.int64)
    return Tokens(coded.dictionary.to_pylist(), codes, offsets)


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])
