"""What may be logged besides numbers: texts, images, histograms and figures."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from fireworks.errors import DamagedFile, WrongType, WrongValue
from fireworks.record.json_values import check_unicode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGEST = 256 * 2**20  # bytes of one value; larger things belong in files


@final
@dataclass(frozen=True)
class Encoded:
    """A value as it is stored: its kind, and its bytes."""

    kind: str
    data: bytes


@final
class Text:
    """A text to be logged: ``experiment.log({"sample": Text("once upon a time")}, step=3)``.

    Raises:
        WrongType, WrongValue: It is no string, or not valid Unicode.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise WrongType(f"Text() takes a string; got {type(text).__name__}: {text!r:.60}.")
        self.encoded = _checked("text", check_unicode(text, what="The text").encode())


@final
class Image:
    """An image to be logged; it is stored as a PNG.

    Args:
        pixels: An array or tensor of shape (height, width), (height, width, channels) or
            (channels, height, width) with 1, 3 or 4 channels, or a Pillow image. Integers are 0
            to 255; floating point numbers 0 to 1, and what lies outside is clipped.

    Raises:
        WrongType, WrongValue: It has another shape, or holds no numbers.
    """

    def __init__(self, pixels: Any) -> None:
        self.encoded = _checked("image", to_png(_pixels(pixels)))


@final
class Histogram:
    """The distribution of some values to be logged: counts between edges.

    Args:
        values: An array, tensor or sequence of numbers of any shape; NaN and infinities are
            counted apart.
        bins: How many bins of one width.

    Raises:
        WrongType, WrongValue: There are no numbers, or no bins.
    """

    def __init__(self, values: Any, bins: int = 64) -> None:
        import numpy

        if not isinstance(bins, int) or bins < 1:
            raise WrongValue(f"bins must be at least 1; got {bins!r}.")
        array = _numbers(values, "Histogram()").reshape(-1).astype("float64")
        finite = array[numpy.isfinite(array)]
        counts, edges = numpy.histogram(finite, bins=bins)
        described = {
            "counts": counts.tolist(),
            "edges": edges.tolist(),
            "not_finite": len(array) - len(finite),
        }
        self.encoded = _checked("histogram", json.dumps(described).encode())


@final
class Figure:
    """A Plotly figure to be logged, as JSON.

    For figures that are drawn from what was logged, ``Experiment.plot`` stores less and can be
    restyled.

    Raises:
        WrongType: It is not a Plotly figure.
    """

    def __init__(self, figure: Any) -> None:
        to_json = getattr(figure, "to_json", None)
        if not callable(to_json) or not hasattr(figure, "layout"):
            raise WrongType(
                f"Figure() takes a plotly.graph_objects.Figure; got {type(figure).__name__}. "
                "A picture of another library can be logged as Image(…)."
            )
        self.encoded = _checked("figure", str(to_json()).encode())


MEDIA = (Text, Image, Histogram, Figure)


def decode(kind: str, data: bytes) -> Any:
    """What was logged: a string, an array (height, width, channels) of uint8, or a dict.

    Raises:
        DamagedFile: The bytes are not what the kind says.
    """
    try:
        if kind == "text":
            return data.decode()
        if kind == "image":
            return from_png(data)
        if kind in ("histogram", "figure"):
            return json.loads(data)
    except (ValueError, RecursionError, struct.error, zlib.error, IndexError) as error:
        raise DamagedFile(f"A logged {kind} is damaged: {error}.") from None
    raise DamagedFile(f"Something of an unknown kind was logged: {kind!r:.60}.")


def _checked(kind: str, data: bytes) -> Encoded:
    if len(data) > _LARGEST:
        raise WrongValue(
            f"A {kind} of {len(data):,} bytes is too large to be logged (at most {_LARGEST:,}). "
            "Write it to experiment.file(…) instead."
        )
    return Encoded(kind, data)


def _numbers(values: Any, what: str) -> NDArray[Any]:
    """The values as an array of numbers, read from their device."""
    import numpy

    if callable(getattr(values, "detach", None)):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    try:
        array = numpy.asarray(values)
    except (TypeError, ValueError) as error:
        raise WrongType(f"{what} takes numbers: {error}.") from None
    if array.dtype.kind not in "biuf":
        raise WrongType(f"{what} takes numbers; got {type(values).__name__} of {array.dtype}.")
    return array


def _pixels(pixels: Any) -> NDArray[np.uint8]:
    """The pixels with shape (height, width, channels), 0 to 255."""
    import numpy

    if getattr(pixels, "mode", None) in ("P", "CMYK", "1", "I;16", "LA", "HSV", "YCbCr", "LAB"):
        pixels = pixels.convert("RGBA" if pixels.mode in ("P", "LA") else "RGB")
    array = _numbers(pixels, "Image()")
    shape = array.shape
    if array.ndim == 2:
        array = array[:, :, None]
    elif array.ndim == 3 and shape[2] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = numpy.moveaxis(array, 0, 2)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise WrongValue(
            f"An image has the shape (height, width), (height, width, channels) or (channels, "
            f"height, width), with 1, 3 or 4 channels; got {shape}."
        )
    if array.dtype.kind == "f":
        array = numpy.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0) * 255
        array = array.round()
    elif array.dtype.kind == "b":
        array = array.astype("uint8") * 255
    elif array.min() < 0 or array.max() > 255:
        raise WrongValue(
            f"An image of integers holds 0 to 255; got {array.min()} to {array.max()}."
        )
    return numpy.ascontiguousarray(array.astype("uint8"))


_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
_CHANNELS = {0: 1, 2: 3, 6: 4}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def to_png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels of shape (height, width, channels) as a PNG (RFC 2083), without filters."""
    import numpy

    height, width, channels = pixels.shape
    rows = numpy.zeros((height, 1 + width * channels), "uint8")  # each begins with its filter: 0
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def from_png(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a PNG that ``to_png`` wrote.

    Raises:
        ValueError: It is none of ours.
    """
    import numpy

    if data[:8] != _SIGNATURE or data[12:16] != b"IHDR":
        raise ValueError("it is no PNG")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if depth != 8 or colour not in _CHANNELS or width * height * 4 > _LARGEST:
        raise ValueError("it is a PNG of another kind")
    channels = _CHANNELS[colour]
    place, packed = 8, b""
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + length]
        place += 12 + length
    size = height * (1 + width * channels)
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(packed, size + 1)  # a bomb stops here
    if len(unpacked) != size or not unpacker.eof:
        raise ValueError("its pixels are not all there")
    rows = numpy.frombuffer(unpacked, "uint8").reshape(height, -1)
    if rows[:, 0].any():
        raise ValueError("it uses filters")
    return rows[:, 1:].reshape(height, width, channels).copy()
