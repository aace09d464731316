"""How predict, features, search and transfer answer."""

import sys

from alexnet.printing import count, facts, faint, painted, percent, strong, write


def show_picture(answer, so_far):
    if "error" in answer:
        print(f"alexnet: {answer['path']}: {answer['error']}", file=sys.stderr, flush=True)
        return
    if so_far.file:  # the answers are in it
        return
    if so_far.count:
        write()
    write(strong(answer["path"]) + faint("  unknown: none of the classes is likely enough") * answer.get("unknown", False))
    for one in answer["top"]:
        write(
            f"{percent(one['probability']):>9}  {one['name']}"
            + (faint(f"  {one['id']}") if one["id"] != one["name"] else "")
        )


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
           ("more pictures", outlook and f"{outlook['images']:,} for training might bring the probe to "
                                         f"{percent(outlook['top1_error'])} wrong"),
           ("labels to look at", len(answer.get("doubted", ())) or None), ("licence", answer["licence"]),
           ("against before", answer.get("previous") and f"{answer['advice']}: {answer['previous']['verdict']}"),
           ("took", f"{answer['seconds']:.1f} s")])
    write(faint(f"alexnet predict PICTURE --model {answer['model']}"))
