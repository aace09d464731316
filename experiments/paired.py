"""Is one kind of net better than another, or is it chance? Both answered the same pictures, each trained from several seeds: the
mean difference a picture, its 95 % interval over pictures and seeds, and the smallest effect that so many of both can resolve, said
before the second kind is trained. Arrays only: (seeds, pictures) of log losses, or of 1 where the first answer was wrong."""

from math import exp, lgamma, sqrt

import numpy as np
from scipy.stats import mannwhitneyu
from scipy.stats import t as student

LEVEL, POWER = 0.05, 0.8  # an effect of the smallest size is found so often


def difference(control, other, *, same_runs=False, fixed=False):
    """The mean of other minus control: below zero, the other is better. Pictures and the seeds of both arms are three samples,
    whose variances are added (Welch and Satterthwaite); that a seed does well on one picture and badly on the next is in the
    pictures' sample and in its arm's, and is taken off once. same_runs: a row of one is a row of the other, so seeds are paired
    too. fixed: the other is one thing that chance had no part in, so only the control has seeds."""
    control, other = (np.asarray(one, np.float64) for one in (control, other))
    apart = [other - control] if same_runs else [control, other][: 1 if fixed else 2]  # what chance in training moves
    samples = [other.mean(0) - control.mean(0), *(one.mean(1) for one in apart)]
    known = all(len(one) > 1 for one in samples[1:])
    error, freedom = standard_error([one for one in samples if len(one) > 1], twice=sum(map(interaction, apart)) if known else 0.0)
    middle, wide = float(samples[0].mean()), error * float(student.ppf(1 - LEVEL / 2, freedom))
    found = {"difference": middle, "interval": [middle - wide, middle + wide], "pictures": int(control.shape[1]),
             "seeds": [len(control), len(other)], "smallest": error * reach(freedom),
             "over": "pictures and seeds" if known else "pictures"}
    return {**found, "resolved": known and (found["interval"][0] > 0 or found["interval"][1] < 0)}


def standard_error(samples, *, twice=0.0):
    """Of the sum of the samples' means -> (standard error, degrees of freedom). twice: a variance that two of the samples have in
    common; what the first sample shows by itself stays."""
    parts = [(one.var(ddof=1) / len(one), len(one) - 1) for one in samples]
    total = sum(part for part, _ in parts)
    if total <= 0:
        return 0.0, 1.0
    return sqrt(max(total - twice, parts[0][0])), total**2 / sum(part**2 / freedom for part, freedom in parts)


def interaction(one):
    """The variance that an arm's mean owes to seeds which do better on some pictures than on others: what is left of a table
    (seeds, pictures) without its rows' and columns' means."""
    left = one - one.mean(0) - one.mean(1, keepdims=True) + one.mean()
    return float((left**2).sum()) / ((len(one) - 1) * (one.shape[1] - 1)) / one.size


def reach(freedom):
    """How many standard errors an effect must have to be found at LEVEL with POWER."""
    return float(student.ppf(1 - LEVEL / 2, freedom) + student.ppf(POWER, freedom))


def beforehand(control, *, seeds=None):
    """The smallest effect that an arm of as many seeds will resolve against this control, from the control alone: two arms are
    taken to differ on a picture as two seeds of it do, and to vary over seeds as it does. None where there is one seed."""
    control = np.asarray(control, np.float64)
    seeds = seeds or len(control)
    if len(control) < 2:
        return None
    pairs = [control[a] - control[b] for a in range(len(control)) for b in range(a)]
    pictures = float(np.mean([pair.var(ddof=1) for pair in pairs])) / control.shape[1]
    few = len(control) - 1
    low = sqrt(2 / few) * exp(lgamma((few + 1) / 2) - lgamma(few / 2))  # a spread of few is on average so much too small
    runs = float(control.mean(1).var(ddof=1)) / low**2 * (1 / len(control) + 1 / seeds)  # known from the control only
    total = pictures + runs
    if total <= 0:
        return 0.0
    return sqrt(total) * reach(total**2 / (pictures**2 / (control.shape[1] - 1) + runs**2 / few))


def verdict(found, one="seed"):
    if found["over"] == "pictures":
        return f"not resolved: one {one}"
    return "resolved" if found["resolved"] else "not resolved"


def ratio(control, other):
    """How many times as much the other takes, of positive numbers a seed: the ratio of geometric means, its interval over seeds.
    Where a number was not reached (infinite) there is no ratio: then only the ranks can tell (Mann and Whitney)."""
    control, other = (np.asarray(one, np.float64) for one in (control, other))
    finite = [one[np.isfinite(one)] for one in (control, other)]
    p = float(mannwhitneyu(control, other).pvalue)
    found = {"seeds": [len(control), len(other)], "reached": [len(one) for one in finite], "p": p}
    if any(len(one) < len(all) for one, all in zip(finite, (control, other))) or min(map(len, finite)) < 2:
        return {**found, "ratio": None, "interval": None, "resolved": p < LEVEL}
    logs = [np.log(one) for one in finite]
    error, freedom = standard_error(logs)
    middle, wide = logs[1].mean() - logs[0].mean(), error * float(student.ppf(1 - LEVEL / 2, freedom))
    interval = [exp(middle - wide), exp(middle + wide)]
    return {**found, "ratio": exp(middle), "interval": interval, "resolved": not interval[0] <= 1 <= interval[1],
            "smallest": exp(error * reach(freedom)) if error else 1.0}


def crossing(lines, error, *, key, at_start):
    """Where a falling curve first reaches the error, straight between the epochs: `lines` are the epochs of a log, key what is
    counted (epoch, seconds), at_start the error before any training. Infinite where it never does."""
    before, place = at_start, 0.0
    for line in lines:
        now = line["val_top1_error"]
        if now <= error:
            share = (before - error) / (before - now) if before > now else 1.0
            return place + share * (line[key] - place)
        before, place = now, line[key]
    return float("inf")


def signed(value, digits=3):
    return "-" if value is None else f"{value:+.{digits}f}"
