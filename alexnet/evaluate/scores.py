"""Measures of what a network answered, on plain arrays: intervals, calibration and the one temperature that mends it, classes and
the pairs that are confused. Knows no networks and no stores; a row is a picture. Paper section 6 counts errors; this says how sure
the counts are."""

from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np

Z = 1.959964  # of a 95 % interval
BINS = 15  # of equal width, of the confidence in the first answer
COLDEST, HOTTEST = 0.01, 100.0  # temperatures that are searched
CLOSE = 1e-9  # relative, of the temperature
ROWS = 4096  # logits taken to float64 at a time


def wilson(error, count, z=Z):
    """The 95 % interval of a proportion that holds near 0 and 1 too."""
    if not count:
        return [0.0, 1.0]
    middle = error + z * z / (2 * count)
    spread = z * sqrt(max(error * (1 - error), 0) / count + z * z / (4 * count * count))
    return [max(0.0, (middle - spread) / (1 + z * z / count)), min(1.0, (middle + spread) / (1 + z * z / count))]


def mean_interval(values):
    """The 95 % interval of a mean, by the normal law: of many pictures."""
    if len(values) < 2:
        return [float("-inf"), float("inf")]
    values = np.asarray(values, np.float64)
    middle, wide = float(values.mean()), Z * float(values.std(ddof=1)) / sqrt(len(values))
    return [middle - wide, middle + wide]


def spread(values):
    """The standard deviation over a few models; of one there is none."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


# ---- calibration ---------------------------------------------------------------------------------------------------------


class Bins(NamedTuple):
    """Pictures by the confidence in their first answer, BINS of equal width; nan where a bin is empty."""

    pictures: np.ndarray
    confidence: np.ndarray  # mean
    right: np.ndarray  # share

    def error(self):
        """The expected calibration error: how far confidence and share of right answers lie apart, over all pictures."""
        gaps = np.nan_to_num(np.abs(self.right - self.confidence))
        return float((gaps * self.pictures).sum() / self.pictures.sum())


def bins(confidence, right):
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    if not np.isfinite(confidence).all():  # of a network that computes no numbers
        return Bins(np.full(BINS, np.nan), np.full(BINS, np.nan), np.full(BINS, np.nan))
    place = places(confidence)
    pictures = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return Bins(pictures, *(np.bincount(place, value, minlength=BINS) / pictures for value in (confidence, right)))


def places(confidence):
    return np.clip((confidence * BINS).astype(int), 0, BINS - 1)


def chance_error(confidence):
    """What the calibration error of so many pictures would be about, if every confidence were the truth: of each bin, the mean
    of |right - expected| by the normal law."""
    confidence = np.asarray(confidence, np.float64)
    if not np.isfinite(confidence).all():
        return float("nan")
    variance = np.bincount(places(confidence), confidence * (1 - confidence), minlength=BINS)
    return float(np.sqrt(2 / pi * np.clip(variance, 0, None)).sum() / len(confidence))


def fitted_temperature(logits, labels):
    """logits (N, classes), labels (N,) -> the temperature T of the smallest mean -log softmax(logits / T) of the labels. In 1 / T
    that mean is convex: Newton's steps in float64, and halving of what is left where they leave it or do not shrink fast."""
    low, high = log(1 / HOTTEST), log(1 / COLDEST)  # of log(1 / T)
    at, step = 0.0, high - low
    while abs(step) > CLOSE:
        slope, bend = slopes(logits, labels, exp(at))
        low, high = (low, at) if slope > 0 else (at, high)
        newton = -slope / bend / exp(at) if bend > 0 else high - low
        step = newton if low < at + newton < high and abs(newton) < abs(step) / 2 else (low + high) / 2 - at
        at += step
    return exp(-at)


def slopes(logits, labels, sharpness):
    """The first and second derivative by sharpness = 1 / T: mean over the pictures of E[z] - z of the label, and of Var[z]."""
    slope = bend = 0.0
    for first in range(0, len(labels), ROWS):
        rows, own = np.asarray(logits[first : first + ROWS], np.float64), labels[first : first + ROWS]
        rows = rows - rows.max(1, keepdims=True)
        weight = np.exp(sharpness * rows)
        weight /= weight.sum(1, keepdims=True)
        mean = (weight * rows).sum(1)
        slope += (mean - rows[np.arange(len(own)), own]).sum()
        bend += ((weight * rows * rows).sum(1) - mean**2).sum()
    return slope / len(labels), bend / len(labels)


def halves(count):
    """True for one half of the pictures, by a fixed hash of their place: the multiples of the golden ratio."""
    return (np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(63) == 1


# ---- classes -------------------------------------------------------------------------------------------------------------


def by_class(labels, first, five, classes):
    """first, five (N,): the credit among one and five places. -> an entry a class with its errors and their intervals, the worst
    first, of equals the one with more pictures; classes without pictures at the end."""
    pictures = np.bincount(labels, minlength=classes)
    right, among = (np.bincount(labels, credit, minlength=classes) for credit in (first, five))
    found = []
    for index, count in enumerate(pictures.tolist()):
        errors = [float(1 - credit[index] / count) if count else None for credit in (right, among)]
        intervals = [wilson(error, count) if count else None for error in errors]
        found.append({"index": index, "images": count, "top1_error": errors[0], "top1_interval": intervals[0],
                      "top5_error": errors[1], "top5_interval": intervals[1]})
    return sorted(found, key=lambda one: (not one["images"], -(one["top1_error"] or 0), -one["images"]))


def confused(labels, answers, classes, most=10):
    """The pairs of classes most often taken for each other, one way: [(true, answered, pictures), ...]."""
    wrong = labels != answers
    pairs, counts = np.unique(labels[wrong] * classes + answers[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(pairs[i] // classes), int(pairs[i] % classes), int(counts[i])) for i in order]
