"""A weights file without torch: which file a MODEL means, its card, its tensors as numpy arrays, and one name for its content.
weights.py has the same file as a net."""

import json
import os
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from alexnet.errors import Misused, Refused, nearest
from alexnet.nets.layers import PARTS
from alexnet.places import cache_folder, digest
from alexnet.rundir import replace_file

REPLACEABLE = os.name != "nt"  # Windows lets nobody replace an open file
FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped"
SCALE = ".scale"  # beside a tensor of bytes: what each of its outputs is multiplied by
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1", "BOOL": "?"}


def find(model=None):
    """The weights file that a MODEL means: a name that ships, a run folder (its best, else its last), a file, or what is fetched:
    `torchvision` and `hf:OWNER/REPO`."""
    path = Path(model or "default")
    if (str(model) == "torchvision" or str(model).startswith("hf:")) and not path.exists():
        return fetched(str(model))
    ships = {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}
    if str(path) in ships and not path.exists():
        return ships[str(path)]
    if path.is_dir():
        for name in ("best", "last"):
            if (path / "checkpoints" / name / "weights.safetensors").exists():
                return path / "checkpoints" / name / "weights.safetensors"
        raise Refused(f"{path} has no checkpoint in it; it is not a run folder, or nothing was saved yet.")
    if not path.is_file():
        raise Misused(f"there is no model {str(path)!r}: name a run folder, a weights file, or one that ships; "
                      f"{nearest(path, ships)}")
    return path


def fetched(model):
    """A weights file of ours made from what is fetched, once, in the cache folder."""
    from alexnet.exchange import fetch

    name, read = fetch.source(model)
    file = cache_folder() / "models" / f"{name}.safetensors"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_found(file, read(own))
    return file


def own(path):
    """(card, tensors) of a file that we wrote; None for another program's safetensors."""
    with open(path, "rb") as file:
        try:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), 100_000_000)))
        except ValueError:
            return None
    if "card" not in header.get("__metadata__", {}):
        return None
    with WeightsFile(path) as stored:
        return stored.card, stored.everything()


def card(row, *, classes, size, centring, resampling=None, **facts):
    """What every weights file says of itself; facts: recipe, data, errors, epoch, note, temperature. resampling: of its store."""
    from alexnet.data.picture import RESAMPLING

    known = {"recipe": {}, "data": {}, "errors": [], "epoch": 0, "note": "", "temperature": 1.0}
    return {"format": FORMAT, "net": row.name, "row": row.spec(), "classes": [list(c) for c in classes], "size": size,
            "crop": row.crop, "resampling": resampling or RESAMPLING, "centring": centring, **known, **facts}


def stage(one):
    """One training of the one or several that made the weights."""
    recipe = one["recipe"]
    return recipe.get("name", "unnamed") + "".join((  # other programs' files know less
        f", {one['epochs']} epoch{'s' * (one['epochs'] != 1)}" * bool(one["epochs"]),
        f" of batches of {recipe['batch_size']}" if "batch_size" in recipe else "",
        f" at a rate of {recipe['rate']}" if "rate" in recipe else "", f" on {one['device']}" if "device" in one else ""))


def within(interval):
    return f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""


def told(card):
    """A card on one screen, a line a fact."""
    data, made = card["data"], [*card.get("before", ()), {"recipe": card["recipe"], "epochs": card["epoch"]}]
    yield "net", f"{card['net']}, {card['row']['title']}; {len(card['classes']):,} classes, pictures of {card['size']} pixels"
    if "images" in data:
        yield "learnt from", f"{data['images']:,} pictures" + (f" of {data['name']}" if "name" in data else "")
    if data.get("licence"):
        yield "licence", data["licence"]
    if card["recipe"]:
        yield "recipe", ", then ".join(map(stage, made))
    for one in card["errors"]:
        views = "one view" if one.get("views", 1) == 1 else f"{one['views']} views"
        where = f" on {one['images']:,} pictures of {one.get('split', 'val')}" if "images" in one else ""
        ranges = [f"top-{top} {one[f'top{top}_error']:.1%}" + within(one.get(f"top{top}_interval"))
                  for top in (1, 5) if one.get(f"top{top}_error") is not None]
        yield "error", f"{', '.join(ranges)}{where}, {views}"
    several = "".join(f", of {views} views {own:.3f}" for views, own in card.get("temperature_of_views", {}).items())
    yield "temperature", f"{card['temperature']:.3f}{several}"
    if card.get("confused"):
        yield "confused", ", ".join(f"{one['true_name']} for {one['answered_name']} ({one['count']} of {one['images']})"
                                    for one in card["confused"][:5])
    if card["note"]:
        yield "note", card["note"]


