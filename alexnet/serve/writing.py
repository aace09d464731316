"""JSON of many numbers, a piece at a time: json.dumps lets no other thread in before it is done, and a million numbers take it
seconds."""

import json

import numpy as np

PIECE = 4_000  # numbers


def text(value):
    """As json.dumps, with arrays (N,) as lists."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(text, value)) + "]"
    if isinstance(value, np.ndarray):
        pieces = (json.dumps(value[first : first + PIECE].tolist())[1:-1] for first in range(0, len(value), PIECE))
        return "[" + ", ".join(pieces) + "]"
    return json.dumps(value)
