"""One shard: pictures read, made square and packed, with integer sums for the mean image and the colour covariance.
prepare.py decides which shards are made, and where; finish() joins what they left into the split's store.json, written
last."""

import glob
import hashlib
import io
import json
import os
from fractions import Fraction

import numpy as np

from alexnet.data import picture, sources
from alexnet.data import store as stores
from alexnet.errors import Refused

SUFFIX = {"raw": "raw", "jpeg": "jpegs"}
QUALITY = 95
BLOCK = 64  # pictures summed at a time: 64 bytes fit 16 bits, 64 products of two bytes fit 32
WIDENED = 2**20  # bytes made 32 bits wide at a time, 4 MB


def pack(number, entries, key, plan, *, tick):
    """Writes shard `number` and its part: the sums, and which entries were kept."""
    block = np.empty((BLOCK, plan.size, plan.size, 3), np.uint8)
    sums, products = np.zeros(block.shape[1:], np.uint32), np.zeros(6, np.int64)
    kept, refused, lengths, digest = np.zeros(len(entries), bool), [], [], hashlib.sha256()
    seen = hashlib.blake2b(digest_size=16)
    path = shard_path(number, plan)
    encode = _encoder()[1]
    with _whole(path) as file:
        for first in range(0, len(entries), BLOCK):
            filled, streams = 0, []
            for position, entry in enumerate(entries[first : first + BLOCK], first):
                try:
                    data, block[filled], stamp = _read(entry, plan)
                except Refused as error:
                    refused.append([position, str(error)])
                    stamp = _stamp(entry)
                else:
                    kept[position] = True
                    filled += 1
                    streams += [data] if plan.verbatim else []
                seen.update(repr(stamp).encode())
            pictures = block[:filled]
            sums += pictures.sum(axis=0, dtype=np.uint16)
            products += _products(pictures)
            if plan.encoding == "raw":
                streams = [pictures]
            else:
                streams = streams or [encode(pixels) for pixels in pictures]
                lengths += [len(stream) for stream in streams]
            for stream in streams:
                digest.update(stream)
                file.write(stream)
            tick(min(BLOCK, len(entries) - first))
        size = file.tell()
    facts = {
        "key": key,
        "seen": seen.hexdigest(),
        "file": os.path.basename(path),
        "pictures": int(kept.sum()),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "refused": refused,
    }
    part = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), "kept": kept, "sums": sums}
    with _whole(part_path(number, plan)) as file:
        np.savez(file, **part, products=products, lengths=np.array(lengths, np.int64))


def _read(entry, plan):
    try:
        data, stamp = sources.read(entry)
    except OSError as error:
        raise Refused(picture.unread(error)) from None
    pixels = picture.native(data, plan.size) if plan.native else picture.square(data, plan.size, plan.resampling)
    return data, pixels, stamp


def _stamp(entry):
    """Size and time of change of an entry's file: whether it is still the one that was read."""
    try:
        status = os.stat(entry.path)
        return status.st_size, status.st_mtime_ns
    except OSError:
        return None


