"""The whole thing in a few minutes with nothing to download: pictures, store, training, errors, report, predictions.

    alexnet demo        writes ./demo-run; run again, it goes on where it stopped

The pictures are crops of the photographs inside the scikit-image and scikit-learn packages, a class a photograph; what
is measured on comes from a part of each photograph that shares no pixel with what is trained on.
"""

import time
from importlib import resources
from pathlib import Path
from typing import Annotated

from alexnet import classifier, rundir
from alexnet.data import sample
from alexnet.data import store as stores
from alexnet.data.prepare import prepare
from alexnet.errors import Misused, Refused
from alexnet.evaluate import evaluate
from alexnet.explain import explain
from alexnet.progress import say, seconds
from alexnet.train import train

SIZE = 64
SHOWN = 3  # validation pictures that are classified one by one


def demo(
    *,
    out: Annotated[str, "the folder for everything the demo makes"] = "demo-run",
    epochs: Annotated[int | None, "fewer or more epochs than the recipe `tiny` has"] = None,
    device="auto",
):
    """Build a small data set, train a small AlexNet on it, measure it with one and ten views, report, use it."""
    began, out = time.monotonic(), Path(out)
    pictures, store, run, report = (out / name for name in ("pictures", "store", "run", "report.html"))
    _enter(out, pictures)

    if stores.splits(store) == ["train", "val"]:
        say(f"1/5  pictures and store are in {out} already: going on with them")
    else:
        say(
            "1/5  pictures: crops of the photographs that come with scikit-image and scikit-learn, a class a photograph"
        )
        sample.write(pictures, size=SIZE)
        prepare(str(pictures), str(store), size=SIZE)
    split = stores.open_split(store, "val")

    say(f"2/5  training an AlexNet for small pictures on {len(stores.open_split(store, 'train')):,} of them")
    changes = {"epochs": epochs} if epochs else {}
    say("     the errors below are on a tenth of them, held out; the validation pictures decide nothing")
    trained = train(str(store), recipe="tiny", out=str(run), holdout=0.1, resume=True, device=device, on_epoch=_told, **changes)

    say(f"3/5  measuring it on {len(split):,} crops of parts it has never seen, with one view of each and with ten")
    found = [evaluate(str(run), store=str(store), views=views, device=device) for views in (1, 10)]
    for one in found:
        rundir.RunDir(run).log("evaluate", **one)

    say("4/5  drawing the report")
    report = explain(str(run), store=str(store), out=str(out), device=device)["report"]

    say("5/5  using it")
    answers = _use(run, pictures, split, device)
    chance = {places: 1 - min(places, len(split.classes)) / len(split.classes) for places in (1, 5)}
    say(f"done in {seconds(time.monotonic() - began)}")
    return {
        "run": str(run),
        "report": report,
        "classes": len(split.classes),
        "epochs": trained["epoch"],
        "evaluations": found,
        "chance_top1_error": chance[1],
        "chance_top5_error": chance[5],
        "verdict": verdict(found[-1], chance[1]),
        "answers": answers,
        "seconds": round(time.monotonic() - began, 1),
        "next": [
            f"alexnet predict PICTURE... --model {run}",
            f"alexnet train {store} --recipe tiny --net small64 --out {out}/wider",
            "alexnet prepare YOUR_FOLDERS YOUR_STORE --size 64",
        ],
    }


def _enter(out, pictures):
    """A folder of another kind is left alone."""
    if out.exists() and not out.is_dir():
        raise Misused(f"{out} is a file; the demo wants a folder: name another with --out.")
    if out.exists() and any(out.iterdir()) and not pictures.exists():
        raise Refused(f"{out} is not empty and holds no demo; name another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)


def _told(line):
    say(
        f"     epoch {line['epoch']:>2}  loss {line['train_loss']:.2f}  error {100 * line['val_top1_error']:5.1f} %  "
        f"{line['images_per_second']:,.0f} pictures/s"
    )


def _use(run, pictures, split, device):
    """A few validation pictures with the net just trained, then a whole photograph with the one that ships."""
    own = classifier.load(run, device=device)
    answers = [
        _answer(own, str(run), pictures / split.names[place]) for place in range(0, len(split), -(-len(split) // SHOWN))
    ]
    try:
        shipped = classifier.load(None, device=device)
    except Refused:  # a checkout before its first weights
        return answers
    return [*answers, _answer(shipped, "default", Path(str(resources.files("skimage") / "data" / "chelsea.png")))]


def _answer(clf, model, path):
    best = clf(path, top=1)[0]
    say(f"     {path.parent.name}/{path.name} is {best.name}, says {model}, {100 * best.probability:.0f} % sure")
    return {"path": str(path), "model": model, "name": best.name, "probability": best.probability}


def verdict(measured, chance):
    """One honest sentence about a measured error."""
    error, high = measured["top1_error"], measured["top1_interval"][1]
    if high >= chance:
        return (
            f"That is no better than guessing ({100 * chance:.1f} % wrong): something went wrong, look at the report."
        )
    how = "far better" if high < chance / 2 else "better"
    right, guessed = 100 * (1 - error), 100 * (1 - chance)
    return f"{how.capitalize()} than chance: right on {right:.0f} of 100 pictures, guessing on {guessed:.0f}."
