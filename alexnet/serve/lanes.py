"""What the first bytes of a picture say about the work it will be, without decoding anything. Plain JPEG, PNG and WebP of moderate
size are decoded in this process; all else (odd formats, animations, giants, files made of a million pieces) goes apart, where it
may be stopped."""

from typing import NamedTuple

NEAR_PIXELS = 16_000_000  # of a JPEG, which is decoded at a fraction of its size
OTHER_PIXELS = 4_000_000
NEAR_BYTES = 8_000_000
WORK = 160_000_000  # pixels times scans of a JPEG: a thousand empty scans are a bomb too
PIECES = 400  # segments or chunks
INFLATED = 8  # of the chunks that are


class Header(NamedTuple):
    width: int = 0  # 0: not read here
    height: int = 0
    near: bool = False


def look(data):
    if len(data) > NEAR_BYTES:
        found = _dimensions(data)
        return found._replace(near=False)
    return _dimensions(data)


def _dimensions(data):
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    return Header()


def _jpeg(data):
    at, width, height, kind_of, parts = 2, 0, 0, 0, 0
    for _ in range(PIECES):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        kind = data[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            kind_of, parts = kind, data[at + 9] if at + 9 < len(data) else 0
        if kind == 0xDA:
            one = kind_of in (0xC0, 0xC1) and data[at + 4] == parts  # all in this scan: no need to look for more of them
            scans = 1 if one else data.count(b"\xff\xda", at)
            near = kind_of in (0xC0, 0xC1, 0xC2) and 0 < width * height <= NEAR_PIXELS and width * height * scans <= WORK
            return Header(width, height, near)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return Header(width, height)


def _png(data):
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    at, inflated = 8, 0
    for _ in range(PIECES):
        kind = data[at + 4 : at + 8]
        inflated += kind in (b"iCCP", b"zTXt", b"iTXt")  # beside the pixels: a megabyte each at most
        if kind == b"IEND":
            return Header(width, height, 0 < width * height <= OTHER_PIXELS)
        if kind == b"acTL" or len(kind) < 4 or inflated > INFLATED:
            break
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return Header(width, height)


def _webp(data):
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        still = not data[20] & 0x02 if len(data) > 20 else False
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        still = True
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height, still = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), True
    else:
        return Header()
    return Header(width, height, still and 0 < width * height <= OTHER_PIXELS)
