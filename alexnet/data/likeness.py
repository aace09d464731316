"""Which pictures are the same picture: equal byte for byte, or near: recompressed, rescaled, mirrored, brightened, cropped by up
to a twentieth a side. A signature is a digest and a thumbnail. All pairs of thumbnails are compared coarsely, by blocks of a
matrix product; the few that come close are laid over each other as well as it goes, and edges have to meet edges."""

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SIDE, COARSE = 32, 8  # of a thumbnail's light, and of its colour
SIGNATURE = np.dtype([("digest", "<u8", 2), ("light", "u1", (SIDE, SIDE)), ("colour", "i1", (COARSE, COARSE, 2))])  # 1,168 bytes

# benches/likeness.py measures what these let through, and gives the bounds that NEAR lies between; in them it stands where the
# near pairs of Tiny-ImageNet, looked at one by one, begin to be mostly copies
CLOSE = 0.68  # of coarse vectors, a cosine: what is compared once more
ROUGHLY = 0.25  # of edges, a squared cosine, laid over at half the side: what is compared in full
NEAR = 0.75  # of edges, laid over in full: the same picture, if the colours agree
COLOURS = 12  # steps of a thumbnail's colour, on average: further apart they disagree
SURELY, DEVIATIONS, ENOUGH = 0.9, 4, 200  # where all pictures are alike by nature NEAR is raised (_near_enough)
CROWD = 10  # candidates a picture: where there are more CLOSE is raised
FLAT = 2.0  # grey levels: a thumbnail that varies less has nothing to compare, and is like its equals only
BLOCK = 1024  # rows of a product: 4 MB, which stay in the cache
BATCH = 512  # pictures, or candidates, handled at a time
SAMPLE = 512  # pictures from which the number of candidates is foreseen
MOST = 0.2  # of half the side: how far one picture may be shifted or stretched to fit the other


