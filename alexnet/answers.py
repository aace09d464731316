"""What a verb answers, on stdout: one JSON object a line, or a table for people. The standard library is enough."""

import json
import shutil
import sys
from types import NoneType

from alexnet.evaluated import show_evaluate
from alexnet.printing import count, facts, faint, large, number, painted, percent, strong, table, write

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
        if self.verb == "features" and answer["refused"]:
            self.code = 1
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


def show_inspect(answer, so_far):
    inside = {name: {kind: sum(two.values()) for kind, two in kinds.items()} for name, kinds in answer["pairs"].items()}
    rows = []
    for name, one in answer["splits"].items():
        copies = (inside.get(name, {}).get(kind, 0) for kind in ("exact", "near"))
        rows.append((name, *(f"{value:,}" for value in (one["images"], one["refused"], len(one["empty_classes"]), *copies))))
    table(("split", "pictures", "refused", "empty classes", "exact copies", "near copies"), rows)
    write()
    for one in answer["findings"]:
        write(f"{painted('!', '1;31')} {strong(one['said'])}" if one["serious"] else f"- {one['said']}")
        write(faint(f"  {one['do']}"))
    if not answer["findings"]:
        write("nothing odd was found")
    write()
    facts([("page", strong(answer["report"])), ("every pair", answer["pairs_file"]), ("took", f"{answer['seconds']:.1f} s")])


def show_bench(answer):
    here, training, used = answer["conditions"], answer.get("training"), answer.get("inference")
    write(f"{strong(answer['net'])} on {here['device']} ({here['device_name']}, {count(here['threads'], 'thread')}), "
          f"{here['precision']}, {answer['size']} x {answer['size']}, {answer['classes']:,} classes\n")
    rows = [(name.replace("_", " "), one["pictures_per_second"], one) for name, one in answer["stages"].items()]
    rows += [(name, one["pictures_per_second"], one) for name, one in (("training, whole", training), ("in use", used)) if one]
    longest, room = max(1 / rate for _, rate, _ in rows), min(shutil.get_terminal_size((100, 24)).columns - 64, 30)
    table(("stage", "pictures/s", "ms a picture", "of the ceiling", ""), [
        (name, f"{rate:,.0f}", f"{1000 / rate:,.3g}", *ceiling(one), bar(1 / rate / longest, room)) for name, rate, one in rows
    ], texts=(0, 4))
    write()
    gpu = training and training["device_memory_mb"]
    facts([
        ("ceiling", ", ".join(f"{of} {rate / 1e9:,.3g} {'GB/s' if of in ('copy', 'to_device') else 'GFLOP/s'}"
                              for of, rate in answer["ceiling"].items())),
        ("training", training and f"{training['seconds_per_step']:.3g} s a step of {training['batch_size']}, median of "
                                  f"{training['steps']}; the first after {training['seconds_to_first_step']:.1f} s"),
        ("in use", used and f"{used['engine']}: {used['seconds_per_batch']:.3g} s for {used['batch_size']}, "
                            f"median of {used['runs']}"),
        ("because", used and used["why"]),
        *((precision, gated(one)) for precision, one in answer.get("gate", {}).items()),
        ("weights", used["weights"] if used else "random"),
        ("pictures", f"{answer['pictures']['what']}, {answer['pictures']['bytes'] / 1000:,.0f} kB each"),
        ("beside", f"other work, a load of {here['load']:.1f} when this began: quiet machines are faster"
         if (here["load"] or 0) > 0.75 * here["cores"] else None),
        ("memory", f"{answer['peak_memory_mb']:,} MB at most{f', {gpu:,} MB on the device' if gpu else ''}; {here['allocator']}"),
    ])
    write(f"\n{strong(answer['bottleneck'])}")


def gated(one):
    """May these weights be used so?"""
    verdict = {True: "passed", False: "failed, and is not used", None: "not known here"}[one["passed"]]
    return (f"{verdict}: {100 * one['difference']:+.2f} points of top-1 error, {100 * one['limit']:.1f} allowed "
            f"({one['images']:,} pictures of {one['split']})" + (f"; {one['note']}" if one.get("note") else ""))


def ceiling(one):
    return [f"{percent(one['share_of_ceiling'], 0)} {one['ceiling']:<8}"] if "share_of_ceiling" in one else [""]


def bar(share, room):
    """As long as its share of the room; a narrow terminal has none."""
    solid = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return faint(solid * round(share * room)) if room >= 8 else ""


