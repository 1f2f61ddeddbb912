"""Which file system a folder lies on: SQLite's log does not work on a network's."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fireworks.errors import WrongValue

MOUNTS = Path("/proc/self/mountinfo")

# Processes on several hosts cannot share the memory by which SQLite's log is coordinated, and the
# locks of these file systems are not to be relied on.
_NETWORK = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "ncpfs", "afs", "coda", "9p", "ceph",
        "lustre", "gpfs", "beegfs", "glusterfs", "pvfs2", "orangefs", "panfs", "ocfs2", "gfs",
        "gfs2", "davfs", "acfs",
    }
)  # fmt: skip
_NETWORK_FUSE = frozenset(
    {
        "sshfs", "s3fs", "gcsfuse", "goofys", "rclone", "glusterfs", "ceph", "davfs", "davfs2",
        "juicefs", "blobfuse", "blobfuse2", "mount-s3", "curlftpfs", "smbnetfs", "moosefs", "mfs",
        "lizardfs", "cvmfs2", "alluxio-fuse",
    }
)  # fmt: skip


def filesystem(path: str | os.PathLike[str]) -> str:
    """The type of the file system at ``path``: ``ext4``, ``nfs4``, ``fuse.sshfs``.

    Empty where the system does not tell.
    """
    place = os.path.realpath(path)
    best, kind = "", ""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if len(fields) < 5 or not described:
            continue
        # Blanks and the like in a mount point are written as \040.
        mount = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), fields[4])
        within = place == mount or place.startswith(mount.rstrip("/") + "/")
        if within and len(mount) >= len(best):  # of two at one place the later one is on top
            best, kind = mount, described[0]
    return kind


def is_network(kind: str) -> bool:
    """Whether a type of file system is a network's."""
    name = kind.lower()
    return name in _NETWORK or (name.startswith("fuse.") and name[5:] in _NETWORK_FUSE)


def refuse_network(path: Path) -> None:
    """Refuse to write an experiment's database to a network file system.

    Raises:
        WrongValue: ``path`` lies on one; the message names it and the ways out.
    """
    kind = filesystem(path)
    if is_network(kind):
        raise WrongValue(
            f"{str(path)!r} lies on a network file system ({kind}), where SQLite's write-ahead "
            "log is not safe: it could be damaged without notice. Use a folder on a local disk "
            "(root=…) and copy the run with .archive() afterwards, or keep the tables on a server "
            "(store='postgresql://…'). Reading it here is possible."
        )
