"""The gallery: docs/gallery.md, where every picture stands under the command that made it.

    python -m benches.gallery TINY PHOTOGRAPHS SIGNS WORK [only NAME...]

TINY: the store of Tiny-ImageNet; PHOTOGRAPHS, SIGNS: folders of pictures and of class folders; WORK: where the commands run, and
what they leave. A few minutes; the page in a browser wants Chromium and Playwright, and its picture stays as it is without them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from benches.record import RESULTS

DOCS = RESULTS.parent / "docs"
WIDEST, TALLEST = 1400, 4400


class Shot(NamedTuple):
    name: str
    title: str
    commands: tuple
    made: str  # the picture, where the commands leave it
    said: str


SHOTS = (
    Shot("anatomy", "The network of 2012, beside its ancestor", ("alexnet nets --draw lenet+paper anatomy.png",), "anatomy.png",
         "Drawn from the rows' data, on one scale: both columns, and where they meet."),
    Shot("predictions", "Test pictures and five answers each",
         ("alexnet explain default --store TINY --picture PHOTOGRAPH --out report",), "report/figures/predictions.png",
         "After Figure 4, left: the right class in its own colour, pictures drawn by a seed and not chosen."),
    Shot("mistakes", "Only the mistakes", ("alexnet explain default --store TINY --errors --out mistakes",),
         "mistakes/figures/predictions.png", "What it takes for what. Sixty-four pixels are few, for us too."),
    Shot("nearest", "Nearest neighbours in the last hidden layer", (), "report/figures/neighbours.png",
         "After Figure 4, right, from the same report: a test picture, then the six nearest of the training pictures that were "
         "searched."),
    Shot("kernels", "The first layer", (), "report/figures/kernels.png",
         "After Figure 3, from the same report: one range for all."),
    Shot("looked", "Where it looked", (), "report/figures/looked.png",
         "Covered piece by piece, and by gradient, from the same report."),
    Shot("confusion", "What is taken for what", (), "report/figures/confusion.png",
         "All classes of the store's val, from the same report."),
    Shot("search", "Photographs, and the pictures like them",
         ("alexnet search index --build TINY --split tune",
          "alexnet search index EIGHT --top 6 --out neighbours.png"), "neighbours.png",
         "`EIGHT` are full-size photographs, evenly drawn from all; the answers are the 5,033 pictures of 64 pixels in `tune`."),
    Shot("photographs", "Ordinary photographs", ("python -m benches.photographs PHOTOGRAPHS --train TINY --sheet photographs.png",),
         "photographs.png", "Every photograph of a class that the weights know, with ten views; those that stand in train at "
         "the end. A lion on the savannah is a chest, an ox a standard poodle, what fries in a wok an American lobster, a mushroom "
         "in the dark a Yorkshire terrier, a maypole volleyball."),
    Shot("signs", "Classes of your own: hand signs",
         ("alexnet transfer SIGNS --out signs", "alexnet explain signs --errors --out signs-report"),
         "signs-report/figures/predictions.png", "A folder a class in, a working model out, and what it still gets wrong; this one "
         "began from the second release of the weights."),
)
PAGE = Shot("page", "The page", ("alexnet serve --index index",), "page.png",
            "A photograph dropped on it: five bars, where the net looked, the pictures of that index like it.")


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for place in ("tiny", "photographs", "signs", "work"):
        words.add_argument(place, type=Path)
    words.add_argument("only", nargs="*")
    asked = words.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    photographs = sorted(one for one in asked.photographs.iterdir() if one.suffix.lower() in (".jpg", ".jpeg", ".png"))
    stands_for = {"TINY": asked.tiny, "PHOTOGRAPHS": asked.photographs, "SIGNS": asked.signs, "PHOTOGRAPH": photographs[0]}
    stands_for["EIGHT"] = asked.work / "eight"
    shutil.rmtree(stands_for["EIGHT"], ignore_errors=True)
    stands_for["EIGHT"].mkdir()
    for photograph in photographs[:: max(1, len(photographs) // 8)][:8]:
        shutil.copy(photograph, stands_for["EIGHT"])
    stands_for = {word: str(place.resolve()) for word, place in stands_for.items()}
    for shot in SHOTS:
        if not asked.only or shot.name in asked.only:
            for command in shot.commands:
                run(command, stands_for, asked.work)
            keep(asked.work / shot.made, shot.name)
    if not asked.only or PAGE.name in asked.only:
        page(asked.work, photographs[0])
    (DOCS / "gallery.md").write_text(text())


def run(command, stands_for, work):
    print(f"$ {command}", flush=True)
    program, *rest = [stands_for.get(word, word) for word in command.split()]
    starts = {"alexnet": [sys.executable, "-m", "alexnet"], "python": [sys.executable]}[program]
    above = os.pathsep.join(filter(None, (str(RESULTS.parent), os.environ.get("PYTHONPATH"))))
    subprocess.run([*starts, *rest], cwd=work, check=True, env={**os.environ, "PYTHONPATH": above})


def keep(picture, name):
    """In docs, no larger than a reader wants, in the smaller of the two forms."""
    folder, image = DOCS / "gallery", Image.open(picture).convert("RGB")
    folder.mkdir(exist_ok=True)
    image.thumbnail((WIDEST, TALLEST), Image.LANCZOS)
    forms = {folder / f"{name}.png": {"optimize": True}, folder / f"{name}.jpg": {"quality": 85, "optimize": True}}
    for file, how in forms.items():
        image.save(file, **how)
    max(forms, key=lambda file: file.stat().st_size).unlink()


def page(work, photograph):
    """The page as a person has it after dropping a photograph; nothing where there is no browser to ask."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browser = None
    if not browser:
        return print("no Chromium or no Playwright here: the page's picture stays as it is")
    words = [sys.executable, "-m", "alexnet", "serve", "--index", "index", "--port", "0"]
    above = {**os.environ, "PYTHONPATH": str(RESULTS.parent)}
    with subprocess.Popen(words, cwd=work, env=above, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
        try:
            address = next(found[0] for line in service.stdout if (found := re.search(r"http://[\d.:]+", line)))
            with sync_playwright() as playwright:
                opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
                    viewport={"width": 1280, "height": 900})
                opened.goto(address)
                opened.locator("html[data-ready]").wait_for()
                opened.set_input_files("#files", [str(photograph)])
                opened.locator("#near:not([hidden])").wait_for()
                opened.locator("label", has_text="Where it looked").click()
                opened.locator("#over").wait_for()
                opened.screenshot(path=work / PAGE.made, full_page=True)
        finally:
            service.terminate()
    keep(work / PAGE.made, PAGE.name)


def text():
    lines = ["# Gallery", "", "Every picture is what the command above it leaves. `TINY` is the store of Tiny-ImageNet "
             "([data.md](data.md)), `PHOTOGRAPHS` a folder of pictures, `SIGNS` one of class folders; all of it again: "
             "`python -m benches.gallery TINY PHOTOGRAPHS SIGNS WORK`.", ""]
    for shot in (*SHOTS, PAGE):
        picture = next((one for one in (DOCS / "gallery").glob(f"{shot.name}.*")), None)
        if picture:
            commands = ["```", *shot.commands, "```", ""] if shot.commands else []
            lines += [f"## {shot.title}", "", *commands, f"![{shot.title}](gallery/{picture.name})", "", shot.said, ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
