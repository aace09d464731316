"""Claim 12, Table 1's rivals on the pictures that our nets see: SIFT and Fisher vectors, sparse coding over a spatial pyramid, each
with a linear SVM. First `--validate` on CIFAR-10 against a published figure, then on Tiny-ImageNet; chosen on `tune`, reported on
`claims`, with time and memory beside the error; what validates is also taught by all three and measured on `test`, as was
published. Pictures of 64 pixels handicap SIFT, which was made for several hundred. Beside each stands,
picture by picture, the net of 2012 for such pictures, taught on the same ones; or `--model`, one of yours.

    python -m experiments.rivals CIFAR_STORE OUT --validate [--systems "triangle k-means" ...]
    python -m experiments.rivals STORE OUT --scale cpu    # goes on where it stopped
"""

import argparse
import json
import os
import resource
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from alexnet import weights
from alexnet.cli import keep_memory
from alexnet.data.feed import Feed
from alexnet.data.order import generator
from alexnet.data.store import open_split, splits
from alexnet.device import pick
from alexnet.errors import Misused, Refused, nearest
from alexnet.evaluate.passes import Member, watch
from alexnet.evaluate.scores import wilson
from alexnet.progress import Progress, say
from alexnet.rows import Rows
from alexnet.rundir import environment, replace_file
from experiments.arms import Arm, Size, Work, last, stop_after
from experiments.paired import difference, verdict
from experiments.rivals import coding, fisher, linear
from experiments.rivals.descriptors import cells
from experiments.subsets import WANTED

PATCHES = {"kind": "patches", "whiten": True, "describe": {"patch": 6, "stride": 1}, "regions": cells((2, 2)), "pool": "sum"}
DENSE = {"zoom": 2, "stride": 8, "sizes": (16, 24, 32)}  # in the enlarged picture
STANDARD = {"standardise": True, "strengths": (0.0004, 0.002, 0.01, 0.05, 0.2)}  # strength: of a picture's loss against |w|^2 / 2
UNIT = {"standardise": False, "strengths": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)}  # of features whose length is 1
SYSTEMS = {  # name -> (room, its settings, the SVM's, what is tried)
    "triangle k-means": (coding, {**PATCHES, "code": "triangle"}, STANDARD, ({},)),
    "hard k-means": (coding, {**PATCHES, "code": "hard"}, STANDARD, ({},)),
    "sparse coding of patches": (coding, {**PATCHES, "code": "sparse"}, STANDARD, ({"penalty": 0.5}, {"penalty": 1.0})),
    "SIFT, sparse coding, pyramid": (coding, {"kind": "sift", "whiten": False, "describe": DENSE, "code": "sparse", "pool": "max",
                                              "regions": cells((1, 1), (2, 2), (4, 4))}, UNIT,
                                     ({"penalty": 0.15}, {"penalty": 0.3})),
    "SIFT and colour, Fisher vectors": (fisher, {"kinds": ("sift", "colours"), "describe": DENSE, "regions": cells((1, 1), (1, 3))},
                                        UNIT, ({}, {"describe": {**DENSE, "zoom": 3}})),
}
RIVALS = list(SYSTEMS)[3:]
VALIDATED = {"toy": list(SYSTEMS)[:3], "cpu": list(SYSTEMS)[:2], "gpu": list(SYSTEMS)[:3]}  # the third takes a second a picture
HANDICAP = "SIFT was made for pictures of several hundred pixels; here they have 64, enlarged twice or three times"
VALID = {"toy": {}, **dict.fromkeys(("cpu", "gpu"), {"classes": None, "coding": 1600, "count": 400_000})}  # as published
PUBLISHED = {  # CIFAR-10's own test pictures, all 50,000 to learn from, errors
    "triangle k-means": {1600: 0.221, 4000: 0.204}, "hard k-means": {1600: 0.314},
    "source": "Coates, Lee, Ng: An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011, Table 1 "
              "(1,600 and 4,000 words, patches of 6, stride 1, whitened); for the other systems none was found for CIFAR-10",
}
NETS = {  # the net beside them, at each scale
    "toy": Size("toy32", trials=1, batch_size=32, more={"clean": 32}),
    "cpu": Size("tiny64", epochs=36, trials=3, seeds=3),
    "gpu": Size("small64", epochs=36, trials=3, seeds=3, batch_size=128),
}
SCALES = {  # coding, fisher: centres and Gaussians, learnt from `count` parts; steps: of L-BFGS at most; tries: variants
    "toy": {"coding": 8, "fisher": 2, "count": 500, "steps": 5, "tries": 1, "classes": None},
    "cpu": {"coding": 400, "fisher": 32, "count": 100_000, "steps": 150, "tries": 1, "classes": 20},  # as the other claims
    "gpu": {"coding": 1600, "fisher": 128, "count": 400_000, "steps": 200, "tries": 2, "classes": None},
}
PAPER = {"SIFT, sparse coding, pyramid": "+9.6 points (47.1 against 37.5 %)",
         "SIFT and colour, Fisher vectors": "+8.2 points (45.7 against 37.5 %)"}