def write_found(path, found):
    """What exchange/ found in a foreign file, as a weights file of ours."""
    from safetensors.numpy import save

    made = card(found.row, classes=found.classes, size=found.size, centring="colour" if found.mean.shape[1:] == (1, 1) else "image")
    kept = ("recipe", "data", "errors", "epoch", "note", "temperature", "temperature_of_views", "unknown_below", "resampling")
    made |= {key: value for key, value in found.facts.items() if key in kept}
    content = save({**found.tensors, "mean": found.mean}, metadata={"card": json.dumps(made)})
    replace_file(Path(path), content)
    return made


def read_card(model=None):
    """The card alone, without reading the tensors."""
    with WeightsFile(model) as stored:
        return stored.card


def checked(metadata, path):
    """The card of a header's metadata; refused where there is none, or one of another format."""
    if "card" not in metadata:
        raise Refused(f"{path} carries no card: it was not written by alexnet; convert it first.")
    found = json.loads(metadata["card"])
    if found["format"] != FORMAT:
        raise Refused(f"{path} has format {found['format']}, this version reads {FORMAT}.")
    return found


def same_classes(card, split, what):
    """Refuse a pairing of weights and store that speak of different classes."""
    ids, others = [c[0] for c in card["classes"]], [c[0] for c in split.classes]
    if ids != others:
        odd = next((f"{a} against {b}" for a, b in zip(ids, others) if a != b), f"{len(ids)} against {len(others)} classes")
        raise Refused(f"{what} was trained on other classes than {split.path} holds ({odd}); name a store of the same classes.")
    if card["size"] != split.size:
        raise Refused(f"{what} takes pictures of {card['size']} pixels, {split.path} holds {split.size}: "
                      f"prepare the source again with --size {card['size']}.")


class WeightsFile:
    """with WeightsFile(model) as stored: opened once, so that a run which puts a newer file in its place mixes nothing up. kept: it
    stays open, and `with stored.again():` reads the same weights though another file has their place by then; where that could not
    be, it is closed and opened again."""

    def __init__(self, model=None, *, kept=False):
        self.path, self.kept = find(model), kept and REPLACEABLE

    def __enter__(self):
        self.file = open(self.path, "rb")
        try:
            self.header, self.start = self._header()
            self.card = checked(self.header.pop("__metadata__", {}), self.path)
        except BaseException:
            self.file.close()
            raise
        return self

    def __exit__(self, *error):
        if not self.kept or error[0]:
            self.file.close()

    @contextmanager
    def again(self):
        if not self.kept:
            self.file = open(self.path, "rb")
        try:
            if digest(self.file, self.start) != self.digest:
                raise Refused(f"{self.path} holds other weights than when it was loaded: load it again.")
            yield self
        finally:
            if not self.kept:
                self.file.close()

    def _header(self):
        whole = os.fstat(self.file.fileno()).st_size
        length = int.from_bytes(self.file.read(8), "little")
        try:
            if length > whole - 8:
                raise ValueError("its header is cut off")
            header = json.loads(self.file.read(length))
            ends = [facts["data_offsets"][1] for name, facts in header.items() if name != "__metadata__"]
            if 8 + length + max(ends, default=0) != whole:
                raise ValueError(f"{whole:,} bytes where {8 + length + max(ends, default=0):,} belong")
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise self._damaged(error) from error
        return header, 8 + length

    def _damaged(self, error):
        return Refused(f"{self.path} is not a whole safetensors file ({error}); train or convert it again.")

    @cached_property
    def digest(self):
        """One name for the tensors; another temperature in the card leaves it as it is."""
        return digest(self.file, self.start)

    def arrays(self):
        """Name -> array of all that one view asks for."""
        return {name: value for name, value in self.everything().items() if not name.startswith(PARTS)}

    def everything(self):
        """Name -> array: floating-point ones as float32 whatever they are stored in, in one piece of memory where they are
        float32 already."""
        self.file.seek(self.start)
        content, found = np.fromfile(self.file, np.uint8), {}
        for name, facts in self.header.items():
            try:
                value = content[slice(*facts["data_offsets"])].view(TYPES[facts["dtype"]]).reshape(facts["shape"])
            except (KeyError, ValueError) as error:
                raise self._damaged(f"{name}: {error}") from error
            if facts["dtype"] == "BF16":  # the upper half of a float32
                value = (value.astype(np.uint32) << 16).view(np.float32)
            found[name] = value.astype(np.float32, copy=False) if value.dtype.kind == "f" else value
        for name in [name.removesuffix(SCALE) for name in found if name.endswith(SCALE)]:
            scale = found.pop(name + SCALE)
            found[name] = found[name] * scale.reshape(-1, *[1] * (found[name].ndim - 1))
        return found
