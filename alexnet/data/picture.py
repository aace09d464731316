"""The one definition of a picture: bytes, file, PIL picture or uint8 array -> upright 8-bit RGB -> shorter side ->
central square (paper 2).

Upright RGB 8 bit means: the EXIF orientation is applied (an unreadable EXIF means none); grey is repeated; palette,
CMYK, YCCK, YCbCr and HSV are converted as Pillow does; of 16-bit values the high byte is kept; alpha and transparent
colours are composed on white; colour profiles are ignored; of several frames the first counts. The central square of
the source, of side min(w, h) at ((w - min) / 2, (h - min) / 2), is then resampled in one antialiased bilinear step,
which is shorter side -> size followed by the central square, without rounding the longer side on the way. What has the
right size already is not resampled. How near the two short cuts stay to this, docs/data.md has: a large JPEG is decoded at
1/2, 1/4 or 1/8, and cykooz-resizer takes the step where it is installed, else Pillow.
"""

import importlib.util
import io
import os
import re
import threading
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from alexnet import processor
from alexnet.errors import Refused

ENOUGH = 2.5  # a JPEG is decoded at the smallest scale that still has so many times the size: 40 dB at all sizes
RESAMPLER = "cykooz-resizer" if importlib.util.find_spec("cykooz_resizer") else "Pillow"
RESAMPLING = f"central square in one antialiased bilinear step, of a JPEG from 1/2, 1/4 or 1/8 with {ENOUGH:g} sizes ({RESAMPLER})"
POINTS = "central square, at most six sizes, one linear sample at the corner of each cell: as Tiny-ImageNet was made"
MOST = 6  # sizes that points are sampled from
DECODERS = 8  # the step takes an eighth of the time of a photograph
PIXEL_LIMIT = 178_956_970  # Pillow itself opens nothing larger; beyond it a few kB can ask for gigabytes

ORIENTATION = 0x0112  # EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = [TURNS[tag] for tag in (5, 6, 7, 8)]
MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP")


class Decoded(NamedTuple):
    """RGB as an array or a Pillow picture, grey as an array (H, W), whichever costs nothing: not yet turned."""

    pixels: np.ndarray | Image.Image
    shrunk: tuple = (1, None)  # decoded at 1 / the first, of a source of this width and height
    turn: Image.Transpose | None = None


def square(data, size, resampling=None):
    """Bytes, path, PIL picture or uint8 array -> uint8 (size, size, 3); Refused, with the reason alone, when it cannot
    be read. resampling: of a weights file's card; POINTS for nets that were taught with pictures made so."""
    points = resampling == POINTS
    pixels, (divisor, source), turn = _decode(data, 2 * size if points else size)
    width, height = source or _size(pixels)
    if points and turn is not None:  # a cell's corner is another one once the picture is turned
        width, height = (height, width) if turn in SIDEWAYS else (width, height)
        pixels, turn = np.asarray(Image.fromarray(np.asarray(pixels)).transpose(turn)), None
    if (width, height) != (size, size):
        side = min(width, height)
        box = [one / divisor for one in ((width - side) / 2, (height - side) / 2, side)]
        pixels = (_sample if points else _resample)(pixels, box, size)
    pixels = _three(np.asarray(pixels))
    return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(turn))


def native(data, size=None):
    """The upright picture as it is, uint8 (s, s, 3): refused unless it is square, and of side `size` where one is
    given."""
    picture = np.array(upright(data))
    height, width = picture.shape[:2]
    if height != width:
        raise Refused(f"{width}x{height} is not square, as size native wants")
    if size is not None and width != size:
        raise Refused(f"{width}x{height} is not {size}x{size}, the side of the first picture, as size native wants")
    return picture


def upright(data):
    """Bytes, path, PIL picture or uint8 array -> PIL picture, RGB, 8 bit, turned as its EXIF says."""
    pixels, _, turn = _decode(data)
    picture = Image.fromarray(_three(pixels)) if isinstance(pixels, np.ndarray) else pixels
    return picture if turn is None else picture.transpose(turn)


