"""What is there twice: within a class, under two labels, on both sides of a split; and every pair in a CSV file."""

import csv
import io

import numpy as np

from alexnet import rundir
from alexnet.data import likeness
from alexnet.progress import Progress

BATCH = 256


def paired(parts, workers):
    """Every pair as a dict: kind, likeness, mirrored, and of both pictures (part, index)."""
    signed = np.concatenate([part.signatures for part in parts])
    with Progress("comparing", len(signed)) as bar:
        found = likeness.pairs(signed, workers=workers, tell=bar.advance)
    if not found:
        return []
    one, other = (np.array(column) for column in list(zip(*found))[:2])
    firsts = np.cumsum([0] + [len(part.names) for part in parts])
    values, mirrored = (np.concatenate(some) for some in zip(*(
        likeness.compare(signed[one[at : at + BATCH]], signed[other[at : at + BATCH]]) for at in range(0, len(found), BATCH))))
    pairs = []
    for (i, j, kind), value, turned in zip(found, values.tolist(), mirrored.tolist()):
        ends = [(p := int(np.searchsorted(firsts, k, side="right")) - 1, int(k - firsts[p])) for k in (i, j)]
        labels = [int(parts[p].labels[index]) for p, index in ends]
        pairs.append({"kind": kind, "likeness": 1.0 if kind == "exact" else value, "mirrored": kind == "near" and turned,
                      "ends": ends, "places": (i, j), "labels": labels, "leak": ends[0][0] != ends[1][0],
                      "across": labels[0] != labels[1]})
    return pairs


def told(pairs, parts):
    """Pairs counted by where their two pictures lie; groups; and of every later split what an earlier one holds too."""
    count, table = sum(len(part.names) for part in parts), {}
    for pair in pairs:
        where = " and ".join(parts[p].name for p in sorted({p for p, _ in pair["ends"]}))
        one = table.setdefault(where, {kind: {"same_class": 0, "other_class": 0} for kind in ("exact", "near")})
        one[pair["kind"]]["other_class" if pair["across"] else "same_class"] += 1
    root = likeness.groups(count, [pair["places"] for pair in pairs])
    sizes = np.bincount(root, minlength=count)
    split = np.repeat(np.arange(len(parts)), [len(part.names) for part in parts])
    digests = np.concatenate([part.signatures["digest"] for part in parts]).view("V16").ravel()
    earliest = np.full(count, len(parts))
    np.minimum.at(earliest, root, split)
    leaking = {}
    for p, part in enumerate(parts[1:], 1):
        mine = np.flatnonzero((split == p) & (earliest[root] < p))
        exact = int(np.isin(digests[mine], digests[split < p]).sum())
        leaking[part.name] = {"pictures": len(mine), "exact": exact, "near": len(mine) - exact,
                              "share": len(mine) / max(len(part.names), 1)}
    groups = {"count": int((sizes > 1).sum()), "pictures": int(sizes[sizes > 1].sum()), "largest": int(sizes.max(initial=0))}
    table = {where: table[where] for where in sorted(table, key=lambda where: (" and " in where, where))}
    return {"pairs": table, "leaking": leaking, "groups": groups}


def shown(pairs):
    """Kinds for the page, the most telling first; in each the most alike first."""
    ordered = sorted(pairs, key=lambda pair: -pair["likeness"])
    leaks = [pair for pair in ordered if pair["leak"]]
    across = [pair for pair in ordered if pair["across"]]
    rest = [pair for pair in ordered if not pair["leak"] and not pair["across"]]
    return {"leaks": leaks, "across": across, "exact": [p for p in rest if p["kind"] == "exact"],
            "near": [p for p in rest if p["kind"] == "near"]}


def write_pairs(path, pairs, parts):
    text = io.StringIO(newline="")
    write = csv.writer(text)
    write.writerow(("kind", "likeness", "mirrored", "split", "class", "name", "other_split", "other_class", "other_name"))
    for pair in pairs:
        ends = [(parts[p].name, parts[p].classes[parts[p].labels[i]].id, parts[p].names[i]) for p, i in pair["ends"]]
        write.writerow((pair["kind"], f"{pair['likeness']:.3f}", int(pair["mirrored"]), *ends[0], *ends[1]))
    rundir.replace_file(path, text.getvalue().encode("utf-8", "surrogateescape"))
