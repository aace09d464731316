"""A store as a source: its pictures are squares already, so they go into another store as they are, and parts made elsewhere
are joined (prepare --merge) into what one prepare of all of them would have written. With --size they are resampled."""

import os

from alexnet.data import store as stores
from alexnet.data.sources.listing import Class, Entry, Source
from alexnet.errors import Refused

LAYOUT = "a store made by alexnet prepare"


def read(path):
    names = stores.splits(path)
    if not names:
        return None
    splits = {name: stores.open_split(path, name) for name in names}
    first = splits[names[0]]
    licence = next((one.card["licence"] for one in splits.values() if one.card["licence"]), "")
    notes = [f"{name} was made without {count:,} {what}" for name, one in splits.items()
             for count, what in ((one.refused, "refused pictures"), (one.left_out, "that look like pictures of train")) if count]
    entries = {name: _entries(one) for name, one in splits.items()}
    return Source("a store", path, tuple(first.classes), entries, licence, notes, size=first.size, encoding=first.encoding,
                  resampling=first.resampling)


def _entries(split):
    shape = (split.size, split.size, 3) if split.encoding == "raw" else None
    boxes = [None] * len(split) if split.boxes is None else [None if box[0] < 0 else tuple(box) for box in split.boxes.tolist()]
    return [
        Entry(name, label, path, box, offset, length, shape)
        for name, label, box, (path, offset, length) in zip(split.names, split.labels.tolist(), boxes, split.places())
    ]


def joined(sources):
    """Several sources as one: the same classes counted once, the same picture in two of them refused."""
    classes = {}
    for source in sources:
        for one in source.classes:
            if classes.setdefault(one.id, one.name) != one.name:
                raise Refused(f"{source.path} calls the class {one.id} {one.name!r}, and {sources[0].path} {classes[one.id]!r}: "
                              "make them agree first.")
    label_of = {name: label for label, name in enumerate(sorted(classes))}
    splits = {}
    for source in sources:
        for name, entries in source.splits.items():
            splits.setdefault(name, []).extend(
                entry._replace(label=label_of[source.classes[entry.label].id]) for entry in entries
            )
    for name, entries in splits.items():
        seen = set()
        for entry in entries:
            if entry.name in seen:
                raise Refused(f"{entry.name} is in {name} of two of the stores to be joined: every part must hold other pictures.")
            seen.add(entry.name)
    sizes = {source.path: source.size for source in sources}
    if len(set(sizes.values())) > 1:
        raise Refused(f"the stores to be joined are of other sizes ({', '.join(f'{p}: {s}' for p, s in sizes.items())}): "
                      "prepare them alike.")
    if len({source.resampling for source in sources} - {None}) > 1:
        raise Refused(f"the pictures of the stores to be joined were made small in other ways "
                      f"({', '.join(f'{source.path}: {source.resampling}' for source in sources)}): prepare them alike.")
    licence = next((source.licence for source in sources if source.licence), "")
    notes = [f"joined from {len(sources)} stores: {', '.join(os.path.basename(source.path) for source in sources)}"]
    notes += [note for source in sources for note in source.notes]
    united = tuple(Class(id, classes[id]) for id in sorted(classes))
    first = sources[0]
    return Source("stores", first.path, united, splits, licence, notes, size=first.size, encoding=first.encoding,
                  resampling=next((source.resampling for source in sources if source.resampling), None))