AT_ONCE, TEST = 64, "test"  # pictures; CIFAR-10's own


def measure(store, out, *, scale="cpu", validate=False, systems=None, model=None, minutes=None, **changes):
    """changes: of the scale (classes, a_class, coding, fisher). minutes: leave once so many are over; the same call goes on. -> an
    entry a system, kept in OUT/rivals-SCALE.json as soon as it is there, and a row each beside the net."""
    out, changes = Path(out), {key: value for key, value in changes.items() if value}
    stop_after(minutes)
    settings = {**SCALES[scale], **(VALID[scale] if validate else {}), **changes}
    for name in systems or ():
        if name not in SYSTEMS:
            raise Misused(f"there is no rival {name!r}: {nearest(name, SYSTEMS)}")
    words = "".join(f" --{key.replace('_', '-')} {value}" for key, value in changes.items()) + " --model MODEL" * bool(model)
    words += " --systems" * bool(systems) + "".join(f' "{name}"' for name in systems or ())
    few = f"{Path(store).name}-{settings['classes'] or 'all'}-{settings.get('a_class') or 'all'}"
    size = replace(NETS["toy" if validate else scale], classes=settings["classes"], a_class=settings.get("a_class"))
    work = Work([store], out, scale=scale, size=size)
    some = work.store
    found = {"claim": 12, "sentence": "features made by hand are far behind the net, on the same pictures", "scale": scale,
             "command": f"python -m experiments.rivals STORE OUT --scale {scale}{' --validate' * validate}{words}",
             "environment": environment(pick("auto"), command=""), "settings": settings, "finished": False,
             "data": {**work.described(), "fingerprint": open_split(some, "train").fingerprint},
             **({"published": PUBLISHED, "said": []} if validate else {"said": [HANDICAP]}), "systems": [], "rows": []}
    if not validate:
        found["net"], its = beside(model, some) if model else taught(work)
        found["said"].append(told(found["net"]))
    chosen = systems or (VALIDATED[scale] if validate else RIVALS)
    test = open_split(store, TEST) if validate and TEST in splits(store) else None
    for name in chosen:
        entry, wrong = one(name, some, out / "rivals" / few, settings, test)
        found["systems"].append(entry)
        found["said"].append(told(entry))
        found["rows"] += [] if validate else [row(name, wrong, found["net"], its, found["data"]["classes"])]
        found |= {"seconds": round(sum(one["seconds"] for one in found["systems"]), 1), "finished": name == chosen[-1]}
        replace_file(out / f"rivals-{'cifar10' if validate else scale}.json", (json.dumps(found, indent=1) + "\n").encode())
    return found


def taught(work):
    """The net of 2012 for such pictures, at the best of several rates on tune. -> (its facts, where each seed is wrong)"""
    runs = work.runs(Arm("the net", work.size.row))
    facts, wrong = zip(*(beside(last(folder), work.store) for folder in runs.folders))
    each = [one["top1_error"] for one in facts]
    return {**facts[0], "top1_error": float(np.mean(each)), "each": each, "epochs": runs.lines[0]["epoch"], "chosen": runs.fields,
            "trials": runs.trials, "seconds": runs.lines[0]["seconds"], "seconds_of_trials": sum(work.spent.values())
            }, np.concatenate(wrong)


def beside(model, store):
    """-> (its facts, where it is wrong on claims, (1, pictures))"""
    net, mean, card = weights.read(model)
    part, member = open_split(store, "claims"), Member(net, mean, device=pick("auto"))
    weights.same_classes(card, part, model)
    with Progress("looking at claims", len(part)) as bar:
        seen, = watch([member], Feed(part, device=member.device), [[1.0]], tell=bar.advance)
    same = card["data"].get("fingerprint") == open_split(store, "train").fingerprint
    error = 1 - float(seen.first.mean())
    return {"name": card["net"], "taught_by_the_same": same, "parameters": sum(one.numel() for one in net.parameters()),
            "images": len(part), "top1_error": error, "top1_interval": wilson(error, len(part)),
            "peak_bytes": peak()}, (seen.first < 1)[None]


