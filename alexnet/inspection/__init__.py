"""The data doctor: what is wrong with a set of pictures before a net learns it. Classes that are empty or lopsided, pictures that
cannot be read or are odd, copies, copies under two labels, copies on both sides of a split; with a model, labels it disbelieves.

    alexnet inspect STORE_OR_SOURCE        answers on stdout, writes NAME-inspection/report.html and pairs.csv
"""

import os
import time
from pathlib import Path
from typing import Annotated

from alexnet import rundir
from alexnet.errors import Misused, Refused
from alexnet.inspection import copies, looking, oddities, page

SHOWN = 60  # pairs, or pictures, of a kind on the page
LOPSIDED = 10  # times as many pictures in the largest class as in the smallest


def inspect(
    path: Annotated[str, "a store, or whatever prepare takes as a source", "STORE_OR_SOURCE"],
    *,
    model: Annotated[str | None, "also ask a trained net which labels it disbelieves", "MODEL"] = None,
    out: Annotated[str | None, "folder for the page and the list of pairs (default: ./NAME-inspection)", "FOLDER"] = None,
    strict: Annotated[bool, "fail at the end when something serious was found; the answer is given all the same"] = False,
    workers: Annotated[int | None, "threads; without it, one a core"] = None,
    device="auto",
    on_answer=None,
):
    """What there is, what is odd, and what is there twice: one answer, a page to look at, and every pair in a CSV file."""
    began = time.monotonic()
    if workers is not None and workers < 1:
        raise Misused(f"--workers is {workers}: one thread or more is needed.")
    path = os.path.abspath(os.fspath(path))
    folder = Path(out or f"{os.path.basename(path.rstrip(os.sep)) or 'pictures'}-inspection")
    if os.path.realpath(folder).startswith(os.path.realpath(path) + os.sep) or folder.is_file():
        raise Misused(f"--out is {folder}: name a folder outside of {path}, which stays as it is.")
    kind, notes, parts = looking.looked_through(path, workers)
    clf = oddities.loaded(model, parts, device) if model else None
    pairs = copies.paired(parts, workers)
    suspects = {part.name: oddities.disbelieved(clf, part) for part in parts} if clf else {}
    splits = {part.name: oddities.counted(part) for part in parts}
    answer = {"path": path, "kind": kind, "classes": len(parts[0].classes), "splits": splits, **copies.told(pairs, parts),
              "notes": notes}
    if clf:
        answer["disbelieved"] = suspects
    answer["findings"] = findings(answer)
    folder.mkdir(parents=True, exist_ok=True)
    copies.write_pairs(folder / "pairs.csv", pairs, parts)
    text = page.written(answer, parts, copies.shown(pairs), suspects, most=SHOWN)
    rundir.replace_file(folder / "report.html", text.encode("utf-8", "backslashreplace"))
    answer |= {"report": str(folder / "report.html"), "pairs_file": str(folder / "pairs.csv")}
    answer["seconds"] = round(time.monotonic() - began, 1)
    if on_answer:
        on_answer(answer)
    serious = [one["said"] for one in answer["findings"] if one["serious"]]
    if strict and serious:
        raise Refused(f"{len(serious)} serious {'thing was' if len(serious) == 1 else 'things were'} found in {path}: "
                      f"{'; '.join(serious)}; {folder / 'report.html'} shows them.")
    return answer


def findings(answer):
    """What was found, the most serious first: each with what it is, one sentence on it, and what to do."""
    found = []

    def add(what, serious, said, do):
        found.append({"what": what, "serious": serious, "said": said, "do": do})

    for name, one in answer["leaking"].items():
        if one["pictures"]:
            add("leakage", True, f"{_pictures(one['pictures'])} of {name} ({100 * one['share']:.1f} %) "
                f"{'is' if one['pictures'] == 1 else 'are'} in an earlier split too, {one['exact']:,} exactly",
                f"errors measured on {name} flatter: take them out of one of the two (pairs.csv names them)")
    two = {kind: sum(table[kind]["other_class"] for table in answer["pairs"].values()) for kind in ("exact", "near")}
    if sum(two.values()):
        add("two labels", True, f"{_pairs(sum(two.values()))} of copies under two labels, {two['exact']:,} exact",
            "at least one label is wrong, or the classes overlap: look at the page and settle on one")
    for name, one in answer["splits"].items():
        if one["refused"]:
            add("refused", True, f"{_pictures(one['refused'])} of {name} cannot be read",
                "replace them or delete them: the page names them with the reason")
        if one["left_out"]:
            add("left out", False, f"left out of {name} when it was held out, for looking like pictures of train: "
                f"{_pictures(one['left_out'])}", "nothing has to be done: the page names them with what they look like")
    for name, one in answer["splits"].items():
        if one["empty_classes"] and one["images"]:
            some = ", ".join(one["empty_classes"][:3]) + (", ..." if len(one["empty_classes"]) > 3 else "")
            add("empty classes", True, f"{name} has no picture of {len(one['empty_classes']):,} of {answer['classes']:,} classes "
                f"({some})", "add pictures, or leave the class out")
    inside = [table for where, table in answer["pairs"].items() if where in answer["splits"]]  # the others leak, as said above
    twice = {kind: sum(table[kind]["same_class"] for table in inside) for kind in ("exact", "near")}
    if sum(twice.values()):
        add("copies", False, f"{_pairs(sum(twice.values()))} of copies under one label, {twice['exact']:,} exact",
            "they count twice: keep one of each")
    for name, one in answer["splits"].items():
        _say_odd(add, name, one)
    for name, one in answer.get("disbelieved", {}).items():
        known = "held out, so worth a look" if one["held_out"] else "it was trained on them, so the telling ones may be missing"
        add("disbelieved", False, f"the net likes another class better for {_pictures(one['pictures'])} of {name} "
            f"({100 * one['share']:.1f} %; {known})", "the page shows those of which it is surest: are their labels right?")
    return sorted(found, key=lambda one: not one["serious"])


def _say_odd(add, name, one):
    if (one["ratio"] or 0) >= LOPSIDED:
        small, large = one["smallest"], one["largest"]
        add("lopsided", False, f"{name} has {one['ratio']:.0f} times as many pictures of {large['name']} ({large['images']:,}) "
            f"as of {small['name']} ({small['images']:,})", "errors by class tell more than the mean: alexnet evaluate --per-class")
    for grey in one["grey_classes"][:3]:
        add("grey", False, f"{100 * grey['grey']:.0f} % of {grey['name']} in {name} are grey, {100 * one['grey']:.0f} % of all",
            "a net may learn the greyness: add colour pictures of it")
    sides = one.get("sides", {})
    if sides.get("tiny"):
        add("tiny", False, f"below {oddities.TINY} pixels: {_pictures(sides['tiny'])} of {name} ({_some(sides['tiny_first'])})",
            "enlarged they show little: look whether they are thumbnails or icons")
    if sides.get("long"):
        add("long", False, f"{oddities.LONG:g} times as long as wide or more: {_pictures(sides['long'])} of {name} "
            f"({_some(sides['long_first'])})", "only the central square is used: crop them to what they show")


def _some(names):
    return ", ".join(ascii(name)[1:-1] for name in names[:2]) + (", ..." if len(names) > 2 else "")


def _pictures(count):
    return f"{count:,} {'picture' if count == 1 else 'pictures'}"


def _pairs(count):
    return f"{count:,} {'pair' if count == 1 else 'pairs'}"
