"""The head of a report: which net, on what, and its measured errors beside chance."""

from html import escape


def head(subject):
    clf, card = subject.clf, subject.card
    recipe, images = card.get("recipe", {}).get("name"), card.get("data", {}).get("images")
    data = f" on <strong>{images:,}</strong> pictures" if images else ""
    how = f", trained{data} with the recipe <strong>{escape(recipe)}</strong>" if recipe else ""
    note = f'<p class="note">{escape(card["note"])}</p>' if card.get("note") else ""
    if subject.doubt:
        note += f'<p class="note">{escape(subject.doubt)}</p>'
    if subject.unfinished:
        note += '<p class="note">The run is not over: this page looks again by itself.</p>'
    return (
        f'<p class="eyebrow">AlexNet report</p><h1>{escape(subject.title)}</h1>'
        f'<p class="lead">The net <strong>{escape(card["net"])}</strong>, {escape(subject.row.title)}{how}, tells '
        f"<strong>{len(clf.classes):,}</strong> classes apart.</p>{note}"
        f"{_errors(len(clf.classes), measures(card, subject.log), subject.doubt)}"
    )


def measures(card, log):
    """One measurement a number of views, the fewest first: what `evaluate` found last, else what the card says."""
    found = {}
    for one in [*card.get("errors", []), *(event for event in log if event["event"] == "evaluate")]:
        found[one.get("views", 1)] = one
    return [found[views] for views in sorted(found)]


def _errors(classes, measured, doubt):
    if not measured:
        return '<p class="note">No error is known: alexnet evaluate measures one.</p>'
    first = measured[0]
    split = str(first.get("split", "val"))
    known = ", the very pictures it was trained on" if split == "train" else "" if doubt else ", none of them trained on"
    said = f"Measured on {first['images']:,} pictures of <em>{escape(split)}</em>{known}."
    if any(one.get("selected_on") or "was chosen" in one.get("note", "") for one in measured):
        said += " They also decided which epoch's weights were kept, so these errors lean a little to the good side."
    return f'{tiles(classes, measured)}<p class="note">{said}</p>'


def tiles(classes, measured):
    """Top-1 and top-5 error a measurement, each beside chance."""
    found = []
    if not measured:
        return ""
    for key, places in (("top1", 1), ("top5", 5)):
        chance = 1 - min(places, classes) / classes
        found += [_tile(one, key, places, chance) for one in measured if one.get(f"{key}_error") is not None]
    return f'<div class="measures">{"".join(found)}</div>'


def _tile(one, key, places, chance):
    error, interval = one[f"{key}_error"], one.get(f"{key}_interval")
    views = {1: "one view", 10: "ten views"}.get(one.get("views", 1), f"{one.get('views')} views")
    within = f"95&nbsp;% interval {100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval else "&nbsp;"
    return (
        f'<div class="measure"><h3>Top-{places} error, {views}</h3>'
        f'<p class="value">{100 * error:.1f}<small> %</small></p>'
        f'<p class="within">{within}</p><div class="track"><i style="width:{100 * error:.1f}%"></i>'
        f'<b style="left:{100 * chance:.1f}%"></b></div><p class="chance"><b></b>chance {100 * chance:.1f} %</p></div>'
    )
