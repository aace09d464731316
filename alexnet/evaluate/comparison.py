"""Is one network better than another, or is it chance? Two networks that answered the same pictures are compared picture by
picture (McNemar's test and paired intervals); two errors of which only rates are known, as two samples. Arrays and counts only."""

from math import comb, erfc, sqrt

import numpy as np

from alexnet.evaluate.scores import Z, mean_interval, wilson

LEVEL = 0.05
EXACT = 1000  # disagreements up to which the binomial sum is taken as it is


def compare(right, losses, *, names):
    """right (2, N) booleans, losses (2, N): the mean of the second minus the first is what a difference means throughout, so
    below zero the second is better."""
    (first, second), pictures = np.asarray(right, bool), len(right[0])
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = np.asarray(losses[1], np.float64) - losses[0]
    found = {"models": list(names), "images": pictures, "both_right": int((first & second).sum()), "only_first": only_first,
             "only_second": only_second, "both_wrong": int((~first & ~second).sum()), "p": mcnemar(only_first, only_second),
             "test": f"McNemar, {'exact' if only_first + only_second <= EXACT else 'with continuity correction'}",
             "top1_difference": (only_first - only_second) / pictures,
             "top1_difference_interval": paired(only_first, only_second, pictures),
             "smallest_difference": smallest(only_first + only_second, pictures),
             "log_loss_difference": float(apart.mean()), "log_loss_difference_interval": mean_interval(apart)}
    sure = found["p"] < LEVEL
    found["better"] = names[0 if only_first > only_second else 1] if sure else None
    return {**found, "verdict": verdict(found)}


def verdict(found):
    """What may be said, in a sentence or two."""
    pictures, chance = found["images"], f"p {as_p(found['p'])}"
    if found["better"] is not None:
        same = found["models"][0] == found["models"][1]
        first = found["top1_difference"] > 0
        name = ("the first" if first else "the second") if same else found["better"]
        low, high = sorted(abs(end) if found["top1_difference"] * end >= 0 else 0.0 for end in found["top1_difference_interval"])
        said = (f"{name} is better: {100 * abs(found['top1_difference']):.2f} points less top-1 error "
                f"({100 * low:.2f} to {100 * high:.2f}), {chance}")
    else:
        said = f"no difference in top-1 error that {pictures:,} pictures can show ({chance}); "
        if found["smallest_difference"] > 1:
            said += "so few could show none at all"
        else:
            said += f"the smallest they could, with as many disagreements, is about {100 * found['smallest_difference']:.2f} points"
    low, high = found["log_loss_difference_interval"]
    if low > 0 or high < 0:
        place = 0 if low > 0 else 1
        lower = found["models"][place]
        if found["models"][0] == found["models"][1]:
            lower = ("the first", "the second")[place]
        said += f"; the log loss of {lower} is lower beyond chance"
    return said + "."


def as_p(p):
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"


def mcnemar(one, other):
    """How likely disagreements at least so one-sided are, were each a fair coin: the two-sided p. Many are counted by the normal
    law with the correction for continuity."""
    both = one + other
    if both <= EXACT:
        return min(1.0, 2 * sum(comb(both, k) for k in range(min(one, other) + 1)) / 2**both)
    return erfc(max(abs(one - other) - 1, 0) / sqrt(2 * both))  # chi-squared of one degree, squared


def paired(only_first, only_second, pictures):
    """The 95 % interval of (only_first - only_second) / pictures, after Bonett and Price: a disagreement is added each way, so
    that it does not shrink to nothing where there are few."""
    one, other = (only_first + 1) / (pictures + 2), (only_second + 1) / (pictures + 2)
    wide = Z * sqrt((one + other - (one - other) ** 2) / (pictures + 2))
    return [max(-1.0, one - other - wide), min(1.0, one - other + wide)]


def smallest(disagreements, pictures):
    """The smallest difference of the errors that McNemar's test could call one, with so many disagreements; where even all of
    them on one side would be too few, the fewest that would do."""
    low, high = 0, disagreements // 2  # of the smaller side: as large as still is beyond chance
    if mcnemar(0, disagreements) >= LEVEL:
        fewest = next(count for count in range(1, 100) if mcnemar(0, count) < LEVEL)
        return fewest / pictures
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if mcnemar(middle, disagreements - middle) < LEVEL else (low, middle - 1)
    return (disagreements - 2 * low) / pictures


# ---- where only the rates are known --------------------------------------------------------------------------------------


def unpaired(first, second, pictures):
    """The 95 % interval of first - second, two error rates as if of two samples of so many pictures each: Newcombe's, from
    Wilson's intervals. For one set of pictures it is too wide where the two nets err on the same ones, as nets do."""
    (low, high), (below, above) = wilson(first, pictures), wilson(second, pictures)
    apart = first - second
    return [apart - sqrt((first - low) ** 2 + (above - second) ** 2), apart + sqrt((high - first) ** 2 + (second - below) ** 2)]


def most_disagreements(apart, pictures):
    """The largest share of pictures on which two nets may disagree (one right, the other wrong) for errors so far apart to be
    beyond chance by a paired interval: z sqrt((share - apart^2) / pictures) = apart."""
    return apart**2 * (1 + pictures / Z**2)


def independent(first, second):
    """The share of disagreements of two nets of these errors that err independently of each other: an upper bound for nets,
    which find the same pictures hard."""
    return first * (1 - second) + second * (1 - first)
