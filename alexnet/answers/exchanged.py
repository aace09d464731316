"""How the answers of `alexnet export` and `alexnet convert` are printed."""

from alexnet.printing import facts, faint, large, percent, strong, write


def show_export(made):
    for place, one in enumerate(made):
        if place:
            write()
        found = one.get("scored")
        facts([
            (one["format"], strong(one["file"]) + faint(f"   {one['bytes'] / 1e6:,.1f} MB")),
            ("beside", ", ".join(file for file in one["files"] if file != one["file"])),
            ("takes", one.get("tensor") is not None and ("centred pictures, float32" if one["tensor"] else
                                                         "a raw picture, uint8 (H, W, 3), RGB, upright") or None),
            ("top-1 error", found and _error(found, "top1")),
            ("top-5 error", found and _error(found, "top5")),
            ("apart", found and f"probabilities by {found['largest_difference']:.1e} at most, {found['images']:,} pictures of "
                                f"{found['split']}, {found['by']}"),
            ("uploaded", one.get("uploaded")),
        ])


def _error(found, key):
    return (f"{percent(found[f'{key}_error'], 2)}, of the net itself {percent(found[f'own_{key}_error'], 2)}: "
            f"{100 * found[f'{key}_difference']:+.2f} points")


def show_convert(answer):
    parity = answer["parity"]
    facts([
        ("weights", strong(answer["out"]) + faint(f"   {answer['bytes'] / 1e6:,.1f} MB")),
        ("from", f"{answer['file']} ({answer['format']})"),
        ("net", f"{answer['net']}, {large(answer['parameters'])} parameters, {answer['classes']:,} classes, {answer['crop']} of "
                f"{answer['size']} pixels"),
        ("parity", f"{parity['runtime']} gives the same within {parity['largest_difference']:.1e}, the largest value being "
                   f"{parity['largest_value']:.3g}" if parity["compared"] else f"not compared: {parity['why']}"),
        ("note", answer["note"]),
        ("took", f"{answer['seconds']:.1f} s"),
    ])