def _resample(pixels, box, size):
    """The step itself: left, top and side of a square in an array or an RGB picture -> (size, size) or (size, size, 3)."""
    left, top, side = box
    if RESAMPLER == "Pillow":
        picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
        return np.array(picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)))
    import cykooz_resizer as resizer

    kind = resizer.PixelType.U8 if np.ndim(pixels) == 2 else resizer.PixelType.U8x3
    made = resizer.ImageData(size, size, kind)
    options = resizer.ResizeOptions(
        resizer.ResizeAlg.convolution(resizer.FilterType.bilinear), crop_box=resizer.CropBox(left, top, side, side)
    )
    resizer.Resizer().resize(resizer.ImageData(*_size(pixels), kind, pixels.tobytes()), made, options)
    made = np.frombuffer(bytearray(made.get_buffer()), np.uint8)  # a bytearray, so that the square may be written to
    return made.reshape((size, size) if kind == resizer.PixelType.U8 else (size, size, 3))


def _sample(pixels, box, size):
    """POINTS: sharp, with the aliases that nets of such pictures know."""
    if box[2] > MOST * size:
        pixels, box = _resample(pixels, box, MOST * size), (0, 0, MOST * size)
    left, top, side = box
    pixels = np.asarray(pixels)
    for axis, start in enumerate((top, left)):
        last = pixels.shape[axis] - 1
        places = np.clip(start + np.arange(size) * side / size - 0.5, 0, last)
        low = places.astype(int)
        share = (places - low).reshape([-1 if axis == one else 1 for one in range(pixels.ndim)])
        pixels = pixels.take(low, axis) * (1 - share) + pixels.take(np.minimum(low + 1, last), axis) * share
    return np.rint(pixels).astype(np.uint8)


def decoders():
    """Threads that pictures are worth: one a core and one more, as the step is one thread's at a time and others wait for it."""
    return min(processor.cores() + 1, DECODERS)


def _size(pixels):
    return (pixels.shape[1], pixels.shape[0]) if isinstance(pixels, np.ndarray) else pixels.size


def _three(pixels):
    """Grey (H, W) repeated."""
    return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)


def _decode(data, size=None):
    """size: of the square that will be made, so that a JPEG with more than enough pixels need not be decoded in full."""
    if isinstance(data, np.ndarray):
        return Decoded(_from_array(data))
    if isinstance(data, Image.Image):
        return _rgb_of_opened(lambda: data, b"")
    if isinstance(data, (str, os.PathLike)):
        data = read(data)
    data = bytes(data)
    if not data:
        raise Refused("the file is empty (0 bytes)")
    decoded = _jpeg(data, size) if data.startswith(b"\xff\xd8\xff") else None
    if decoded is None:
        return _rgb_of_opened(lambda: Image.open(io.BytesIO(data)), data, size)
    header = _before_pixels(data)
    if b"Exif" in header or b"tiff:Orientation" in header:
        return decoded._replace(turn=_turn(data))
    return decoded


def _divisor(width, height, size):
    """1, 2, 4 or 8: the scales that decoders have fast code for, and Pillow has at all."""
    return 1 if size is None else max((by for by in (2, 4, 8) if min(width, height) >= ENOUGH * size * by), default=1)


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refused(unread(error)) from None


