"""A linear SVM a class against the rest, squared hinge loss, all classes and strengths at once and the pictures a block at a time,
since the features of 85,000 do not fit into memory as liblinear wants them. The same objective as scikit-learn's LinearSVC, biases
held back with the weights. Each is a problem of its own to L-BFGS, and as scores are linear in the weights, the best step
along its direction is found without looking at a feature again."""

from typing import NamedTuple

import numpy as np
import torch

BLOCK, KEPT = 2048, 8  # pictures; moves that L-BFGS remembers
ENOUGH = 1e-3  # of the first gradient
LEAST = 1e-4  # the cosine between a move and what it changes in the gradient, below which it is rounding


class Machine(NamedTuple):
    weight: torch.Tensor  # (classes, units), of features as they are
    bias: torch.Tensor  # (classes,)

    def scores(self, features):
        return torch.cat([part @ self.weight.T + self.bias for part, _ in blocks(features, self.weight.device)]).cpu().numpy()


def blocks(features, device):
    for first in range(0, len(features), BLOCK):
        rows = torch.from_numpy(np.array(features[first : first + BLOCK])).to(device).float()  # torch turns halves the quicker
        yield rows, slice(first, first + len(rows))


@torch.inference_mode()
def moments(features, device, *, standardise):
    """The mean and spread that features are taken off and divided by; 0 and 1 where they are left as they are."""
    units = features.shape[1]
    if not standardise:
        return torch.zeros(units, device=device), torch.ones(units, device=device)
    first, second = torch.zeros(2, units, dtype=torch.float64, device=device)
    for rows, _ in blocks(features, device):
        first += rows.double().sum(0)
        second += rows.double().square().sum(0)
    mean = first / len(features)
    return mean.float(), (second / len(features) - mean**2).clamp(min=0).add(0.01).sqrt().float()


@torch.inference_mode()
def fit(features, labels, classes, *, strengths, standardise=False, steps=60, device="cpu", tell=lambda: None):
    """|w|^2 / 2 + strength x the sum over pictures and classes of max(0, 1 -+ score)^2. -> a Machine a strength"""
    mean, spread = moments(features, device, standardise=standardise)
    count, units = features.shape
    labels = torch.from_numpy(np.asarray(labels, np.int64)).to(device)
    sign = torch.full((count, classes), -1.0, device=device).scatter_(1, labels[:, None], 1.0).repeat(1, len(strengths))
    decay = (1 / (count * torch.tensor(strengths, device=device))).repeat_interleave(classes)[:, None]

    def plain(weight):
        """Weights of standardised features and of 1, as weights of features as they are, and biases."""
        narrow = weight[:, :-1] / spread
        return narrow, weight[:, -1] - narrow @ mean

    def forward(weight):
        narrow, bias = plain(weight)
        return torch.cat([rows @ narrow.T + bias for rows, _ in blocks(features, device)])

    def gradient(weight, scores):
        slope = -2 / count * sign * (1 - sign * scores).clamp(min=0)
        total, found = slope.sum(0)[:, None], torch.zeros(len(weight), units, device=device)
        for rows, place in blocks(features, device):
            found += slope[place].T @ rows
        return torch.cat([(found - total * mean) / spread, total], 1) + decay * weight

    weight = torch.zeros(len(decay), units + 1, device=device)
    scores = torch.zeros(count, len(decay), device=device)
    slope, moves = gradient(weight, scores), []
    first = slope.norm(dim=1)
    for _ in range(steps):
        open_ = slope.norm(dim=1, keepdim=True) > ENOUGH * first[:, None]
        if not open_.any():
            break
        way = -inverse(slope, moves) * open_  # who is there stays
        ahead = forward(way)
        step = along(scores, ahead, sign, weight, way, decay)
        weight, scores = weight + step[:, None] * way, scores + step * ahead
        new = gradient(weight, scores)
        moved, change = step[:, None] * way, new - slope
        bent = dot(moved, change) > LEAST * moved.norm(dim=1, keepdim=True) * change.norm(dim=1, keepdim=True)
        moves, slope = [*moves, (moved * bent, change * bent)][-KEPT:], new  # what is only rounding says nothing of the curvature
        tell()
    narrow, bias = plain(weight)
    return [Machine(*pair) for pair in zip(narrow.split(classes), bias.split(classes))]


def inverse(slope, moves):
    """What L-BFGS takes for the inverse of the curvature, times the gradient: a row a problem."""
    found, shares = slope, []
    for moved, change in reversed(moves):
        size = dot(moved, change).clamp(min=1e-20)
        share = dot(moved, found) / size
        found = found - share * change
        shares.append((share, size))
    if moves:
        moved, change = moves[-1]
        found = found * torch.where(dot(change, change) > 0, dot(moved, change) / dot(change, change).clamp(min=1e-30), 1.0)
    for (moved, change), (share, size) in zip(moves, reversed(shares)):
        found = found + (share - dot(change, found) / size) * moved
    return found


def dot(one, other):
    return (one * other).sum(1, keepdim=True)


def along(scores, ahead, sign, weight, way, decay, steps=8):
    """How far down its way each problem is lowest: Newton's steps on a parabola in pieces."""
    far, flat, curved = torch.zeros(len(way), device=way.device), *((decay * dot(one, way))[:, 0] for one in (weight, way))
    for _ in range(steps):
        slack = (1 - sign * (scores + far * ahead)).clamp(min=0)
        down = flat + far * curved - 2 / len(scores) * (sign * slack * ahead).sum(0)
        bent = curved + 2 / len(scores) * ((slack > 0) * ahead**2).sum(0)
        far = far - down / bent.clamp(min=1e-20)
    return far
