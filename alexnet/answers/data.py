"""How prepare and inspect answer."""

from alexnet.printing import count, facts, faint, painted, strong, table, write


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
            ("squares", ", ".join(filter(None, (str(answer["size"]), answer["encoding"], answer["resampling"])))),
            ("room", f"{(needed or 0) / 1e9:.2f} GB needed, {answer['bytes_free'] / 1e9:.1f} GB free" if needed else None),
        ]
    )
    write(faint("nothing was written: leave --dry-run out to prepare it."))


def show_prepare(answer):
    if answer.get("dry_run"):
        return show_recognised(answer)
    splits = answer["splits"]
    heads = {"images": "pictures", "refused": "refused", "left_out": "left out", "classes": "classes"}
    if not any(one.get("left_out") for one in splits.values()):
        del heads["left_out"]
    table(("split", *heads.values()), [(name, *(f"{one.get(key, 0):,}" for key in heads)) for name, one in splits.items()])
    write()
    facts(
        [
            ("store", strong(answer["store"])),
            ("squares", f"{answer['size']} x {answer['size']}, {answer['encoding']}"),
            ("took", f"{answer['seconds']:.1f} s, {answer['images_per_second']:,.0f} pictures/s"),
        ]
    )


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
