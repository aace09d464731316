"""The other end of decoding.py: a process that decodes one picture after the other from stdin to stdout, with little memory and no
right to do anything else. It ends when its stdin does."""

import io
import os
import sys
import warnings

from PIL import Image

from alexnet.data import picture
from alexnet.errors import Refused

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "AVIF")  # none of them runs a program
MEMORY = 4 << 30  # bytes of addresses
SECONDS = 3600  # of processor time in a life


def main():
    _bound()
    Image.init()
    warnings.simplefilter("ignore")
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    while len(head := given.read(40)) == 40:
        length, size, pixels, frames, points = (int.from_bytes(head[at : at + 8], "little") for at in range(0, 40, 8))
        kind, answer = decode(given.read(length), size, picture.POINTS if points else None, pixels=pixels, frames=frames)
        answers.write(kind + len(answer).to_bytes(8, "little") + answer)
        answers.flush()


def decode(data, size, resampling, *, pixels, frames):
    try:
        with Image.open(io.BytesIO(data), formats=[one for one in FORMATS if one in Image.OPEN]) as opened:
            width, height = opened.size
            if width * height > pixels:
                return b"L", f"{width:,} x {height:,} are more than the {pixels:,} pixels that are read.".encode()
            if getattr(opened, "n_frames", 1) > frames:
                return b"L", f"the animation has more than the {frames:,} frames that are allowed.".encode()
    except Image.DecompressionBombError:
        return b"L", f"it is more than the {pixels:,} pixels that are read.".encode()
    except MemoryError:
        return b"L", b"the picture needs more memory than a picture may."
    except Exception:  # the one definition of a picture below says why, where its header was known
        if not data.startswith(picture.MAGIC):
            return b"R", b"not a picture in a known format"
    try:
        return b"S", picture.square(data, size, resampling).tobytes()
    except Refused as refusal:
        return b"R", str(refusal).encode("utf-8", "replace")
    except MemoryError:
        return b"L", b"the picture needs more memory than a picture may."


def _bound():
    """Where the system has such limits."""
    try:
        import resource
    except ImportError:
        return
    for what, most in (("RLIMIT_AS", MEMORY), ("RLIMIT_CPU", SECONDS), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        try:
            resource.setrlimit(getattr(resource, what), (most, most))
        except (OSError, ValueError, AttributeError):
            pass


if __name__ == "__main__":
    main()
