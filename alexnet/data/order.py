"""Which pictures make up a step, and where its random draws come from: pure functions of (seed, epoch, step), so that
workers, processes, kills and resumes change nothing."""

from functools import lru_cache
from hashlib import blake2b

import numpy as np

FEW = 8  # pictures that are no batch of their own


def generator(*words):
    """A random stream that belongs to these words alone."""
    digest = blake2b(repr(words).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def key(*words):
    """The same as one number below 2^31, for streams that are drawn on a device."""
    return int.from_bytes(blake2b(repr(words).encode(), digest_size=4).digest(), "little") >> 1


@lru_cache(maxsize=2)
def epoch_order(pictures, seed, epoch, reshuffle):
    """A new permutation each epoch, or, as in 2012, the store's own order every time."""
    return generator(seed, epoch, "order").permutation(pictures) if reshuffle else np.arange(pictures)


def steps(pictures, batch_size):
    """Every picture once an epoch. The last batch may be short; a few pictures left over join the one before, as the statistics
    that batch norm would take of them, and keep, mean nothing."""
    whole, rest = divmod(pictures, batch_size)
    return max(1, whole + (rest >= max(2, min(FEW, batch_size // 2))))


def size(pictures, batch_size, step):
    """How many pictures a step has."""
    return (pictures if step == steps(pictures, batch_size) - 1 else (step + 1) * batch_size) - step * batch_size


def batch(pictures, batch_size, *, seed, epoch, step, reshuffle=True):
    """The positions of this step's pictures."""
    last = step == steps(pictures, batch_size) - 1
    return epoch_order(pictures, seed, epoch, reshuffle)[step * batch_size : None if last else (step + 1) * batch_size]


def holdout(labels, share, seed):
    """Positions (kept, held out): a seeded split, the same share of every class, at least one picture of each held out."""
    random, kept, held = generator(seed, "holdout"), [], []
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(len(own) * share)), len(own) - 1) if len(own) > 1 else 0
        held.append(own[:count])
        kept.append(own[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held))