def show_doctor(answer):
    here, memory, choices = answer["processor"], answer["memory"], {}
    for name, each in answer["ops"].items():
        for kind, one in each.items():
            choices.setdefault((f"on {kind}", f"{one['backend']}, {one['why']}"), []).append(name)
    facts([
        ("versions", ", ".join(f"{name} {version}" for name, version in answer["versions"].items())),
        ("not there", ", ".join(f"{name} ({how})" for name, how in answer["missing"].items())),
        ("processor", f"{here['name']}, {count(here['cores'], 'core')}: {', '.join(here['units'])}; "
                      f"torch uses {here['torch_uses']}, {count(here['threads'], 'thread')}"),
        ("memory", f"{(memory['bytes'] or 0) / 1e9:.1f} GB, {memory['free'] / 1e9:.1f} GB free"),
        ("allocator", answer["allocator"]),
        *(("GPU", f"{one['name']}, {one['bytes'] / 1e9:.0f} GB, {one['free'] / 1e9:.0f} GB free") for one in answer["devices"]),
        ("device", answer["device"] + ("" if answer["devices"] else "; there is no CUDA device")),
        ("precision", f"auto is {answer['precision']['auto']}: {answer['precision']['why']}"),
        *((kind, f"{', '.join(names)}: {choice}") for (kind, choice), names in choices.items()),
        *(("engine", f"{one['name']}{'' if one['usable'] else ', not usable'}: {one['why']}") for one in answer["engines"]),
        ("--compile", answer["compile"] or "no C++ compiler: nets run as they are"),
        ("decoding", answer["decoder"]),
        ("cache", f"{answer['cache']['folder']}, {answer['cache']['bytes'] / 1e6:.1f} MB"),
        ("disk", f"{answer['disk_free'] / 1e9:.1f} GB free here"),
        *(("ships", f"{one['name']}, {one['bytes'] / 1e6:.1f} MB: "
                    + (one.get("error") or f"{one['net']}, {one['classes']:,} classes")) for one in answer["shipped"]),
    ])
    write()
    for line in answer["do"]:
        write(f"{painted('!', '1;31')} {strong(line)}")
    if not answer["do"]:
        write("Nothing is odd.")


def show_features(answer):
    facts([("features", strong(answer["out"])), ("layer", f"{answer['layer']}, {answer['units']:,} numbers a picture"),
           ("pictures", f"{answer['images']:,}"), ("took", f"{answer['seconds']:.1f} s")])
    if answer["refused"]:
        write(faint(f"{count(answer['refused'], 'picture')} cannot be read, their rows are NaN:"))
    for one in answer["refused_pictures"]:
        write(faint(f"  {one['path']}: {one['error']}"))


def show_found(answer, answers):
    """Of search: what was made, or the neighbours of one picture."""
    if "index" in answer:
        near = answer.get("approximate")
        recall = near and (f"{percent(near['recall'])} of the {near['recall_of']} nearest, from {near['probes']} of "
                           f"{near['lists']:,} lists")
        return facts([("index", strong(answer["index"])), ("pictures", f"{answer['images']:,}"),
                      ("added", answer.get("added") and f"{answer['added']:,}"),
                      ("taken out", answer.get("removed") and f"{answer['removed']:,}"),
                      ("unreadable", answer.get("refused") and f"{answer['refused']:,}"),
                      ("layer", answer.get("layer") and f"{answer['layer']}, {answer['units']:,} numbers a picture"),
                      ("approximate", recall),
                      ("size", answer.get("bytes") and f"{answer['bytes'] / 1e6:,.1f} MB"),
                      ("took", answer.get("seconds") and f"{answer['seconds']:.1f} s")])
    write(strong(answer["path"]) if "neighbours" in answer else f"{answer['path']}: {painted(answer['error'], 31)}")
    for one in answer.get("neighbours", ()):
        write(f"  {one['distance']:>9.4g}  {one.get('class', '').split(',')[0]:<20} {faint(one['path'])}".rstrip())


def show_transfer(answer):
    one, ten = answer["errors"]
    low, high = one["top1_interval"]
    accepted, outlook = answer["accepted"], answer.get("outlook")
    facts([("model", strong(answer["model"])), ("kept", answer["kept"]), ("classes", answer["classes"]),
           ("error", f"{percent(one['top1_error'])} ({percent(low)} to {percent(high)}) of {one['images']:,} held-out pictures; "
                     f"ten views {percent(ten['top1_error'])}"),
           ("unknown", f"below {percent(answer['unknown_below'])}: keeps {percent(accepted['right'])} of right answers, "
                       f"{percent(accepted['wrong'])} of wrong ones, {percent(accepted['foreign'])} of foreign pictures"),
           ("more pictures", outlook and f"{outlook['images']:,} for training might bring {percent(outlook['top1_error'])} wrong"),
           ("labels to look at", len(answer.get("doubted", ())) or None), ("licence", answer["licence"]),
           ("against before", answer.get("previous") and f"{answer['advice']}: {answer['previous']['verdict']}"),
           ("took", f"{answer['seconds']:.1f} s")])
    write(faint(f"alexnet predict PICTURE --model {answer['model']}"))


ONE = {"train": show_epoch, "predict": show_picture, "inspect": show_inspect, "search": show_found}
ALL = {
    "prepare": show_prepare,
    "nets": show_nets,
    "evaluate": show_evaluate,
    "features": show_features,
    "transfer": show_transfer,
    "explain": show_explain,
    "demo": show_demo,
    "bench": show_bench,
    "doctor": show_doctor,
}