def signatures(squares, *, contents=None):
    """uint8 (B, S, S, 3) -> (B,) of SIGNATURE. The digest is of the pixels, or of `contents`, each picture's bytes as they were
    found, where those are known."""
    count, size = squares.shape[:2]
    rows, light, colour = _to_thumbnails(size)
    found = np.empty(count, SIGNATURE)
    half = rows @ squares.reshape(count, size, 3 * size).astype(np.float32)  # (B, SIDE, S * rgb)
    found["light"] = np.rint(half @ light)
    pooled = half.reshape(count, COARSE, SIDE // COARSE, 3 * size).mean(2)
    found["colour"] = np.rint(pooled @ colour).reshape(count, COARSE, COARSE, 2)
    for row, content in enumerate(np.ascontiguousarray(squares) if contents is None else contents):
        found["digest"][row] = np.frombuffer(hashlib.blake2b(content, digest_size=16).digest(), "<u8")
    return found


def pairs(signatures, *, near=NEAR, since=0, workers=None, tell=lambda count: None):
    """(N,) of SIGNATURE -> [(i, j, "exact" or "near"), ...], i < j, sorted. Of k equal pictures each later one is paired with the
    first, k - 1 pairs; near pairs are among those that equal no earlier one, with since=n only of one before n and one from there
    on. tell(n) is called as pictures are done, N in all. Workers are threads; without a number, one a core."""
    digests = np.ascontiguousarray(signatures["digest"]).view("V16").ravel()
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    original = first[which]  # of each picture, the first that equals it
    found = [(int(original[later]), int(later), "exact") for later in np.flatnonzero(original != np.arange(len(original)))]
    kept = np.sort(first)
    tell(len(signatures) - len(kept))
    different = signatures[kept] if len(kept) < len(signatures) else signatures
    even, odd = _all_vectors(different)
    close, alike, seen = _close_enough(even, odd), [], []
    later = int(np.searchsorted(kept, since))  # of the different ones, the first from `since` on
    earlier = later if since else len(different)

    def of_band(band):
        mine = []
        for i, j, mirrored in _candidates(even, odd, band, close, later):
            first, second = _planes(different[i], mirrored), _planes(different[j])
            rough = np.flatnonzero(_roughly(first, second) & _colours_agree(different[i], different[j], mirrored))
            likeness = _in_full(first[rough], second[rough])
            seen.append(likeness)
            mine += [(int(kept[i[at]]), int(kept[j[at]]), value) for at, value in zip(rough, likeness) if value > near]
        return mine, band.stop - band.start

    with ThreadPoolExecutor(workers or os.cpu_count()) as threads:
        for mine, count in threads.map(of_band, _bands(earlier)):
            alike += mine
            tell(count)
    tell(len(different) - earlier)
    near = _near_enough(near, seen)
    return sorted(found + [(i, j, "near") for i, j, likeness in alike if likeness > near])


def compare(first, second):
    """Two (n,) of SIGNATURE -> (likeness from 0 to 1, whether the second is nearer to the first's mirror image)."""
    values = []
    for turned in (np.zeros(len(first), bool), np.ones(len(first), bool)):
        values.append(_in_full(_planes(first, turned), _planes(second)) * _colours_agree(first, second, turned))
    straight, mirrored = values
    return np.maximum(straight, mirrored), mirrored > straight


def groups(count, pairs):
    """Pairs among `count` pictures -> int64 (count,): of each picture, the first one that pairs connect it with."""
    root = np.arange(count)
    for i, j, *_ in pairs:
        while root[i] != i:
            root[i] = i = root[root[i]]
        while root[j] != j:
            root[j] = j = root[root[j]]
        root[max(i, j)] = min(i, j)
    while (root[root] != root).any():
        root = root[root]
    return root


@functools.cache
def _to_thumbnails(size):
    """Matrices that average: rows to SIDE; columns and colours to light; columns and colours to two differences of colours."""
    light = np.kron(_averages(size, SIDE).T, np.float32([[0.299], [0.587], [0.114]]))  # (S * rgb, SIDE)
    apart = np.float32([[0.49, 0.245], [-0.49, 0.245], [0, -0.49]])  # red - green and yellow - blue, within a byte
    return _averages(size, SIDE), light, np.kron(_averages(size, COARSE).T, apart)


def _averages(size, count):
    """(count, size): each row weighs the pixels in its share of the side, those at its ends by how far they lie in it."""
    ends, pixels = np.arange(count + 1)[:, None] * (size / count), np.arange(size)
    return np.diff(np.clip(ends - pixels, 0, 1), axis=0).astype(np.float32) * (count / size)


# ---- all pairs, coarsely -----------------------------------------------------------------------------------------------------


def _vectors(signatures):
    """-> (even, odd), float32, a row a picture, together of length 1: cosines of the thumbnail, up to 8 waves a side, each times
    its frequency, so that structure counts more than shading. In a mirror the odd ones change their sign: the product of two
    pictures is even + odd, and that of one with the mirror image of the other even - odd."""
    even, odd = [], []
    for part, waves in ((signatures["light"][..., None], COARSE), (signatures["colour"], COARSE // 2)):
        planes = np.moveaxis(part, 3, 0).astype(np.float32)  # (planes, N, side, side)
        cosines = _cosines(part.shape[1], waves)
        spectrum = cosines @ planes @ cosines.T * np.hypot(*np.mgrid[:waves, :waves]).astype(np.float32) * (SIDE / part.shape[1])
        even += list(spectrum[..., 0::2].reshape(len(planes), len(part), -1))
        odd += list(spectrum[..., 1::2].reshape(len(planes), len(part), -1))
    even, odd = np.concatenate(even, axis=1), np.concatenate(odd, axis=1)
    length = np.sqrt((even**2).sum(1) + (odd**2).sum(1))
    length = np.where(signatures["light"].std(axis=(1, 2)) < FLAT, np.inf, np.maximum(length, 1e-3))
    return even / length[:, None], odd / length[:, None]


def _cosines(side, waves):
    places = (np.arange(side) + 0.5) * np.pi / side
    return (np.cos(np.arange(waves)[:, None] * places) * np.sqrt(2 / side)).astype(np.float32)


def _all_vectors(signatures):
    parts = [_vectors(signatures[first : first + BATCH]) for first in range(0, len(signatures), BATCH)]
    return tuple(np.concatenate(some) for some in zip(*parts)) if parts else (np.empty((0, 1), np.float32),) * 2


def _bands(count, start=0):
    return [slice(first, min(first + BLOCK, count)) for first in range(start, count, BLOCK)]


def _closeness(even, odd, rows, columns):
    """-> (cosines of rows with columns, or with their mirror images where that is more; where it is)"""
    straight, turned = even[rows] @ even[columns].T, odd[rows] @ odd[columns].T
    mirrored = turned < 0
    straight += np.abs(turned, out=turned)
    return straight, mirrored


def _candidates(even, odd, band, close, start):
    """Yields (i, j, mirrored), at most BATCH at a time: pairs i < j of close vectors, the i of this band, the j from start on."""
    for other in _bands(len(even), max(band.start, start)):
        near, mirrored = _closeness(even, odd, band, other)
        places = np.flatnonzero(near > close)
        i, j = np.divmod(places, near.shape[1])
        ordered = np.flatnonzero(i + band.start < j + other.start)
        for first in range(0, len(ordered), BATCH):
            some = ordered[first : first + BATCH]
            yield i[some] + band.start, j[some] + other.start, mirrored.ravel()[places[some]]


def _close_enough(even, odd):
    """CLOSE, or as much more as leaves CROWD candidates a picture, as a sample foresees it."""
    sample = np.unique(np.linspace(0, max(len(even) - 1, 0), min(len(even), SAMPLE)).astype(np.int64))
    found = [np.empty(0, np.float32)]
    for band in _bands(len(even)):
        near, _ = _closeness(even, odd, sample, band)
        near[sample[:, None] == np.arange(band.start, band.stop)] = 0  # itself
        found.append(near[near > CLOSE])
    found, allowed = np.sort(np.concatenate(found)), 2 * CROWD * len(sample)  # each pair has two ends
    return float(found[-allowed]) if len(found) > allowed else CLOSE


def _near_enough(near, seen):
    """`near`, or more in a set of which all pictures show much the same (hands before one wall): DEVIATIONS above the middle of
    the strangers that were compared, those below `near`, the deviation taken from the half below; but never above SURELY."""
    seen = np.concatenate([np.empty(0, np.float32), *seen])
    seen = seen[seen <= near]
    if len(seen) < ENOUGH:
        return near
    low, middle = np.quantile(seen, [0.16, 0.5])
    return max(near, min(middle + DEVIATIONS * (middle - low), SURELY))


# ---- one laid over the other -------------------------------------------------------------------------------------------------


def _turned(some, mirrored):
    return np.where(mirrored.reshape(-1, *[1] * (some.ndim - 1)), some[:, :, ::-1], some)


def _colours_agree(first, second, mirrored):
    """Two nails on white are not one nail; but a grey copy is one of its original."""
    one, other = _turned(first["colour"], mirrored).astype(np.float32), second["colour"].astype(np.float32)
    grey = np.minimum(np.abs(one).max((1, 2, 3)), np.abs(other).max((1, 2, 3))) <= 1
    return grey | (np.abs(one - other).mean((1, 2, 3)) <= COLOURS)


def _planes(signatures, mirrored=None):
    """The light, (n, SIDE, SIDE), with mean 0 and deviation 1 each; some of them mirrored."""
    light = signatures["light"]
    planes = (light if mirrored is None else _turned(light, mirrored)).astype(np.float32)
    flat = planes.reshape(len(planes), -1)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.maximum(np.sqrt(np.einsum("ni,ni->n", flat, flat) / flat.shape[1]), 1)[:, None]
    return planes


def _roughly(first, second):
    """(n,): whether the edges meet after two steps at half the side."""
    first, second = _halved(first), _halved(second)
    moves = _step(first, second, _step(first, second, None))
    return _edges_meet(*_moved(first, moves), second) > ROUGHLY


def _in_full(first, second):
    """How far the edges of one meet those of the other; the one that shows less has to lie over the other, so both are tried."""
    if not len(first):
        return np.empty(0, np.float32)
    found = []
    for under, over in ((first, second), (second, first)):
        moves = None
        for a, b in ((_halved(under), _halved(over)),) * 2 + ((under, over),) * 2:
            moves = _step(a, b, moves)
        found.append(_edges_meet(*_moved(_smoothed(under), moves), _smoothed(over)))
    return np.maximum(*found)


def _step(under, over, moves):
    """One step of least squares towards over = gain * moved(under) + offset. Moves are (n, 2, 2): of rows and of columns, the
    shift and the stretch, in halves of the side; None at the beginning."""
    count, side = under.shape[:2]
    moved, inside = _moved(under, moves)
    places = _places(side)
    down, across = np.gradient(moved, 2 / side, axis=(1, 2))
    columns = np.empty((count, 6, side, side), np.float32)
    columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 4] = 1, moved, down, across
    np.multiply(down, places[:, None], out=columns[:, 3])
    np.multiply(across, places, out=columns[:, 5])
    columns = columns.reshape(count, 6, -1)
    weighed = columns if inside is None else columns * inside.reshape(count, 1, -1)
    normal = weighed @ columns.transpose(0, 2, 1)  # (n, 6, 6)
    normal += np.eye(6, dtype=np.float32) * (1e-4 / 6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-3)
    found = np.linalg.solve(normal, weighed @ over.reshape(count, -1, 1))[..., 0]
    change = (found[:, 2:] / np.maximum(found[:, 1:2], 0.2)).reshape(count, 2, 2)
    return np.clip(change if moves is None else moves + change, -MOST, MOST)


def _moved(planes, moves):
    """-> (planes resampled: row y comes from shift + (1 + stretch) y, columns likewise; where they lie inside, None: all)"""
    if moves is None:
        return planes, None
    side = planes.shape[1]
    sources = moves[..., :1] + (1 + moves[..., 1:]) * _places(side)  # (n, 2, side)
    inside = np.abs(sources) <= 1
    pixels = np.clip((sources + 1) * (side / 2) - 0.5, 0, side - 1)
    weights = np.maximum(1 - np.abs(pixels[..., None] - np.arange(side, dtype=np.float32)), 0)  # linear between two pixels
    return weights[:, 0] @ planes @ weights[:, 1].transpose(0, 2, 1), inside[:, 0, :, None] & inside[:, 1, None, :]


def _edges_meet(under, inside, over):
    """The squared cosine of the slopes of both, down and across. A slope counts no more than the mean one does, or a dark frame
    would make any two pictures alike."""
    inside = np.concatenate([inside, inside], axis=1)
    slopes = []
    for planes in (under, over):
        steep = np.concatenate(np.gradient(planes, axis=(1, 2)), axis=1) * inside  # (n, 2 * side, side)
        most = np.abs(steep).sum((1, 2), keepdims=True) / np.maximum(inside.sum((1, 2), keepdims=True), 1)
        slopes.append(np.clip(steep, -most, most).reshape(len(planes), -1))
    under, over = slopes
    both = np.einsum("ni,ni->n", under, over)
    all_of_both = np.einsum("ni,ni->n", under, under) * np.einsum("ni,ni->n", over, over)
    return np.minimum(np.maximum(both, 0) ** 2 / np.maximum(all_of_both, 1e-6), 1)


def _places(side):
    return ((np.arange(side) + 0.5) * (2 / side) - 1).astype(np.float32)


def _halved(planes):
    rows = planes[:, 0::2] + planes[:, 1::2]
    return (rows[:, :, 0::2] + rows[:, :, 1::2]) / 4


def _smoothed(planes):
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), "edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16
