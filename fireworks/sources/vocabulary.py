"""Tokens and their ids."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fireworks.errors import DamagedFile, RowOutOfRange, WrongType, WrongValue
from fireworks.record.atomic import replace_file

PAD = "<pad>"
UNKNOWN = "<unk>"
_VERSION = 1


class Vocabulary(Sequence[str]):
    """Distinct tokens, of which each has its place as id; special tokens come first.

    It is read like the list of its tokens: ``vocabulary[7]``, ``"cat" in vocabulary``, ``len``.

    Args:
        tokens: The tokens in the order of their ids, without the special ones.
        specials: Tokens that stand for no text; ``"<unk>"`` among them stands for every token that
            is not here, and without it such a token is an error.

    Attributes:
        specials: The special tokens.

    Raises:
        WrongType: A token is no string.
        WrongValue: A token occurs twice.
    """

    def __init__(self, tokens: Iterable[str], *, specials: Sequence[str] = (PAD, UNKNOWN)) -> None:
        self.specials = _named(specials)
        self._tokens = [*self.specials, *tokens]
        self._ids = {token: number for number, token in enumerate(self._tokens)}
        for token in self._tokens:
            if not isinstance(token, str):
                raise WrongType(f"Tokens are strings, not {token!r:.60} ({type(token).__name__}).")
        if len(self._ids) < len(self._tokens):
            twice = next(each for i, each in enumerate(self._tokens) if self._ids[each] != i)
            raise WrongValue(f"The token {twice!r} is given twice (special tokens count too).")

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        specials: Sequence[str] = (PAD, UNKNOWN),
    ) -> Self:
        """Build a vocabulary from how often each token occurs.

        The most frequent come first, tokens of one count in the order of their code points: the
        same counts always give the same ids.

        Args:
            counts: How often each token occurs.
            min_count: Tokens that occur less often are left out.
            max_size: Most ids, the special ones counted; the rarest tokens are left out.
            specials: The special tokens.

        Raises:
            WrongValue: A limit is below 1, or leaves no place for the special tokens.
        """
        check_limits(min_count, max_size, specials)
        kept = [
            (-count, token)
            for token, count in counts.items()
            if count >= min_count and token not in specials
        ]
        kept.sort()
        room = None if max_size is None else max_size - len(specials)
        return cls((token for _, token in kept[:room]), specials=specials)

    # -- being read -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: Any) -> Any:
        return self._tokens[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self._tokens == other._tokens
            and self.specials == other.specials
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self._tokens[:8]))
        return f"Vocabulary({len(self)} tokens: {shown}{', …' if len(self) > 8 else ''})"

    @property
    def digest(self) -> str:
        """A short fingerprint of the tokens and their order."""
        return f"{len(self)}-{zlib.crc32(json.dumps(self._tokens).encode()):08x}"

    # -- ids and back -----------------------------------------------------------------------------

    def id(self, token: str) -> int:
        """Return the id of a token; that of ``"<unk>"`` where it is not here.

        Raises:
            WrongValue: It is not here, and ``"<unk>"`` is no special token.
        """
        number = self._ids.get(token, self._ids.get(UNKNOWN) if self._has_unknown else None)
        if number is None:
            raise WrongValue(
                f"The token {token!r} is not in the vocabulary, which has no {UNKNOWN!r} among its "
                "special tokens to stand for it."
            )
        return number

    def encode(self, tokens: Iterable[str]) -> NDArray[np.int64]:
        """Return the ids of tokens, int64, shape (n,).

        Raises:
            WrongValue: A token is not here, and nothing stands for such tokens.
            WrongType: One string is given, whose tokens nobody has told apart yet.
        """
        if isinstance(tokens, str):
            raise WrongType(
                f"encode takes a list of tokens, not the text {tokens!r:.40}; a TokenizerSource's "
                "encode takes texts."
            )
        ids = self._ids
        try:
            return np.array([ids[token] for token in tokens], np.int64)
        except KeyError:
            return np.array([self.id(token) for token in tokens], np.int64)

    def decode(self, ids: ArrayLike | torch.Tensor, *, specials: bool = True) -> list[str]:
        """Return the tokens of ids.

        Args:
            ids: Ids, shape (n,): a list, array or tensor.
            specials: Whether special tokens are among what is returned.

        Raises:
            WrongType: The ids are no integers in one dimension.
            RowOutOfRange: There is no such id.
        """
        numbers = ids.detach().cpu().numpy() if isinstance(ids, torch.Tensor) else np.asarray(ids)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise WrongType(
                "decode takes integers in one dimension; it got shape "
                f"{numbers.shape} of {numbers.dtype}."
            )
        outside = (numbers < 0) | (numbers >= len(self))
        if outside.any():
            wrong = int(numbers[outside.argmax()])
            raise RowOutOfRange(f"There is no id {wrong}; they go from 0 to {len(self) - 1}.")
        first = 0 if specials else len(self.specials)
        return [self._tokens[number] for number in numbers.tolist() if number >= first]

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write a JSON file, from which `load` gives the vocabulary back.

        A failed write leaves an earlier file as it was.
        """
        content = {
            "version": _VERSION,
            "specials": self.specials,
            "tokens": self._tokens[len(self.specials) :],
        }
        replace_file(Path(path), json.dumps(content, ensure_ascii=False, indent=0).encode())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by `save`.

        Raises:
            DamagedFile: It holds no vocabulary, or one of a newer version.
        """
        try:
            content = json.loads(Path(path).read_bytes())
            if content["version"] > _VERSION:
                raise DamagedFile(
                    f"{path} has version {content['version']}; this is version {_VERSION}."
                )
            return cls(content["tokens"], specials=content["specials"])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, DamagedFile):
                raise
            raise DamagedFile(f"{path} holds no vocabulary: {error}") from None

    @property
    def _has_unknown(self) -> bool:
        return UNKNOWN in self.specials


def check_limits(min_count: int, max_size: int | None, specials: Sequence[str]) -> None:
    """Refuse limits that make no sense.

    Raises:
        WrongValue: A limit is below 1, or leaves no place for the special tokens.
    """
    named = _named(specials)
    if not isinstance(min_count, int | np.integer) or min_count < 1:
        raise WrongValue(f"min_count is an integer of at least 1, not {min_count!r}.")
    if max_size is not None and (
        not isinstance(max_size, int | np.integer) or max_size < len(named)
    ):
        raise WrongValue(
            f"max_size counts the {len(named)} special tokens too and must be an integer of at "
            f"least that; it is {max_size!r}."
        )


def _named(specials: Sequence[str]) -> list[str]:
    if isinstance(specials, str):
        raise WrongType(f"specials is a list of tokens, not the string {specials!r}.")
    return list(specials)
