"""The report of a run that goes on: curves, errors, kernels, time, in RUN/report.html after an epoch, a page that looks again by
itself. `alexnet train` writes it so; in Python: alexnet.train(store, out=run, on_epoch=Live(run)). Not much more than a fiftieth
of the time goes into it, and no network is built for it."""

import time
from html import escape
from pathlib import Path

from safetensors import safe_open

from alexnet import cards, nets, rundir
from alexnet.errors import Refused
from alexnet.explain import curves, kernels, page
from alexnet.explain.head import tiles
from alexnet.progress import say, seconds

SHARE = 50  # of the time goes by between two pages for what a page takes


class Live:
    def __init__(self, run):
        self.run, self.wrote, self.cost = Path(run), None, 0.0

    def __call__(self, line):
        began = time.monotonic()
        first = self.wrote is None
        if not first and began - self.wrote < SHARE * self.cost:
            return
        try:
            rundir.replace_file(self.run / "report.html", written(self.run).encode())
        except OSError:  # a page is no reason to end a run
            pass
        self.wrote = time.monotonic()
        self.cost = self.wrote - began
        if first:
            say(f"to watch the run in a browser: {self.run / 'report.html'} looks again by itself")


def written(run):
    """The page as HTML."""
    told, lines = rundir.RunDir(run), rundir.epochs(run)
    config, environment = told.read("config.json"), told.read("environment.json") or {}
    parts = [curves.section(lines)] if lines else []
    try:
        row, classes, found = _first_layer(run)
        parts += [kernels.section(found, row)] if found is not None else []
    except (Refused, OSError):  # before the first checkpoint
        row, classes = nets.row(config["net"]), None
    return page.page(f"AlexNet run: {Path(run).name}", _head(Path(run).resolve(), config, environment, row, classes, lines), parts,
                     refresh=True)


def _first_layer(run):
    """-> (row, classes, weights of the layer that sees the picture); the other tensors stay on the disk."""
    with cards.WeightsFile(run) as stored:
        card, path = stored.card, stored.path
    row = nets.from_spec(card["row"])
    layer = kernels.first_layer(row)
    with safe_open(path, "numpy") as file:
        return row, len(card["classes"]), file.get_tensor(f"{layer.name}.weight") if layer else None


def _head(path, config, environment, row, classes, lines):
    recipe, last = config["recipe"], lines[-1] if lines else None
    epochs = recipe.get("epochs") or 0
    done = "The first epoch is not over yet."
    if last:
        left = max(epochs - last["epoch"], 0) * last["seconds"] / last["epoch"]
        done = (f"Epoch <strong>{last['epoch']}</strong> of at most {epochs} is done after {seconds(last['seconds'])}; at this "
                f"speed the rest takes {seconds(left)}, with {last['images_per_second']:,.0f} pictures a second.")
    errors = [{key: last[f"val_{key}"] for key in ("top1_error", "top5_error")}] if last and classes else []
    where = " ".join(str(environment[key]) for key in ("device", "device_name") if environment.get(key))
    said = f"Measured on {last['val_images']:,} pictures of <em>{escape(str(last['select']))}</em>." if last else ""
    return (
        f'<p class="eyebrow">AlexNet run, going on</p><h1>{escape(path.name)}</h1>'
        f'<p class="lead">The net <strong>{escape(config["net"])}</strong>, {escape(row.title)}, with the recipe '
        f'<strong>{escape(recipe["name"])}</strong>{f" on {escape(where)}" if where else ""}. {done}</p>{tiles(classes, errors)}'
        f'<p class="note">{said} The page looks again by itself. Where nothing new comes for long, the run was '
        "stopped: alexnet train with --resume goes on with it.</p>"
    )