def unread(error):
    """An OSError of reading, in plain words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file (any more)"
    return f"the file cannot be read ({error.strerror or error})"


def _from_array(array):
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise Refused(
            f"an array {array.dtype} of shape {array.shape} is no picture: uint8 (H, W, 3) or (H, W) is accepted"
        )
    return np.ascontiguousarray(array)


def _jpeg(data, size=None):
    """The common JPEG through libjpeg-turbo: pixels equal to Pillow's, sooner, and damage inside the data is noticed;
    None leaves it to Pillow."""
    try:
        import simplejpeg
    except ImportError:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None  # an unusual header: Pillow reads it or knows why not
    if space not in ("YCbCr", "Gray"):
        return None
    _check_size(width, height)
    by = _divisor(width, height, size)
    wanted = {"colorspace": "GRAY" if space == "Gray" else "RGB"}
    if by > 1:
        wanted |= {"min_width": -(-width // by), "min_height": -(-height // by)}
    try:
        pixels = simplejpeg.decode_jpeg(data, **wanted)
    except ValueError as error:
        if not _harmless(str(error), data):
            raise Refused(_reason(error, data)) from None
        pixels = simplejpeg.decode_jpeg(data, **wanted, strict=False)
    return Decoded(pixels[:, :, 0] if space == "Gray" else pixels, (by, (width, height)))


def _harmless(message, data):
    """Some writers pad before the end marker: equal bytes there are padding, anything else is coded data that lost its
    place."""
    extra = re.search(r"(\d+) extraneous bytes before marker 0xd9", message)
    end = data.rfind(b"\xff\xd9")
    return bool(extra) and len(set(data[max(end - int(extra[1]), 0) : end])) <= 1


def _before_pixels(data):
    """The segments of a JPEG up to its first scan, where EXIF and XMP lie; all of it where they are not plain."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and 0xC0 <= data[at + 1] < 0xFF:
        if data[at + 1] == 0xDA:
            return data[:at]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data


def _turn(data):
    with _quiet:
        try:
            return TURNS.get(Image.open(io.BytesIO(data)).getexif().get(ORIENTATION))
        except Exception:  # whatever a corrupt EXIF sets off: the pixels are sound
            return None


def _rgb_of_opened(open_picture, data, size=None):
    with _quiet:
        try:
            picture = open_picture()
            width, height = picture.size
            _check_size(width, height)
            by = _divisor(width, height, size) if picture.format in ("JPEG", "MPO") else 1
            if by > 1:
                picture.draft(None, (width // by, height // by))
            picture.load()
            rgb = _rgb(picture)
        except (Refused, MemoryError):
            raise
        except Exception as error:  # Pillow's plugins let anything through: SyntaxError, struct.error, IndexError, ...
            raise Refused(_reason(error, data)) from None
        try:
            turn = TURNS.get(picture.getexif().get(ORIENTATION))
        except Exception:
            turn = None
    return Decoded(rgb, (by, (width, height) if by > 1 else None), turn)  # some formats say their size when loaded


def _check_size(width, height):
    if width * height > PIXEL_LIMIT:
        raise Refused(f"{width}x{height} is more than the {PIXEL_LIMIT:,} pixels that are read")
    if not width * height:
        raise Refused("the picture has no pixels")


def _rgb(picture):
    mode = picture.mode
    if mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if mode == "I":  # 16-bit values in 32 bits, as PGM is read
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise Refused("its 32-bit pixels have no stated range")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if mode == "F":
        raise Refused("its floating-point pixels have no stated range")
    if picture.has_transparency_data:
        rgba = (picture.convert("LA") if mode == "La" else picture).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture if mode == "RGB" else picture.convert("RGB")


def _reason(error, data):
    text = str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"it is more than the {PIXEL_LIMIT:,} pixels that are read"
    if isinstance(error, UnidentifiedImageError):
        return "damaged: its header cannot be read" if data.startswith(MAGIC) else "not a picture in a known format"
    if re.search("truncated|premature end|unexpected end", text, re.IGNORECASE):
        return f"truncated or damaged ({text})"
    return f"damaged ({type(error).__name__}: {text})"


class _Quiet:
    """No warning of Pillow's leaks. One set of filters for all threads that are inside, restored by the last to leave:
    catch_warnings alone, entered by two threads at once, would leave the process with the wrong filters for good."""

    def __init__(self):
        self.lock, self.inside, self.caught = threading.Lock(), 0, None

    def __enter__(self):
        with self.lock:
            if not self.inside:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.caught.__exit__(*error)


_quiet = _Quiet()
