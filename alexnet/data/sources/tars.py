"""The members of a tar, and of the tars inside it, as places in the one file, so that pictures are read where they lie and
nothing is unpacked. The headers are tarfile's business; that a tar is whole is checked here, because tarfile ends quietly at
damage behind the first member."""

import os
import tarfile
from typing import NamedTuple

from alexnet.errors import Refused

BLOCK = 512


class Member(NamedTuple):
    name: str
    offset: int  # of the content, from the beginning of the outermost file
    length: int


def members(path, *, inside=None):
    """Yields the files in a tar, or in the tar that is the Member `inside` of it, in their order there."""
    start, end = (0, os.path.getsize(path)) if inside is None else (inside.offset, inside.offset + inside.length)
    place = path if inside is None else f"{inside.name} in {path}"
    try:
        with open(path, "rb", buffering=0) as file:  # headers lie far apart: a buffer would read what is jumped over
            file.seek(start)
            if start == end:
                raise tarfile.ReadError("empty file")
            tar = tarfile.TarFile(fileobj=file)
            while (member := tar.next()) is not None:
                if member.offset >= end:  # an inner tar without an end of its own: this is what follows it
                    break
                tar.members.clear()  # tarfile keeps them all otherwise: a gigabyte at 1.28 million
                if member.offset_data + member.size > end:
                    raise tarfile.ReadError(f"{member.name} does not end in it")
                if member.isreg():
                    yield Member(member.name, member.offset_data, member.size)
            file.seek(tar.offset)
            ending = file.read(min(BLOCK, max(end - tar.offset, 0)))
            if any(ending) or (len(ending) < BLOCK and (inside is None or ending)):
                raise tarfile.ReadError(f"no header and no end at byte {tar.offset - start:,} of {end - start:,}")
    except (tarfile.TarError, ValueError) as error:
        raise Refused(f"{place} is no whole tar ({error}): fetch it again, it is damaged or half downloaded.") from None
    except OSError as error:
        raise Refused(f"{place} cannot be read ({error.strerror or error}): make it readable, or fetch it again.") from None
