"""The paper's own arithmetic: how far chance in the test pictures could move the errors of its Tables 1 and 2, and which of the
differences that its text builds on are larger than that. No pictures and no network are needed, only the printed rates and the
sizes of the sets.

    python -m experiments.intervals [--json] [--results FOLDER]

Every error is a share of a known number of pictures: its 95 % interval is Wilson's. A difference of two nets measured on the same
pictures lies, at worst, within the interval of two samples (Newcombe), which is too wide: nets fail on the same pictures. How much
narrower a picture-by-picture test would be depends on how many pictures only one of the two had right, which the paper does not
say; so three answers stand side by side: the interval of two samples, that at an assumed share of such pictures (half of what
independent failures would give), and the largest share at which the difference would still be beyond chance. Each difference is
between one net and one other: what another seed would have done is in none of these.
"""

import argparse
import json
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from alexnet.evaluate.comparison import independent, most_disagreements, paired, unpaired
from alexnet.evaluate.scores import wilson
from alexnet.rundir import replace_file

TEST_2010, VAL_2012, TEST_2012 = 150_000, 50_000, 100_000
TABLES = (  # table, model, set, pictures, top-1, top-5: fractions as printed
    (1, "sparse coding", "2010 test", TEST_2010, 0.471, 0.282),
    (1, "SIFT + FVs", "2010 test", TEST_2010, 0.457, 0.257),
    (1, "CNN", "2010 test", TEST_2010, 0.375, 0.170),
    (2, "SIFT + FVs", "2012 test", TEST_2012, None, 0.262),
    (2, "1 CNN", "2012 val", VAL_2012, 0.407, 0.182),
    (2, "5 CNNs", "2012 val", VAL_2012, 0.381, 0.164),
    (2, "5 CNNs", "2012 test", TEST_2012, None, 0.164),
    (2, "1 CNN*", "2012 val", VAL_2012, 0.390, 0.166),
    (2, "7 CNNs*", "2012 val", VAL_2012, 0.367, 0.154),
    (2, "7 CNNs*", "2012 test", TEST_2012, None, 0.153),
)
CLAIMS = (  # section, what, set, pictures, the better net's top-1 and top-5, how much worse the other is (unrounded: the notebook)
    ("3.2", "two columns, against one of half the maps", "2010 test", TEST_2010, (0.374727, 0.169987), (0.0170, 0.0123)),
    ("3.3", "response normalisation, against none", "2012 val", VAL_2012, (0.406640, 0.182100), (0.0137, 0.0115)),
    ("3.4", "overlapping pools, against 2 x 2", "2012 val", VAL_2012, (0.406640, 0.182100), (0.0039, 0.0030)),
    ("6", "ten views, against one", "2010 test", TEST_2010, (0.374727, 0.169987), (0.01552, 0.012966)),
    ("4.1", "colour noise, against none (\"over 1 %\")", "2012 val", VAL_2012, (0.406640, None), (0.01, None)),
    ("6", "five CNNs, against one", "2012 val", VAL_2012, (0.381, 0.164), (0.026, 0.018)),
    ("6", "CNN*, against CNN", "2012 val", VAL_2012, (0.390, 0.166), (0.017, 0.016)),
)
ASSUMED = 0.5  # of the disagreements of nets that fail independently
ALIKE = {"nets": ("#169", "#170", "#171", "#174"),
         "top1": (0.4060, 0.4053, 0.4042, 0.4044), "top5": (0.1811, 0.1805, 0.1814, 0.1804)}
STUDENT = 3.182  # 97.5 % point of Student's t with three degrees of freedom


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of paper-intervals.json")
    asked = parser.parse_args(words)
    found = result()
    asked.results.mkdir(parents=True, exist_ok=True)
    replace_file(asked.results / "paper-intervals.json", (json.dumps(found, indent=1) + "\n").encode())
    print(json.dumps(found) if asked.json else as_text(found))


def result():
    return {"claim": "95 % intervals of the paper's errors, from rate and set size; which differences exceed chance of pictures",
            "command": "python -m experiments.intervals", "machine": "none: arithmetic on printed rates", "runs": 1,
            "intervals": "Wilson; two samples: Newcombe; paired: Bonett and Price", "assumed_share": ASSUMED,
            "tables": [row(*line) for line in TABLES],
            "differences": [one for line in CLAIMS for one in differences(*line)], "alike": alike(), "not_covered": [
                "one net each: another seed, order or machine would move every error, and the paper says nothing of how far",
                "choices made on the pictures that are reported: the rates were lowered by hand while watching a validation error",
                "pictures that are alike, which make a set smaller than its count",
                "the set of the colour claim is not stated, nor the errors: 2012 val and net #145's error are taken"]}


