"""What a verb answers, on stdout: one JSON object a line, or a table for people. The standard library is enough."""

import json
import os
import sys
from types import NoneType

EPOCH = (
    "epoch",
    "images",
    "train_loss",
    "val_images",
    "val_top1_error",
    "val_top5_error",
    "log_loss",
    "lr",
    "images_per_second",
)


class ReaderLeft(Exception):
    """Whoever read our stdout has closed it: nothing more is wanted."""


def write(text=""):
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise ReaderLeft from None


class Answers:
    """Shows what a verb answers, at once or one by one; `code` is the exit code."""

    def __init__(self, verb, *, as_json, file=None):
        self.verb, self.as_json, self.file, self.code, self.count = verb, as_json, file, 0, 0

    def one(self, answer):
        """One of many, as it comes: an epoch, a picture."""
        if "error" in answer:
            self.code = 1
        if self.as_json:
            keep = EPOCH if self.verb == "train" else answer
            write(as_json({key: answer[key] for key in keep if key in answer}))
        else:
            ONE[self.verb](answer, self)
        self.count += 1

    def all(self, answer):
        if self.as_json:
            for one in answer if isinstance(answer, list) else [answer]:
                write(as_json(one))
        else:
            ALL[self.verb](answer)


def as_json(value):
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value):
    """As JSON has it: no NaN, no numpy, no paths."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return None
    return value if isinstance(value, str | int | float | bool | NoneType) else str(value)


# ---- tables for people ----------------------------------------------------------------------------------------------


def painted(text, code):
    lively = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return f"\033[{code}m{text}\033[0m" if lively else text


def strong(text):
    return painted(text, 1)


def faint(text):
    return painted(text, 2)


def table(heads, rows, *, texts=(0,)):
    """Columns as wide as they need; those in `texts` begin at the left, the numbers end at the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]

    def laid(row):
        return "  ".join(
            f"{cell:{'<' if i in texts else '>'}{w}}" for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()

    write(faint(laid(heads)))
    for row in cells:
        write(laid(row))


def facts(pairs):
    """A short list of names and values."""
    pairs = [(name, value) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        write(f"{faint(f'{name:<{width}}')}  {value}")


def percent(share, digits=1):
    return "–" if share is None or share != share else f"{share:.{digits}%}".replace("%", " %")


def number(value, digits=3):
    return "–" if value is None or value != value else f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def count(value, one, many=None):
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def large(value):
    """61.0 M rather than 60,965,224, where a table compares sizes."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.{1 if value < 100 * size else 0}f} {unit}"
    return str(value)


def show_recognised(answer):
    boxes = sum(one["boxes"] for one in answer["splits"].values())
    first = ", ".join(id if id == name else f"{id} {name}" for id, name in answer["first_classes"])
    needed = answer["bytes_needed"]
    facts(
        [
            ("recognised", strong(answer["kind"])),
            ("source", answer["source"]),
            *((name, count(one["images"], "picture")) for name, one in answer["splits"].items()),
            ("classes", f"{answer['classes']:,}, beginning with {first}"),
            ("boxes", f"{boxes:,}" if boxes else None),
            ("licence", answer["licence"]),
            ("squares", f"{answer['size']}, {answer['encoding']}"),
            ("room", f"{(needed or 0) / 1e9:.2f} GB needed, {answer['bytes_free'] / 1e9:.1f} GB free" if needed else None),
        ]
    )
    write(faint("nothing was written: leave --dry-run out to prepare it."))


def show_prepare(answer):
    if answer.get("dry_run"):
        return show_recognised(answer)
    table(
        ("split", "pictures", "refused", "classes"),
        [
            (name, f"{one['images']:,}", f"{one['refused']:,}", f"{one['classes']:,}")
            for name, one in answer["splits"].items()
        ],
    )
    write()
    facts(
        [
            ("store", strong(answer["store"])),
            ("squares", f"{answer['size']} x {answer['size']}, {answer['encoding']}"),
            ("took", f"{answer['seconds']:.1f} s, {answer['images_per_second']:,.0f} pictures/s"),
        ]
    )


def show_nets(rows):
    if isinstance(rows, dict):
        return write(f"{', '.join(rows['nets'])}: {strong(rows['file'])}")
    if len(rows) != 1:
        heads = ("net", "picture", "classes", "parameters", "multiply-adds", "neurons", "")
        table(
            heads,
            [
                (
                    row["name"],
                    f"{row['crop']} x {row['crop']}",
                    row["classes"],
                    large(row["parameters"]),
                    large(row["multiply_adds"]),
                    large(row["neurons"]),
                    row["title"],
                )
                for row in rows
            ],
            texts=(0, 6),
        )
        write(faint("\nalexnet nets NAME prints the layers of one."))
        return
    row = rows[0]
    write(f"{strong(row['name'])}: {row['title']}\n")
    table(
        ("layer", "kind", "output", "parameters", "multiply-adds", "neurons"),
        [
            ("picture", "", f"3 x {row['crop']} x {row['crop']}", "", "", ""),
            *(
                (
                    one["name"],
                    one["kind"],
                    " x ".join(str(side) for side in one["output"]),
                    *(f"{one[key]:,}" if one.get(key) else "" for key in ("parameters", "multiply_adds", "neurons")),
                )
                for one in row["layers"]
            ),
            ("all", "", "", *(f"{row[key]:,}" for key in ("parameters", "multiply_adds", "neurons"))),
        ],
        texts=(0, 1),
    )


def show_epoch(line, so_far):
    heads = ("epoch", "train loss", "val loss", "top-1 error", "top-5 error", "rate", "pictures/s")
    if not so_far.count:
        write(faint("  ".join(f"{head:>11}" for head in heads)))
    cells = (
        f"{line['epoch']:g}",
        number(line.get("train_loss")),
        number(line.get("log_loss")),
        percent(line.get("val_top1_error")),
        percent(line.get("val_top5_error")),
        f"{line.get('lr') or 0:.2g}",
        f"{line.get('images_per_second') or 0:,.0f}",
    )
    write("  ".join(f"{cell:>11}" for cell in cells))


def show_evaluate(answer):
    models, plain, before = answer["models"], answer.get("plain"), answer.get("before")
    if plain:
        models = [f"{model} (weight {weight:.3f})" for model, weight in zip(models, answer["weights"])]
    facts(
        [
            ("top-1 error", strong(percent(answer["top1_error"])) + _between(answer.get("top1_interval"))),
            ("top-5 error", strong(percent(answer["top5_error"])) + _between(answer.get("top5_interval"))),
            ("log loss", number(answer["log_loss"]) + _between(answer.get("log_loss_interval"), number)),
            ("calibration error", percent(answer.get("ece"), 2) + faint(_by_chance(answer)) if "ece" in answer else None),
            ("before", before and f"log loss {number(before['log_loss'])}, calibration error {percent(before['ece'], 2)}"),
            ("temperature", _temperatures(answer)),
            ("weights fitted on", answer.get("fitted_on")),
            ("plain average", plain and f"top-1 error {percent(plain['top1_error'])}{_between(plain['top1_interval'])}"),
            ("", plain and f"top-5 error {percent(plain['top5_error'])}, log loss {number(plain['log_loss'])}"),
            (
                "measured on",
                f"{count(answer['images'], 'picture')}, {count(answer['views'], 'view')}"
                + (f", {answer['refused']:,} refused and not counted" if answer.get("refused") else ""),
            ),
            *(("refused", f"{one['path']}: {one['reason']}") for one in answer.get("refused_pictures", ())),
            ("models", ", ".join(map(str, models)) if isinstance(models, list) else models),
            ("note", answer.get("note")),
        ]
    )
    for key, show in EVALUATED.items():
        if key in answer:
            write()
            show(answer)


def _between(interval, shown=percent):
    low, high = interval or (None, None)
    return "" if low is None else f"   (95 % interval {shown(low)} to {shown(high)})"


def _by_chance(answer):
    return f"   ({answer['ece_bins']} equal bins of confidence; chance alone gives about {percent(answer['ece_by_chance'], 2)})"


def _temperatures(answer):
    now, before = (found.get("temperatures", ()) for found in (answer, answer.get("before", {})))
    said = ", ".join(map(number, now))
    if before:
        said += f", fitted on {answer['temperature_fitted_on']} and kept in the weights file"
        said += f" (before: {', '.join(map(number, before))})"
    return said if {*now, *before} - {1.0} else None


def _errors(one):
    return tuple(
        text
        for key in ("top1", "top5")
        for text in (percent(one[f"{key}_error"]), " to ".join(percent(end) for end in one[f"{key}_interval"]))
    )


def show_each(answer):
    heads = ("model", "top-1", "95 % interval", "top-5", "95 % interval", "log loss")
    table(heads, [(one["model"], *_errors(one), number(one["log_loss"])) for one in answer["each"]])
    means = (
        f"{name} {percent(answer[f'mean_{key}'], 2)} ± {percent(answer[f'spread_{key}'], 2)}"
        for name, key in (("top-1", "top1_error"), ("top-5", "top5_error"))
    )
    write(f"mean and standard deviation over {len(answer['each'])} models: {', '.join(means)}")


def show_comparison(answer):
    found = answer["comparison"]
    write(strong(found["verdict"]))
    first, second = found["models"]
    facts(
        [
            ("both right", f"{found['both_right']:,}"),
            ("only the first", f"{found['only_first']:,}   {first}"),
            ("only the second", f"{found['only_second']:,}   {second}"),
            ("both wrong", f"{found['both_wrong']:,}"),
            ("second less first", f"top-1 error {_apart(found, 'top1', lambda value: percent(value, 2))}"),
            ("", f"log loss {_apart(found, 'log_loss', lambda value: number(value, 4))}"),
            ("test", f"{found['test']}: p = {found['p']:.2g}"),
        ]
    )


def _apart(found, key, shown):
    return shown(found[f"{key}_difference"]) + _between(found[f"{key}_difference_interval"], shown)


def show_classes(answer):
    heads = ("class", "pictures", "top-1", "95 % interval", "top-5", "95 % interval")
    table(heads, [(one["name"], f"{one['images']:,}", *_errors(one)) for one in answer["classes"] if one["images"]])
    if without := [one["name"] for one in answer["classes"] if not one["images"]]:
        write(f"without a picture: {', '.join(without)}")
    write()
    rows = [(one["true_name"], one["answered_name"], f"{one['count']:,}", f"{one['images']:,}") for one in answer["confused"]]
    table(("most often confused", "answered", "times", "of"), rows, texts=(0, 1))


def show_budget(answer):
    heads = ("views", "top-1", "95 % interval", "top-5", "95 % interval", "passes a picture", "pictures/s (one run)")
    rows = [(one["views"], *_errors(one), one["forward_passes"], f"{one['images_per_second']:,.1f}") for one in answer["budget"]]
    table(heads, rows, texts=())


EVALUATED = {"each": show_each, "comparison": show_comparison, "classes": show_classes, "budget": show_budget}


def show_picture(answer, so_far):
    if "error" in answer:
        print(f"alexnet: {answer['path']}: {answer['error']}", file=sys.stderr, flush=True)
        return
    if so_far.file:  # the answers are in it
        return
    if so_far.count:
        write()
    write(strong(answer["path"]))
    for one in answer["top"]:
        write(
            f"{percent(one['probability']):>9}  {one['name']}"
            + (faint(f"  {one['id']}") if one["id"] != one["name"] else "")
        )


def show_explain(answer):
    facts(
        [("report", strong(answer["report"])), ("figures", ", ".join(answer["figures"])), ("note", answer.get("note"))]
    )


def show_demo(answer):
    chance = answer["chance_top1_error"]
    one, ten = answer["evaluations"]
    write()
    table(
        ("error on pictures never trained on", "one view", "ten views", "chance"),
        [
            ("top-1", percent(one["top1_error"]), percent(ten["top1_error"]), percent(chance)),
            ("top-5", percent(one["top5_error"]), percent(ten["top5_error"]), percent(answer["chance_top5_error"])),
        ],
    )
    write(f"\n{answer['verdict']}")
    write(f"\nThe report: {strong(answer['report'])}\n\nNow try:")
    for command in answer["next"]:
        write(f"  {command}")


ONE = {"train": show_epoch, "predict": show_picture}
ALL = {
    "prepare": show_prepare,
    "nets": show_nets,
    "evaluate": show_evaluate,
    "explain": show_explain,
    "demo": show_demo,
}
