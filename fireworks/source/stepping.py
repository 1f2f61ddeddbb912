"""A user's stream, chunk by chunk: where it stands, how it is taken up again, and tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from fireworks.message import Message
from fireworks.source.failures import Retry
from fireworks.source.rings import Flow, Position
from fireworks.source.run import Run, stepped

if TYPE_CHECKING:
    from fireworks.source.base import Source

_log = logging.getLogger(__name__)


def stepped_chunks(source: Source, run: Run, start: Position) -> Flow:
    """Yield what ``source.stream`` yields, each chunk with a position to go on behind it.

    A position is that which the stream gave last, and how many chunks came behind it. Where the
    stream raises and the source's ``on_error`` is a `Retry`, it is opened again behind the last
    chunk; a chunk that comes makes all tries good again.
    """
    at, behind = (None, 0) if start is None else (start["at"], start["behind"])
    rule = source.on_error
    times, wait = (rule.times, rule.wait) if isinstance(rule, Retry) else (0, 0.0)
    failed = 0
    chunks: Generator[object] | None = None
    while True:
        try:
            if chunks is None:
                chunks = _opened(source, run, at, behind)
            each = next(chunks, None)
        except Exception:
            if failed == times:
                raise
            time.sleep(wait * 2**failed)
            failed += 1
            chunks = None
            continue
        if each is None:
            return
        failed = 0
        if isinstance(each, tuple):
            message, at = cast("tuple[Message, Any]", each)
            behind = 0
        else:
            message = cast("Message", each)
            behind += 1
        yield message, {"at": at, "behind": behind}


def _opened(source: Source, run: Run, at: Any, behind: int) -> Generator[object]:
    """Open the stream at one of its positions and step over chunks, telling what that cost."""
    chunks = stepped(run, iter(source.stream(at)))
    if behind:
        began = perf_counter()
        for _ in range(behind):
            next(chunks, None)
        spent = perf_counter() - began
        _log.warning("%r stepped over %d chunks in %.2f s to resume", source, behind, spent)
    return chunks
