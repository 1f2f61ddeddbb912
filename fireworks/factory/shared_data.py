"""Data that all trials read and none loads: Arrow files mapped into the memory of each process."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from fireworks.errors import WrongType

if TYPE_CHECKING:
    from fireworks.message import Message


@final
class SharedData:
    """Messages that a sweep writes to disk once, for its trials to map.

    Nothing of it is left on the disk when this process ends, however it ends (Linux).

    Args:
        data: A Message, or several by name.

    Raises:
        WrongType: It is neither.
    """

    def __init__(self, data: Message | Mapping[str, Message]) -> None:
        from fireworks.message import Message

        self._messages: dict[str, Any]
        if isinstance(data, Mapping) and not isinstance(data, Message):
            self._messages = dict(data)
        else:
            self._messages = {"": data}
        wrong = [each for each in self._messages.values() if not isinstance(each, Message)]
        if wrong:
            raise WrongType(
                "data must be a Message or a dict of Messages by name; got "
                f"{type(wrong[0]).__name__}. Message(df) makes one of a DataFrame."
            )
        self._files: dict[str, int] = {}
        self._paths: dict[str, str] = {}

    def write(self, folder: Path) -> dict[str, str]:
        """Write the files where that was not done before; returns their paths, by name."""
        for number, (name, message) in enumerate(self._messages.items()):
            if name in self._paths:
                continue
            path = folder / f".shared-{os.getpid()}-{id(self)}-{number}.arrow"
            message.save(path)
            self._paths[name] = str(path)
            if sys.platform == "linux":
                # Only this process's descriptor leads to it from now on.
                self._files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                path.unlink()
                self._paths[name] = f"/proc/{os.getpid()}/fd/{self._files[name]}"
        return dict(self._paths)

    def close(self) -> None:
        """Remove the files; what trials have mapped stays with them."""
        for name, path in self._paths.items():
            if name in self._files:
                os.close(self._files[name])
            else:
                os.unlink(path)
        self._files.clear()
        self._paths.clear()


def map_shared(paths: Mapping[str, str] | None) -> Message | dict[str, Message] | None:
    """The Messages of such files, in a trial's process: read page by page as they are used.

    What is written to them stays in this process.
    """
    if paths is None:
        return None
    messages = {name: _mapped(path) for name, path in paths.items()}
    return messages.get("", messages)


def _mapped(path: str) -> Message:
    import pyarrow as pa

    from fireworks.message import Message
    from fireworks.message.files import columns_from_table

    with open(path, "rb") as file:
        # Private: a page that is written to is this process's own from then on.
        content: Any = mmap.mmap(
            file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
    with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))) as reader:
        return Message.from_columns(columns_from_table(reader.read_all(), owned=True))
