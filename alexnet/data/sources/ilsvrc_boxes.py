"""ILSVRC's bounding boxes, an archive of PASCAL-VOC files, one a picture. A picture keeps one box, the largest of its own class,
moved from the pixels of the XML, which are often those of a smaller copy, to the picture's own."""

import io
import os
import tarfile
import zlib
from xml.etree import ElementTree

from alexnet.errors import Refused
from alexnet.progress import Progress

CORNERS = ("xmin", "ymin", "xmax", "ymax")
HEADS = (2**12, 2**18)  # bytes in which a JPEG tells its size: mostly the few first, but EXIF may stand before it


def read(path):
    """-> {picture's name without suffix / wnid: (width, height, x0, y0, x1, y1)}, all in the XML's pixels."""
    boxes = {}
    try:
        with Progress(f"reading {os.path.basename(path)}", os.path.getsize(path) >> 20, unit="MB") as bar, \
             open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                tar.members.clear()
                bar.advance((file.tell() >> 20) - bar.done)
                if member.isreg() and member.name.endswith(".xml"):
                    stem = member.name.rpartition("/")[2].removesuffix(".xml")  # the XML's own filename is "%s" in places
                    for wnid, box in _largest(tar.extractfile(member).read(), f"{member.name} in {path}").items():
                        boxes[f"{stem}/{wnid}"] = box
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path} is no whole archive of boxes ({error}): fetch it again, or take it out of the folder.") from None
    return boxes


def _largest(content, place):
    """-> {class: (width, height, x0, y0, x1, y1)}"""
    found = {}
    try:
        root = ElementTree.fromstring(content)
        size = tuple(int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
        for thing in root.iterfind("object"):
            corners = tuple(round(float(thing.findtext(f"bndbox/{corner}"))) for corner in CORNERS)
            name = thing.findtext("name").strip()
            if name not in found or _area(corners) > _area(found[name][2:]):
                found[name] = size + corners
    except (ElementTree.ParseError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{place} is no description of boxes ({error}): fetch the archive again, or take it out.") from None
    return found


def _area(corners):
    x0, y0, x1, y1 = corners
    return (x1 - x0) * (y1 - y0)


def scaled(box, *, path, offset, length):
    """The corners in the pixels of the picture there; as they are where either size is not known."""
    width, height, *corners = box
    actual = _size(path, offset, length)
    if not actual or not width or not height or actual == (width, height):
        return tuple(corners)
    return tuple(round(corner * actual[axis % 2] / (width, height)[axis % 2]) for axis, corner in enumerate(corners))


def _size(path, offset, length):
    from PIL import Image

    try:
        with open(path, "rb", buffering=0) as file:
            for head in HEADS:
                file.seek(offset)
                try:
                    return Image.open(io.BytesIO(file.read(head if length is None else min(head, length)))).size
                except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's names for "not yet"
                    continue
    except OSError:  # the picture is refused when it is read
        pass
    return None
