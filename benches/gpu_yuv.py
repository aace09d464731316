"""Stored pictures as brightness and half as much colour each way (YUV 4:2:0, the formulas of JPEG): 1.5 bytes a pixel. An
experiment of gpu_feed.py: how they are made of stored bytes, what the kernel that reads them is tested against, and what is lost.

    python -m benches.gpu_yuv FOLDER [--size 256]          what is lost on the photographs of a folder, in decibels
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch


def to_yuv(pictures):
    """uint8 (B, S, S, 3), S even, to (B, 3 S / 2, S): S rows of brightness, then S / 2 rows of pairs (blue, red). Any device."""
    B, S = pictures.shape[:2]
    red, green, blue = pictures.float().unbind(3)
    bright = 0.299 * red + 0.587 * green + 0.114 * blue
    colour = torch.stack([(blue - bright) / 1.772, (red - bright) / 1.402], 3)  # (B, S, S, 2)
    colour = colour.view(B, S // 2, 2, S // 2, 2, 2).mean((2, 4)) + 128
    whole = torch.cat([bright, colour.view(B, S // 2, S)], 1)
    return whole.round().clamp(0, 255).to(torch.uint8)


def from_yuv(frames):
    """The definition: uint8 (B, 3 S / 2, S) to float32 (B, S, S, 3), each pair for its four pixels."""
    size = frames.shape[2]
    bright = frames[:, :size].astype(np.float32)
    pairs = frames[:, size:].reshape(len(frames), size // 2, size // 2, 2).astype(np.float32) - 128
    blue, red = np.moveaxis(pairs.repeat(2, 1).repeat(2, 2), 3, 0)
    colours = [bright + 1.402 * red, bright - 0.344136 * blue - 0.714136 * red, bright + 1.772 * blue]
    return np.stack(colours, 3).clip(0, 255)


def decibels(stored, found):
    """How far one is from the other, as the peak's ratio to the noise: of each picture, then the median and the least."""
    errors = np.square(stored.astype(np.float32) - found).mean((1, 2, 3))
    each = 10 * np.log10(255**2 / np.maximum(errors, 1e-10))
    return {"median": round(float(np.median(each)), 2), "least": round(float(each.min()), 2), "pictures": len(each)}


def photographs(folder, size, most=64):
    from alexnet.data.picture import read, square

    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return np.stack([square(read(path), size) for path in files[:most]])


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("folder")
    words.add_argument("--size", type=int, default=256)
    asked = words.parse_args()
    stored = photographs(asked.folder, asked.size)
    print(json.dumps(decibels(stored, from_yuv(to_yuv(torch.from_numpy(stored)).numpy()))))


if __name__ == "__main__":
    main()