def told(entry):
    """The error with what it cost, for the table."""
    took = f", {entry['seconds'] / 60:.0f} minutes" if "seconds" in entry else ""
    seeds = f", mean of {len(entry['each'])} seeds" if len(entry.get("each", ())) > 1 else ""
    found = (f"{entry.get('system') or entry['name']}{seeds}: {entry['top1_error']:.1%} of {entry['images']:,} wrong{took}, "
             f"{entry['peak_bytes'] / 1e9:.1f} GB at most so far")
    if other := entry.get("as_published"):
        found += f"; taught by {other['trained_on']:,}, {other['top1_error']:.1%} of the {other['images']:,} of {TEST} wrong"
        if known := PUBLISHED.get(entry["system"], {}).get(entry["words"]):
            found += f" ({known:.1%} was published)"
    return found


def peak():
    """Of this process, from its beginning."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def row(name, wrong, net, its, classes):
    """For the table: the rival's error minus the net's, over pictures and the net's seeds; the rival is one run."""
    found = difference(its, wrong[None], fixed=True)
    note = "" if net["taught_by_the_same"] else ", which learnt from other pictures"
    return {"what": f"{name}, against {net['name']}{note}", "paper": PAPER.get(name, ""), "unit": "of the pictures",
            "difference": found["difference"], "interval": found["interval"], "top1_difference": found["difference"],
            "top1_interval": found["interval"], "pictures": len(wrong), "seeds": [len(its), 1], "split": "claims",
            "classes": classes, "verdict": verdict(found)}


def one(name, store, folder, settings, test=None):
    """Every variant of a system with every strength; the best on tune, and what it makes of claims. test: a split; then the best is
    taught by every other picture too and measured there."""
    room, fields, svm, variants = SYSTEMS[name]
    tried, device, wrong, seconds, made = [], pick("auto"), [], 0.0, []
    parts = {part: open_split(store, part) for part in WANTED} | ({TEST: test} if test else {})
    labels, classes = {part: split.labels for part, split in parts.items()}, len(parts["train"].classes)
    for number, variant in enumerate(variants[: settings["tries"]]):
        words = settings[room.__name__.rpartition(".")[2]]
        chosen = {**fields, **variant, "words": words, "count": settings["count"], "device": device}
        key = f"{name.replace(', ', '-').replace(' ', '-')}-{number}-{words}"
        tables, spent = encoded(room, chosen, parts, folder / key)
        seconds += spent["seconds_of_words"] + spent["seconds_of_features"]
        started = time.monotonic()
        with Progress(f"{name}: SVM", settings["steps"], unit="steps") as bar:
            machines = linear.fit(tables["train"], labels["train"], classes, device=device,
                                  steps=settings["steps"], tell=bar.advance, **svm)
        took = time.monotonic() - started
        seconds += took
        for strength, machine in zip(svm["strengths"], machines):
            scores = {part: machine.scores(tables[part]) for part in ("tune", "claims")}
            wrong.append(scores["claims"].argmax(1) != labels["claims"])
            made.append(tables)
            tried.append({"variant": plain(variant), "strength": strength, "seconds_of_svm": round(took, 1), **spent,
                          "tune_error": errors(scores["tune"], labels["tune"])["top1_error"],
                          **errors(scores["claims"], labels["claims"])})
    place = min(range(len(tried)), key=lambda i: tried[i]["tune_error"])
    best = tried[place]
    say(f"{name}: {best['top1_error']:.1%} of {best['images']:,} claims wrong")
    if test:
        of, every = (np.concatenate([one[part] for part in WANTED]) for one in (labels, made[place]))
        machine, = linear.fit(every, of, classes, device=device, steps=settings["steps"], standardise=svm["standardise"],
                              strengths=[best["strength"]])
        best["as_published"] = {"trained_on": len(of), **errors(machine.scores(made[place][TEST]), labels[TEST])}
    shown = ("variant", "strength", "tune_error")
    return {"system": name, "words": words, "trained_on": len(labels["train"]), "seconds": round(seconds, 1), **best,
            "tried": [{key: line[key] for key in shown} for line in tried]}, wrong[place]


