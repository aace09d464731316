"""How the answer of `alexnet evaluate` is printed: the errors, and below them whatever else was asked for."""

from alexnet.printing import count, facts, faint, number, percent, strong, table, write


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
                + (f", {answer['refused']:,} refused and not counted" if answer.get("refused") else "")
                + (f", {answer['left_out']:,} left out that look like pictures of train" if answer.get("left_out") else ""),
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
