"""The fork server's memory: in huge pages, and without holes that children would fill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import ctypes
from fireworks.factory.forked_memory import arrange_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_size_t
libc.free.argtypes = [ctypes.c_size_t]

def heap(count):
    return [libc.malloc(ctypes.c_size_t(5_000)) for _ in range(count)]

def pages(addresses):
    return len({each >> 12 for each in addresses})

def huge():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonHuge"))

kept = [bytes(100) for _ in range(200_000)]
large = heap(2_000)
del kept[::50]  # one hole in about two pages
for each in large[::5]:
    libc.free(each)
if ARRANGE:
    arrange_memory()
new = [bytes(100) for _ in range(300)]
more = heap(100)
jumps = sum(not 5_000 <= b - a <= 5_100 for a, b in zip(more, more[1:]))
print(pages(map(id, new)), jumps, huge())
"""


def _measured(arranged: bool) -> tuple[int, int, int]:
    """Pages of 300 new objects, jumps between 100 new blocks, and kilobytes in huge pages."""
    program = _PROGRAM.replace("ARRANGE", str(arranged))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    objects, jumps, huge = map(int, done.stdout.split())
    return objects, jumps, huge


def test_new_objects_are_next_to_each_other() -> None:
    objects, jumps, _ = _measured(arranged=True)
    assert objects <= 30, "300 objects of 144 bytes need 11 pages"
    assert jumps <= 5
    objects, jumps, _ = _measured(arranged=False)
    assert objects > 100 and jumps > 50, "without it, they fill holes"


def test_memory_is_in_huge_pages_where_the_kernel_can() -> None:
    _, _, huge = _measured(arranged=True)
    release = tuple(map(int, Path("/proc/sys/kernel/osrelease").read_text().split(".")[:2]))
    can = release >= (6, 1) and Path("/sys/kernel/mm/transparent_hugepage").exists()
    assert huge > 10_000 or not can
