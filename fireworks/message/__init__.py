"""Messages: tables whose columns are tensors or vectors of one length."""

from __future__ import annotations

import os

# pyarrow's allocator starts a background thread when its library is loaded, and a process with
# threads cannot be forked safely: the factory's fork server preloads this module.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")

from fireworks.message.column import Field
from fireworks.message.message import Message, concat, merge

__all__ = ["Field", "Message", "concat", "merge"]