def _products(pictures):
    """Sums over all pixels of rr, rg, rb, gg, gb, bb, exactly: each byte times itself, the next one, and the next but
    one, where the pairs that straddle two pixels are dropped. Three times the speed of the plain product of (N, 3)
    matrices, as long as the widened bytes stay in the cache."""
    width = int(np.prod(pictures.shape[1:]))
    flat = pictures.reshape(len(pictures), width)  # (B, size * size * rgb)
    rows = max(min(WIDENED // width, len(flat)), 1)
    wide = np.empty((rows, width), np.uint32)
    sums = np.zeros((3, width), np.uint32)  # a row a shift
    for first in range(0, len(flat), rows):
        some = wide[: len(flat) - first]
        some[...] = flat[first : first + rows]
        for shift in range(3):
            sums[shift, : width - shift] += np.einsum("bi,bi->i", some[:, : width - shift], some[:, shift:])
    folded = sums.reshape(3, -1, 3).swapaxes(1, 2).sum(axis=2, dtype=np.int64)
    (rr, gg, bb), (rg, gb, _), (rb, _, _) = folded
    return np.array([rr, rg, rb, gg, gb, bb])


def _encoder():
    """-> (its name, array -> JPEG bytes). Both write plain 4:4:4 JPEG: which of them did is no part of the format."""
    try:
        import simplejpeg
    except ImportError:
        return "Pillow", _encode_with_pillow
    return "simplejpeg", lambda pixels: simplejpeg.encode_jpeg(pixels, QUALITY, "RGB", "444")


def _encode_with_pillow(pixels):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()


def encoder_name(encoding):
    return None if encoding == "raw" else _encoder()[0]


def shard_path(number, plan):
    return os.path.join(plan.folder, f"shard-{number:05d}.{SUFFIX[plan.encoding]}")


def part_path(number, plan):
    return os.path.join(plan.folder, f"shard-{number:05d}.part.npz")


def key(entries, plan):
    """What decides the bytes of a shard, files' contents apart."""
    facts = [stores.FORMAT, plan.size, plan.native, plan.encoding, encoder_name(plan.encoding), plan.resampling]
    facts += ["verbatim"] if plan.verbatim else []
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    for entry in entries:
        raw = (entry.raw,) if entry.raw else ()  # stores of files keep the key they had before there were raw pixels
        digest.update(repr((os.fsencode(entry.name), entry.label, entry.box, entry.offset, entry.length, *raw)).encode())
    return digest.hexdigest()


def is_done(number, entries, key, plan):
    """Whether an earlier prepare left this shard whole, and its pictures' files are those it read."""
    try:
        with np.load(part_path(number, plan)) as part:
            facts = json.loads(part["facts"].tobytes())
        if facts["key"] != key or os.stat(shard_path(number, plan)).st_size != facts["bytes"]:
            return False
    except (OSError, ValueError, KeyError, EOFError):
        return False
    seen = hashlib.blake2b(digest_size=16)
    for entry in entries:
        seen.update(repr(_stamp(entry)).encode())
    return facts["seen"] == seen.hexdigest()


def finish(source, shards, plan, whole, left_out=()):
    """Joins the parts; store.json comes last, so that a split without it is unfinished. left_out: what resembles train."""
    sums, products = np.zeros((plan.size, plan.size, 3), np.int64), np.zeros(6, np.int64)
    files, kept, refused, lengths = [], [], [], []
    for number, entries in enumerate(shards):
        with np.load(part_path(number, plan)) as part:
            facts = json.loads(part["facts"].tobytes())
            sums += part["sums"]
            products += part["products"]
            lengths.append(part["lengths"])
            kept += [entry for entry, keep in zip(entries, part["kept"]) if keep]
        files.append({name: facts[name] for name in ("file", "pictures", "bytes", "sha256")})
        refused += [{"path": entries[position].name, "reason": reason} for position, reason in facts["refused"]]
    count = len(kept)
    if left_out and not shards:
        raise Refused(f"every picture held out as {os.path.basename(plan.folder)} looks like one of train and was left out, "
                      f"{left_out[0]['path']!a} for one: choose another share.")
    if not count:
        first = f"{refused[0]['path']}: {refused[0]['reason']}"
        raise Refused(
            f"none of the {len(refused):,} pictures of {os.path.basename(plan.folder)} can be read "
            f"({ascii(first)[1:-1]}): look at the source."
        )
    labels = np.array([entry.label for entry in kept], np.int64)
    arrays = {"labels.npy": labels, "mean.npy": (sums / count).astype(np.float32)}
    if any(entry.box for entry in kept):
        arrays["boxes.npy"] = np.array([entry.box or (-1,) * 4 for entry in kept], np.int32)
    if plan.encoding == "jpeg":
        starts = [np.cumsum(some) - some for some in lengths]
        arrays["offsets.npy"] = np.stack(
            [np.concatenate(starts), np.concatenate(lengths)], axis=1
        )  # (N, 2) in the shard
    contents = {name: _npy(array) for name, array in arrays.items()}
    contents["names.json"] = json.dumps([entry.name for entry in kept], indent=0).encode()
    lines = [{**line, "left_out": True} for line in left_out] + refused
    contents["refused.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    for name, data in contents.items():
        write(os.path.join(plan.folder, name), data)
    card = {
        "format": stores.FORMAT,
        "fingerprint": stores.fingerprint(files, labels, source.classes, plan.size, plan.encoding),
        "images": count,
        "refused": len(refused),
        **({"left_out": len(left_out)} if left_out else {}),
        "size": plan.size,
        "native": plan.native,
        "encoding": plan.encoding,
        "encoder": encoder_name(plan.encoding),
        "resampling": "none" if plan.native else plan.resampling,
        "source": {"kind": source.kind, "name": os.path.basename(source.path), "notes": source.notes},
        "licence": source.licence,
        "colour": colour(sums, products, count),
        "classes": [list(pair) for pair in source.classes],
        "class_counts": np.bincount(labels, minlength=len(source.classes)).tolist(),
        "plan": whole,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
        },
        "shards": files,
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in card.items())  # a line a fact
    write(os.path.join(plan.folder, stores.CARD), f"{{\n{lines}\n}}\n".encode())
    tidy(plan.folder, card)
    return card


def tidy(folder, card):
    """Leaves what store.json names, and nothing of the making."""
    sweep(folder, keep={stores.CARD, *card["files"], *(shard["file"] for shard in card["shards"])})


def colour(sums, products, count):
    """Mean and principal axes of all pixels, from whole numbers: nothing is rounded before the division."""
    pixels = count * sums.shape[0] * sums.shape[1]
    total = [int(value) for value in sums.sum(axis=(0, 1))]
    rr, rg, rb, gg, gb, bb = (int(value) for value in products)
    second = [[rr, rg, rb], [rg, gg, gb], [rb, gb, bb]]
    covariance = [
        [float(Fraction(second[i][j] * pixels - total[i] * total[j], pixels**2)) for j in range(3)] for i in range(3)
    ]
    values, vectors = np.linalg.eigh(np.array(covariance))  # smallest first
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, range(3)])  # the largest component of each axis is positive
    stdevs = np.sqrt(np.maximum(values, 0))
    return {
        "mean": [value / pixels for value in total],
        "stdevs": np.round(stdevs, 9).tolist(),
        "vectors": np.round(vectors, 9).tolist(),
    }


def sweep(folder, keep=None):
    """Removes half-written files; with `keep`, whatever is not named there."""
    for path in glob.glob(os.path.join(glob.escape(folder), "*")):
        name = os.path.basename(path)
        if name.endswith(".tmp") or (keep is not None and name not in keep):
            os.remove(path)


def write(path, data):
    with _whole(path) as file:
        file.write(data)


class _whole:
    """A file that appears under its name only when it is complete."""

    def __init__(self, path):
        self.path, self.half = path, f"{path}.{os.getpid()}.tmp"

    def __enter__(self):
        self.file = open(self.half, "wb")
        return self.file

    def __exit__(self, kind, *error):
        self.file.close()
        if kind is None:
            os.replace(self.half, self.path)
        else:
            os.remove(self.half)


def _npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
