"""The 1,000 classes of ILSVRC-2012, the order of nearly every published AlexNet: sorted by WordNet id. One small file, a line a
class: the id, a tab, its words."""

from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("ilsvrc.tsv")


@cache
def words():
    """id -> all of its words, in the order of the outputs."""
    return dict(line.split("\t", 1) for line in FILE.read_text(encoding="utf-8").splitlines())


def classes():
    """[(id, first word), ...]"""
    return [(id, said.split(",")[0]) for id, said in words().items()]