def encoded(room, chosen, parts, folder):
    """-> (features a split, what it cost); features lie on the disk as they come, and a kill costs the last few."""
    folder.mkdir(parents=True, exist_ok=True)
    said, file = json.dumps({key: str(value) for key, value in chosen.items() if key != "device"}), folder / "settings.json"
    if file.exists() and file.read_text() != said:
        raise Refused(f"{folder} holds features of other settings: take another OUT, or delete it.")
    replace_file(file, said.encode())
    arrays, learning = learnt(room, chosen, parts["train"], folder / "book.npz")
    tables, seconds = {}, 0.0
    for name, part in parts.items():
        tables[name], took = table(folder / name, part, partial(room.encode, arrays, **chosen))
        seconds += took
    pictures = sum(map(len, parts.values()))
    return tables, {
        "units": tables["train"].shape[1], "seconds_of_words": round(learning, 1), "seconds_of_features": round(seconds, 1),
        "milliseconds_a_picture": round(1000 * seconds / pictures, 2),
        "bytes_of_features": sum(one.nbytes for one in tables.values()),
        "peak_bytes": peak()}


def learnt(room, chosen, part, file):
    """The words, learnt once."""
    if not file.exists():
        started, random = time.monotonic(), generator("rivals", "words")
        some = np.sort(random.permutation(len(part))[: max(2000, chosen["count"] // 40)])
        arrays = room.learn(part.pictures(some), random=random, seed=0, **chosen)
        new = file.with_suffix(".new.npz")
        np.savez(new, seconds=time.monotonic() - started, **arrays)
        os.replace(new, file)
    with np.load(file) as kept:
        return {key: kept[key] for key in kept if key != "seconds"}, float(kept["seconds"])


def table(stem, part, encode):
    """-> (float16 (N, units) on the disk, seconds)"""
    units = encode(part.pictures(range(1))).shape[1]
    rows = Rows(stem, part.fingerprint, (len(part), units), dtype=np.float16, every=0)
    with Progress(f"features of {part.name}", len(part), start=rows.done) as bar:
        while rows.done < len(part):
            started, which = time.monotonic(), range(rows.done, min(rows.done + AT_ONCE, len(part)))
            found = encode(part.pictures(which)).half().cpu().numpy()
            rows.add(found, seconds=rows.facts.get("seconds", 0.0) + time.monotonic() - started)
            bar.advance(len(found))
    return rows.table, rows.facts["seconds"]


def errors(scores, labels):
    """An SVM's scores are no probabilities: errors only."""
    five = min(5, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :five]
    top1, top5 = float((order[:, 0] != labels).mean()), float((order != labels[:, None]).all(1).mean())
    return {"images": len(labels), "top1_error": top1, "top5_error": top5, "top1_interval": wilson(top1, len(labels))}


def plain(variant):
    return json.loads(json.dumps(variant, default=list))


def as_text(found):
    lines = [f"{'system':<34}{'words':>6}{'top-1':>8}  {'95 % interval':<16}{'top-5':>6}{'features':>10}{'SVM':>8}"
             f"{'a picture':>12}"]
    for one in found["systems"]:
        low, high = one["top1_interval"]
        lines.append(f"{one['system']:<34}{one['words']:>6}{one['top1_error']:>8.1%}  {f'{low:.1%} to {high:.1%}':<16}"
                     f"{one['top5_error']:>6.1%}{one['seconds_of_features']:>8.0f} s{one['seconds_of_svm']:>6.0f} s"
                     f"{one['milliseconds_a_picture']:>9.1f} ms")
    if net := found.get("net"):
        low, high = net["top1_interval"]
        took = f"  taught in {net['seconds']:.0f} s" if "seconds" in net else ""
        lines.append(f"{net['name']:<34}{'':>6}{net['top1_error']:>8.1%}  {f'{low:.1%} to {high:.1%}':<16}{took}")
    return "\n".join(lines)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", default="cpu", choices=list(SCALES))
    parser.add_argument("--validate", action="store_true", help="the systems and settings with a published figure on CIFAR-10")
    parser.add_argument("--systems", nargs="+", metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument("--minutes", type=float, help="leave after so many; the same command goes on")
    parser.add_argument("--model", help="a net of yours, to set beside them")
    for option, help in (("classes", "so many, evenly spaced"), ("a-class", "pictures of each to learn from"), ("coding", "words"),
                         ("fisher", "Gaussians")):
        parser.add_argument(f"--{option}", type=int, help=help)
    asked = vars(parser.parse_args(words))
    keep_memory()
    try:
        print(as_text(measure(asked.pop("store"), asked.pop("out"), **asked)))
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, Misused) else 1)
