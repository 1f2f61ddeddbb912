"""The fork server's memory, arranged so that a fork and the life of what is forked cost little.

Both take time by the page: a fork enters every page of the server in the tables of the child, the
end of the child takes it out again, and the first write of the child to a page copies it. Here the
pages become larger, and those that children write to fewer.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_COLLAPSE = 25  # MADV_COLLAPSE, of Linux 6.1
_HUGE_PAGE = 1 << 21  # bytes
_LARGEST_OBJECT = 512  # bytes, of those that Python's own allocator takes from its pools
_LARGEST_HOLE = 1 << 16  # bytes; holes larger than this are few

_fillings: list[object] = []


def arrange_memory() -> None:
    """Fill the holes that imports have left, then put memory into huge pages.

    For a single-threaded process that is about to fork; takes tenths of a second. Elsewhere than on
    Linux it does nothing.
    """
    if sys.platform == "linux":
        _fill_pools()
        _fill_heap()
        _collapse()


def _fill_pools() -> None:
    """Have Python put new objects next to each other.

    It would use what was freed between objects that stay first: nearly every new object of a child
    would be in another page.
    """
    for size in range(16, _LARGEST_OBJECT + 1, 16):
        in_order, last = 0, 0
        while in_order < 8:
            each = object() if size == 16 else float(size) if size == 32 else bytes(size - 33)
            _fillings.append(each)
            in_order = in_order + 1 if id(each) == last + size else 0
            last = id(each)


def _fill_heap() -> None:
    """Have the C library put what it allocates next to each other; done for glibc since 2.33."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return
    libc.mallinfo2.restype = _HeapInfo
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_size_t
    info = libc.mallinfo2()
    top = libc.sbrk(0) - info.keepcost  # from here on all is free
    holes = info.fordblks - info.keepcost
    size = _LARGEST_HOLE
    while size >= 24 and holes > 0:
        if 0 < libc.malloc(ctypes.c_size_t(size)) < top:  # never freed: it fills a hole
            holes -= size
        else:
            size -= max(16, size >> 3)


class _HeapInfo(ctypes.Structure):
    """What mallinfo2 returns; sizes in bytes."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def _collapse() -> None:
    """Put memory into huge pages, each of which a fork enters as one.

    Where the kernel cannot (before Linux 6.1, or without room), it stays as it is.
    """
    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text().splitlines():
        area, permissions, _, _, inode, *name = line.split()
        if permissions.startswith("rw") and inode == "0" and (not name or name == ["[heap]"]):
            start, end = (int(each, 16) for each in area.split("-"))
            start = -(-start // _HUGE_PAGE) * _HUGE_PAGE
            size = end // _HUGE_PAGE * _HUGE_PAGE - start
            if size > 0:
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _COLLAPSE)
