"""1 CNN*'s whole chain at toy size, section 6 and the notebook's stages: a five-layer net on a few classes; its convolutions into a
six-layer net on more classes; those into one on all classes, over a linear bottleneck; and all of that but the bottleneck and
the classes back to the few. Every stage begins from the one before, momentum at zero, with the rates that were used then.

    python -m experiments.cnn_star PICTURES OUT         # a folder a class, at least 8 of them; e.g. tiny-imagenet-200/train
    python -m experiments.cnn_star PICTURES OUT --epochs 30 --limit 500

It shows the steps, not a gain: at this size none is claimed. A fifth of the pictures is held out by name, from every stage. An
interrupted chain goes on where it stopped.
"""

import argparse
import json
import os
from pathlib import Path

from alexnet.cli import keep_memory
from alexnet.data.prepare import prepare
from alexnet.data.sources import recognise
from alexnet.train import train

STAGES = (  # name, share of the classes, net, recipe, begins from, layers copied
    ("five", 0.25, "tiny64", "as_run", None, ""),
    ("six_more_classes", 0.5, "tiny64_six", "six_conv_2009", "five", "conv"),
    ("six_all_classes", 1.0, "tiny64_six_wide", "six_conv_2011", "six_more_classes", "conv"),
    ("six_few_again", 0.25, "tiny64_six", "six_conv_2012", "six_all_classes", "conv,fc6,fc7"),
)


def main(words=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures")
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=8, help="of every stage")
    parser.add_argument("--limit", type=int, default=100, help="pictures a class")
    parser.add_argument("--most", type=int, default=40, help="classes of the last pre-training")
    asked = parser.parse_args(words)
    keep_memory()
    lines = chain(asked.pictures, asked.out, epochs=asked.epochs, limit=asked.limit, most=asked.most)
    print(f"{'stage':<18}{'net':<17}{'classes':>8}{'copied':>9}{'new':>5}{'held-out error':>16}")
    for line in lines:
        print(f"{line['stage']:<18}{line['net']:<17}{line['classes']:>8}{line['copied']:>9}{line['new']:>5}{line['error']:>15.1%}")
    (asked.out / "chain.json").write_text(json.dumps(lines, indent=1))


def chain(pictures, out, *, epochs, limit, most):
    source = recognise(pictures)
    classes = [c.id for c in source.classes][:most]
    lines = []
    for name, share, net, recipe, begins, copy in STAGES:
        chosen = classes[:: round(1 / share)]
        store, run = out / f"store-{len(chosen)}", out / name
        if not (store / "train" / "store.json").exists():
            prepare(linked(source, out / f"pictures-{len(chosen)}", chosen, limit), store, size=64, holdout="val=0.2")
        line = train(store, out=run, recipe=recipe, net=net, epochs=epochs, resume=True, precision="auto",
                     crop_shared_by=1, reshuffle=True, from_=begins and out / begins, copy=copy)
        begun = next((json.loads(text) for text in open(run / "log.jsonl") if '"event": "from"' in text), {"layers": []})
        copied = [one["copied"] for one in begun["layers"]]
        lines.append({"stage": name, "net": net, "recipe": recipe, "classes": len(chosen), "copied": sum(copied),
                      "new": len(copied) - sum(copied), "error": line["val_top1_error"], "epochs": line["epoch"]})
    return lines


def linked(source, folder, classes, limit):
    """A folder of links to the first pictures of these classes: a source of its own, nothing copied."""
    for entry in sorted(source.splits["train"], key=lambda entry: entry.name):
        wanted = folder / source.classes[entry.label].id
        if wanted.name in classes:
            wanted.mkdir(parents=True, exist_ok=True)
            link = wanted / os.path.basename(entry.path)
            if not link.is_symlink() and len(os.listdir(wanted)) < limit:
                link.symlink_to(os.path.abspath(entry.path))
    return folder


if __name__ == "__main__":
    main()
