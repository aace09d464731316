"""How nets, train, explain and demo answer."""

from alexnet.printing import count, facts, faint, large, number, percent, strong, table, write


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


def show_rates(found):
    facts(
        [
            ("falls fastest at", f"{found['proposed_rate']:.2g}"),
            ("is lowest at", f"{found['lowest_loss_rate']:.2g}"),
            ("the recipe has", f"{found['recipe_rate']:.2g}"),
            ("figure", found["figure"]),
        ]
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


def show_explain(answer):
    folder = answer["figures"][0].rpartition("/")[0] if answer["figures"] else None
    figures = folder and f"{count(len(answer['figures']) // 2, 'figure')} in {folder}, each as .png and .svg"
    facts([("report", strong(answer["report"])), ("figures", figures), ("note", answer.get("note"))])


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
