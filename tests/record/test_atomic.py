import os
import resource
import signal
from pathlib import Path

import pytest

from fireworks.record.atomic import replace_file


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_previous_version(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # a real "file too large"
    try:
        with pytest.raises(OSError, match="too large"):
            replace_file(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]
