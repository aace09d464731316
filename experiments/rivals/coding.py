"""Dictionaries and codes: a picture's parts in terms of learnt words, then pooled over the regions of a spatial pyramid. k-means
with hard or triangle codes follows Coates, Lee and Ng (2011); sparse coding with largest values over a pyramid is Yang and others'
(2009), the family of the winners of 2010. A dictionary is the centres of k-means in every case (Coates and Ng, 2011: it matters
little)."""

import numpy as np
import torch

from experiments.rivals import descriptors

STEPS = 40  # of the iterative shrinkage
AT_ONCE = {"cpu": 2**12, "cuda": 2**16}  # parts that are coded together: what a cache holds


def learn(pictures, *, kind, words, count, random, whiten, describe, device="cpu", **_):
    """-> arrays: the whitening and the words."""
    table = descriptors.sampled(pictures, kind, count=count, random=random, **describe)
    mean, matrix = whitening(table) if whiten else (np.zeros(table.shape[1]), np.eye(table.shape[1]))
    table = ((table - mean) @ matrix).astype(np.float32)
    return {"mean": mean, "matrix": matrix, "words": centres(table, words, random=random, device=device)}


@torch.inference_mode()
def centres(table, count, *, random, device="cpu", steps=50):
    """k-means: rows that are drawn, each moved to the middle of those that it is nearest to; one nearest to none is drawn anew."""
    table = torch.from_numpy(table).to(device)

    def drawn(few):
        return table[torch.from_numpy(random.choice(len(table), few, replace=False)).to(device)]

    found = drawn(count)
    for step in range(steps):
        sums, sizes = torch.zeros_like(found), torch.zeros(count, device=device)
        for part in table.split(2**14):
            nearest = distances(part, found).argmin(1)
            sums.index_add_(0, nearest, part)
            sizes += torch.bincount(nearest, minlength=count)
        found = sums / sizes.clamp(min=1)[:, None]
        if empty := int((sizes == 0).sum()) * (step < steps - 1):
            found[sizes == 0] = drawn(empty)
    return found.cpu().numpy()


def whitening(table, floor=0.1):
    """ZCA: unit variance along every direction, and still pixels."""
    mean = table.mean(0)
    values, vectors = np.linalg.eigh(np.cov(table - mean, rowvar=False))
    return mean, vectors @ np.diag(1 / np.sqrt(np.maximum(values, 0) + floor)) @ vectors.T


@torch.inference_mode()
def encode(arrays, pictures, *, kind, code, pool, regions, describe, device, penalty=0.15, **_):
    """-> float32 (N, regions x codes)"""
    table = descriptors.described(pictures, kind, **describe)
    count, places, units = table.shape
    mean, matrix, words = (torch.from_numpy(np.asarray(arrays[key], np.float32)).to(device) for key in ("mean", "matrix", "words"))
    mask = torch.from_numpy(descriptors.masks(descriptors.where(pictures.shape[1], kind, **describe), regions)).to(device)
    found, together = [], max(1, AT_ONCE.get(torch.device(device).type, 2**12) // places)
    for first in range(0, count, together):
        part = torch.from_numpy(table[first : first + together]).to(device)
        part = (part.reshape(-1, units) - mean) @ matrix
        codes = CODES[code](part, words, **({"penalty": penalty} if code == "sparse" else {}))
        found.append(pooled(codes.reshape(-1, places, codes.shape[1]), mask, pool))
    return torch.cat(found)


def hard(parts, words):
    return torch.nn.functional.one_hot(distances(parts, words).argmin(1), len(words)).float()


def triangle(parts, words):
    """How much nearer than the mean word a word is; 0 where it is further."""
    away = distances(parts, words).clamp(min=0).sqrt()
    return (away.mean(1, keepdim=True) - away).clamp(min=0)


def distances(parts, words):
    return (parts**2).sum(1, keepdim=True) - 2 * parts @ words.T + (words**2).sum(1)


def sparse(parts, words, *, penalty):
    """min over z of |x - z W|^2 / 2 + penalty |z|, words of unit length, by accelerated shrinkage; what is positive and what is
    negative as codes of their own."""
    z = lasso(parts, words / words.norm(dim=1, keepdim=True).clamp(min=1e-8), penalty=penalty)
    return torch.cat([z.clamp(min=0), (-z).clamp(min=0)], 1)


def lasso(parts, words, *, penalty, steps=STEPS):
    among, seen = words @ words.T, parts @ words.T
    rate = 1 / float(torch.linalg.matrix_norm(among, 2))
    seen, along = rate * seen, torch.eye(len(words), device=words.device) - rate * among
    z = ahead = torch.zeros_like(seen)
    pace = 1.0
    for _ in range(steps):
        new = torch.nn.functional.softshrink(torch.addmm(seen, ahead, along), rate * penalty)
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead, z, pace = torch.lerp(z, new, 1 + (pace - 1) / faster), new, faster  # beyond the new by a share of the last move
    return z


CODES = {"hard": hard, "triangle": triangle, "sparse": sparse}


def pooled(codes, mask, by):
    """codes (N, places, K), mask (regions, places) -> (N, regions x K); of largest values, a picture's length is 1."""
    if by == "sum":
        return torch.einsum("npk,rp->nrk", codes, mask.float()).flatten(1)
    most = torch.stack([codes[:, region].amax(1) for region in mask], 1).flatten(1)
    return most / most.norm(dim=1, keepdim=True).clamp(min=1e-8)