def row(table, model, where, pictures, top1, top5):
    return {"table": table, "model": model, "set": where, "images": pictures, "top1_error": top1, "top5_error": top5,
            "top1_interval": None if top1 is None else wilson(top1, pictures), "top5_interval": wilson(top5, pictures)}


def differences(section, what, where, pictures, errors, apart):
    for places, better, gap in zip((1, 5), errors, apart):
        if better is None:
            continue
        worse = better + gap
        apart_at_random = independent(better, worse)
        share = max(ASSUMED * apart_at_random, gap)
        only_better = pictures * (share + gap) / 2
        two, same = unpaired(worse, better, pictures), paired(only_better, only_better - pictures * gap, pictures)
        most = most_disagreements(gap, pictures)
        yield {"section": section, "what": what, "set": where, "images": pictures, "places": places, "difference": gap,
               "two_samples_interval": two, "beyond_two_samples": two[0] > 0,
               "assumed_disagreement": share, "paired_interval": same, "beyond_paired": same[0] > 0,
               "most_disagreement": min(most, 1.0), "independent_disagreement": apart_at_random}


def alike():
    """Four runs of the notebook on one layout with four like schedules: no repeated seeds, but the nearest that is known. What two
    single runs of such a spread differ by, 95 %: t with three degrees of freedom times the root of 2."""
    found = {"nets": list(ALIKE["nets"]), "what": "like schedules on one layout, one run each, 2012 val, ten views: an orientation"}
    for key in ("top1", "top5"):
        spread = stdev(ALIKE[key])
        found |= {f"mean_{key}_error": mean(ALIKE[key]), f"spread_{key}_error": spread,
                  f"two_runs_{key}": STUDENT * sqrt(2) * spread}
    return found


# ---- the tables in print ----------------------------------------------------------------------------------------------


def as_text(found):
    lines = [f"{'table':<7}{'model':<15}{'set':<11}{'pictures':>8}{'top-1':>8}  {'95 % interval':<16}{'top-5':>6}  95 % interval"]
    for one in found["tables"]:
        lines.append(f"{one['table']:<7}{one['model']:<15}{one['set']:<11}{one['images']:>8,}{points(one['top1_error'], 1):>8}  "
                     f"{within(one['top1_interval']):<16}{points(one['top5_error'], 1):>6}  {within(one['top5_interval'])}")
    lines += ["", "Differences in points. A share is of pictures that only one of the two nets has right.",
              f"{'section':<9}{'what':<44}{'places':>6}{'points':>8}  {'two samples':<16}{'paired at a share of':<29}most share"]
    for one in found["differences"]:
        paired_at = f"{within(one['paired_interval'])} at {100 * one['assumed_disagreement']:.0f} %"
        lines.append(f"{one['section']:<9}{one['what']:<44}{one['places']:>6}{points(one['difference']):>8}  "
                     f"{within(one['two_samples_interval']):<16}{paired_at:<29}{100 * one['most_disagreement']:>8.0f} %   "
                     + verdict(one))
    near = found["alike"]
    lines += ["", f"Assumed share: {found['assumed_share']:g} of that of nets that fail independently. "
              "Most share: the largest at which the difference is still beyond chance.",
              f"Seeds: unknown. Four like runs of the notebook ({', '.join(near['nets'])}) scatter by "
              f"{points(near['spread_top1_error'])} / {points(near['spread_top5_error'])} points (standard deviation): two single "
              f"runs may then differ by {points(near['two_runs_top1'])} / {points(near['two_runs_top5'])} for no reason at all.",
              "Not covered:", *(f"  {line}" for line in found["not_covered"])]
    return "\n".join(lines)


def verdict(one):
    if one["beyond_two_samples"]:
        return "beyond chance even as two samples"
    if one["most_disagreement"] >= one["independent_disagreement"]:
        return "beyond chance even if the nets failed independently"
    return f"beyond chance if {'(as assumed) ' if one['beyond_paired'] else ''}the share is below that"


def points(share, digits=2):
    return "-" if share is None else f"{100 * share:.{digits}f}"


def within(interval):
    return "-" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


if __name__ == "__main__":
    main()
