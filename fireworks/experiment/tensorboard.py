"""TensorBoard's event files: written beside the record, and read into it."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, final

from fireworks.errors import FilesNotFound
from fireworks.experiment.media import Encoded, Text
from fireworks.experiment.writer import Entry
from fireworks.optional import require

_EXTRA = "tensorboard"


@final
class EventWriter:
    """Writes what was committed as events too, in the order of the commits.

    The event file is made at the first value. It is for one process: after a fork, the child
    begins a file of its own.

    Args:
        folder: Where the event files go.

    Raises:
        MissingDependency: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        require("tensorboard", extra=_EXTRA, purpose="Experiment(tensorboard=True)")
        self._folder = folder
        self._file: io.FileIO | None = None
        self._process = os.getpid()

    def write(self, batch: list[Entry]) -> None:
        """Write the numbers and texts of some ``log`` calls."""
        event, summaries = _proto("event_pb2"), _proto("summary_pb2")
        events: list[Any] = []
        for step, values, when in batch:
            summary = summaries.Summary()
            for name, value in values.items():
                if isinstance(value, float):
                    summary.value.add(tag=name, simple_value=value)
                elif isinstance(value, Encoded) and value.kind == "text":
                    _add_text(summary, name, value.data)
            if summary.value:
                events.append(event.Event(wall_time=when, step=step, summary=summary))
        self._add(events)

    def purge(self, step: int) -> None:
        """Tell TensorBoard to forget what was written for this step and later ones."""
        event = _proto("event_pb2")
        start = event.SessionLog(status=event.SessionLog.SessionStatus.START)
        self._add([event.Event(step=step, session_log=start)])

    def _add(self, events: list[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        records = io.BytesIO()
        writer = RecordWriter(records)
        if self._file is None or self._process != os.getpid():
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / _next_name(self._folder)
            # Without a buffer a process that is killed leaves the events of what it has committed.
            self._file, self._process = path.open("xb", buffering=0), os.getpid()
            version = _proto("event_pb2").Event(wall_time=time.time(), file_version="brain.Event:2")
            writer.write(version.SerializeToString())
        for each in events:
            writer.write(each.SerializeToString())
        start = self._file.tell()
        try:
            rest = records.getbuffer()
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(start)  # no reader goes on behind half an event
            self._file.seek(start)
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None


def _next_name(folder: Path) -> str:
    """A name for an event file, behind all that are there: TensorBoard reads them in this order.

    It begins with the time in seconds, within which files of several processes may be made.
    """
    made = [re.match(r"events\.out\.tfevents\.(\d+)", each.name) for each in folder.iterdir()]
    last = max((int(each[1]) for each in made if each), default=0)
    seconds = max(int(time.time()), last + 1)
    return f"events.out.tfevents.{seconds:010d}.{socket.gethostname()}.{os.getpid()}"


def _proto(name: str) -> Any:
    """A module of TensorBoard's protocol buffers, whose contents no type checker sees."""
    return import_module(f"tensorboard.compat.proto.{name}")


def _add_text(summary: Any, name: str, data: bytes) -> None:
    from tensorboard.plugins.text.metadata import create_summary_metadata

    shapes = _proto("tensor_shape_pb2")
    shape = shapes.TensorShapeProto(dim=[shapes.TensorShapeProto.Dim(size=1)])
    text = _proto("tensor_pb2").TensorProto(
        dtype=_proto("types_pb2").DT_STRING, string_val=[data], tensor_shape=shape
    )
    summary.value.add(
        tag=name,
        metadata=create_summary_metadata(name, ""),
        tensor=text,
    )


def read_events(logdir: str | os.PathLike[str]) -> list[Entry]:
    """Read the scalars and texts of event files as calls of ``log``, in the order of their times.

    Runs in subfolders begin the names of what they hold: ``run1/loss``. What a resumed run has
    purged is left out; an event file that ends in the middle is read as far as it goes.

    Raises:
        FilesNotFound: There are no event files under ``logdir``.
        MissingDependency: TensorBoard is not installed.
    """
    require("tensorboard", extra=_EXTRA, purpose="Importing from TensorBoard")
    folder = Path(logdir)
    files = sorted(folder.rglob("*tfevents*"))
    if not files:
        raise FilesNotFound(f"There are no event files of TensorBoard under {str(logdir)!r}.")
    runs: dict[str, list[Path]] = {}
    for file in files:
        run = file.parent.relative_to(folder).as_posix()
        runs.setdefault("" if run == "." else f"{run}/", []).append(file)
    entries: list[Entry] = []
    for prefix, parts in runs.items():
        kept: list[Entry] = []
        for file in parts:  # their names begin with the time when they were made
            for event in _events(file):
                if event.HasField("session_log") and event.session_log.status == 1 and event.step:
                    kept = [each for each in kept if each[0] < event.step]
                values = _values(event, prefix)
                if values:
                    kept.append((int(event.step), values, float(event.wall_time)))
        entries += kept
    return sorted(entries, key=lambda each: each[2])


def _events(file: Path) -> Iterator[Any]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    yield from EventFileLoader(str(file)).Load()


def _values(event: Any, prefix: str) -> dict[str, Any]:
    from tensorboard.util import tensor_util

    values: dict[str, Any] = {}
    if not event.HasField("summary"):
        return values
    for value in event.summary.value:
        # The loader gives scalars of every age as tensors, and names the plugin.
        plugin = value.metadata.plugin_data.plugin_name
        if not value.HasField("tensor") or plugin not in ("scalars", "text"):
            continue
        array: Any = tensor_util.make_ndarray(value.tensor).reshape(-1)
        if not array.size:
            continue
        name = prefix + (value.tag.removesuffix("/text_summary") if plugin == "text" else value.tag)
        if plugin == "scalars":
            values[name] = float(array[0])
        else:
            text = b"\n".join(array.tolist()).decode(errors="replace")
            values[name] = Text(text).encoded
    return values
