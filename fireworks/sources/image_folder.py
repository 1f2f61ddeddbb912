"""Images in folders, one folder a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fireworks.errors import DamagedFile, FilesNotFound, FireworksError, WrongValue, suggest
from fireworks.message import Message
from fireworks.optional import require
from fireworks.source import OnError, Rows, Source
from fireworks.source.failures import check_on_error
from fireworks.sources import column_kinds, file_listing
from fireworks.sources.file_listing import DataFile

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_MODES = ("RGB", "RGBA", "L")
_COLUMNS = ("image", "label", "class", "path")
_ROWS_A_BLOCK = 64


class ImageFolderSource(Source):
    """The images below a folder, indexed: each folder in it is a class.

    Columns: ``image`` (a tensor, uint8, shape (n, channels, height, width)), ``label`` (the number
    of the class in ``classes``, which are sorted by name), ``class`` (its name) and ``path`` (below
    the folder). Rows are sorted by path. Where the images lie in the folder itself, there are only
    ``image`` and ``path``. Images are decoded when they are read. Needs Pillow
    (``pip install 'fireworks-ml[images]'``).

    Args:
        folder: The folder.
        size: Height and width in pixels to resize each image to; without it they must agree.
        mode: ``"RGB"``, ``"RGBA"`` or ``"L"`` (grey): 3, 4 or 1 channels.
        columns: The columns to read; without ``image``, nothing is decoded.
        on_error: ``"raise"``, ``"skip"`` to leave damaged images out (the source then streams), or
            ``Retry(n)`` for file systems that fail now and then.
        name: Tells this source from others of its class.

    Attributes:
        classes: The names of the classes, in the order of their labels.

    Raises:
        MissingDependency: Pillow is not installed.
        FilesNotFound: The folder is not there, or holds no image.
        ColumnNotFound: There is no such column.
        WrongValue: A size or mode that is none; images beside the folders of classes.
        DamagedFile: An image is damaged or of another size (when it is read).
    """

    needs_inputs = False
    handles_errors = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        size: tuple[int, int] | None = None,
        mode: str = "RGB",
        columns: Sequence[str] | None = None,
        on_error: OnError = "raise",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        require("PIL.Image", extra="images", purpose="ImageFolderSource")
        if mode not in _MODES:
            raise WrongValue(f"mode: {mode!r} is none.{suggest(mode, _MODES)}")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise WrongValue(f"size is (height, width) in pixels, not {size!r}.")
        self.size = size
        self.mode = mode
        self.on_error: OnError = check_on_error(on_error)
        root = os.path.abspath(os.path.expanduser(folder))
        if not os.path.isdir(root):
            raise FilesNotFound(f"There is no folder {root}.")
        self.files = file_listing.find_files(root, _SUFFIXES)
        self._paths = [os.path.relpath(file.path, root) for file in self.files]
        classes = [path.partition(os.sep)[0] if os.sep in path else "" for path in self._paths]
        self.classes = sorted(set(classes) - {""})
        if self.classes and "" in classes:
            raise WrongValue(
                f"{root} has images beside its folders, for example "
                f"{self._paths[classes.index('')]}: their class is not known. Move them into the "
                "folder of their class."
            )
        known = _COLUMNS if self.classes else ("image", "path")
        self.columns = column_kinds.selected(columns) or list(known)
        column_kinds.check_columns(self.columns, known, repr(self), "columns=")
        self._labels = np.searchsorted(self.classes, classes) if self.classes else np.empty(0, int)
        self._expected = size
        self._described = {
            **file_listing.described(self.files),
            "size": size,
            "mode": mode,
            "columns": self.columns,
        }

    @property
    def num_rows(self) -> int:
        """How many images there are."""
        return len(self.files)

    @property
    def indexed(self) -> bool:
        """Whether rows can be read by index: unless damaged images are skipped."""
        return self.on_error != "skip"

    def describe(self) -> dict[str, Any]:
        """Return names and sizes of the files, and how they are read."""
        return self._described

    def read(self, rows: Rows) -> Message:
        """Return the images asked for, decoded now.

        Raises:
            DamagedFile: An image is damaged or of another size; its file is named.
            FileChanged: A file was written to, or has vanished, since the source was made.
        """
        images = [self._image(int(row)) for row in rows] if "image" in self.columns else []
        return self._message(rows, images)

    def stream(self, start: Any = None) -> Iterator[tuple[Message, Any]]:
        """Yield the images in blocks of 64; the position counts images."""
        for first in range(start or 0, len(self.files), _ROWS_A_BLOCK):
            behind = min(first + _ROWS_A_BLOCK, len(self.files))
            rows, images = list(range(first, behind)), []
            if "image" in self.columns:
                rows, images = self._good(rows)
            if rows:
                yield self._message(np.array(rows), images), behind

    def _good(self, rows: list[int]) -> tuple[list[int], list[torch.Tensor]]:
        good: list[int] = []
        images: list[torch.Tensor] = []
        for row in rows:
            try:
                images.append(self._image(row))
                good.append(row)
            except DamagedFile as error:
                if self.on_error != "skip":
                    raise
                where, _, reason = str(error).partition(": ")
                self._skip(where, reason)
        return good, images

    def _message(self, rows: Rows, images: list[torch.Tensor]) -> Message:
        columns: dict[str, Any] = {}
        for name in self.columns:
            if name == "image":
                columns[name] = torch.stack(images) if images else self._no_images()
            elif name == "label":
                columns[name] = self._labels[rows]
            elif name == "class":
                columns[name] = _text([self.classes[self._labels[row]] for row in rows])
            else:
                columns[name] = _text([self._paths[row] for row in rows])
        return Message(columns)

    def _no_images(self) -> torch.Tensor:
        height, width = self._expected or self._image(0).shape[1:]
        return torch.empty((0, len(self.mode), height, width), dtype=torch.uint8)

    def _image(self, row: int) -> torch.Tensor:
        """Return an image, shape (channels, height, width)."""
        file = self.files[row]
        pixels = self._pixels(file)
        if self._expected is None:
            # The size of the first image is that of all, whichever is read first.
            first = pixels if row == 0 else self._pixels(self.files[0])
            self._expected = (first.shape[1], first.shape[2])
        if pixels.shape[1:] != self._expected:
            raise DamagedFile(
                f"{file}: it has {pixels.shape[1]} x {pixels.shape[2]} pixels (height x width) "
                f"where {self.files[0]} has {self._expected[0]} x {self._expected[1]}. Give a "
                "size to resize them all: size=(224, 224)."
            )
        return pixels

    def _pixels(self, file: DataFile) -> torch.Tensor:
        def decode() -> torch.Tensor:
            file.check()
            images = require("PIL.Image", extra="images", purpose="ImageFolderSource")
            with images.open(file.path) as opened:
                image = opened.convert(self.mode)
            if self.size is not None:
                height, width = self.size
                image = image.resize((width, height), images.Resampling.BILINEAR)
            array = np.array(image)
            return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)

        try:
            return file_listing.retried(self.on_error, decode).contiguous()
        except FireworksError:
            raise
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for bad content
            if file_listing.is_of_the_system(error):
                raise
            file.check()
            raise DamagedFile(f"{file}: the image cannot be decoded: {error}.") from error


def _text(strings: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(strings, pa.large_string())
