"""Protocol Buffers as bytes on the wire, as much as Caffe's files need: a message is fields, a field is a number, a type and a
value. Nothing of Caffe's is compiled, and values are views into the file."""

import struct

from alexnet.errors import Refused

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def fields(message, source="the file"):
    """(number, type, value) one after the other: a whole number, or a view of the bytes. message: bytes or a view of them."""
    message, at = memoryview(message), 0
    while at < len(message):
        key, at = varint(message, at, source)
        number, kind = key >> 3, key & 7
        if not number:
            raise damaged(source, at)
        if kind == VARINT:
            value, at = varint(message, at, source)
        elif kind in (FIXED64, FIXED32, LENGTH):
            length = {FIXED64: 8, FIXED32: 4}.get(kind)
            if length is None:
                length, at = varint(message, at, source)
            if at + length > len(message):
                raise damaged(source, at)
            value, at = message[at : at + length], at + length
        else:  # groups, which nothing here has
            raise damaged(source, at)
        yield number, kind, value


def varint(message, at, source="the file"):
    """(whole number, place behind it): seven bits a byte, the lowest first."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise damaged(source, at)
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def damaged(source, at):
    return Refused(f"{source} is cut off or no Protocol Buffers file (byte {at:,} of a message): take another copy of it.")


# ---- writing ---------------------------------------------------------------------------------------------------------------


def number(field, value):
    return _varint(field << 3 | VARINT) + _varint(value)


def floats(field, value):
    return _varint(field << 3 | FIXED32) + struct.pack("<f", value)


def chunk(field, content):
    """Bytes, text or a message within a message."""
    content = content.encode() if isinstance(content, str) else content
    return _varint(field << 3 | LENGTH) + _varint(len(content)) + content


def _varint(value):
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def packed(values):
    """Whole numbers one behind the other, as a packed field holds them."""
    return b"".join(map(_varint, values))
