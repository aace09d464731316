"""Augmentation in one kernel: from stored bytes to what the first convolution reads. Window, reflection, mean, colour noise (paper
4.1), the number format and the layout, each value rounded in the order of data/augment.py. `cut_yuv` does it from pictures that are
kept as brightness and half as much colour each way, 1.5 bytes a pixel, in the formulas of JPEG.
"""

import triton
import triton.language as tl


@triton.jit
def window(corners, mirrored, corner_step, CROP: tl.constexpr, SIDE: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr):
    """Of a program's values: their places in the answer, colours, rows and columns in the crop; the pixel in the picture that is
    shown there; whether there is one. DEPTH x DEPTH pixels become maps, in the order (row, column, colour)."""
    MAPS: tl.constexpr = 3 * DEPTH * DEPTH
    picture = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    maps = at % MAPS
    h = (at // (MAPS * SIDE)) * DEPTH + maps // (3 * DEPTH)
    w = ((at // MAPS) % SIDE) * DEPTH + (maps // 3) % DEPTH
    inside = (at < SIDE * SIDE * MAPS) & (h < CROP) & (w < CROP)
    turned = tl.load(mirrored + picture) != 0
    row = tl.load(corners + picture * corner_step) + h
    column = tl.load(corners + picture * corner_step + 1) + tl.where(turned, CROP - 1 - w, w)
    return picture, at, maps % 3, h, w, row, column, inside


@triton.jit
def finish(v, picture, at, c, h, w, inside, shifts, mean, out, divisor, mean_channel, mean_row, mean_column, SIDE: tl.constexpr,
           DEPTH: tl.constexpr, NOISE: tl.constexpr, BLOCK: tl.constexpr):
    """Mean, noise, format. mean_*: its strides, zero where it has one value a colour."""
    COUNT: tl.constexpr = SIDE * SIDE * 3 * DEPTH * DEPTH
    v = v - tl.load(mean + c * mean_channel + h * mean_row + w * mean_column, mask=inside, other=0)
    if NOISE:
        v = v + tl.load(shifts + picture * 3 + c, mask=inside, other=0)
        v = tl.div_rn(v, tl.full((BLOCK,), divisor, tl.float32))
    v = tl.where(inside, v, 0.0)
    tl.store(out + picture * COUNT + at, v.to(out.dtype.element_ty), mask=at < COUNT)


@triton.jit
def cut(pictures, corners, mirrored, shifts, mean, out, divisor, corner_step, mean_channel, mean_row, mean_column, S,
        CROP: tl.constexpr, SIDE: tl.constexpr, DEPTH: tl.constexpr, NOISE: tl.constexpr, BLOCK: tl.constexpr):
    """pictures (B, S, S, 3) bytes -> out (B, SIDE, SIDE, 3 DEPTH^2) in memory, zero beyond the crop."""
    picture, at, c, h, w, row, column, inside = window(corners, mirrored, corner_step, CROP, SIDE, DEPTH, BLOCK)
    v = tl.load(pictures + picture * S * S * 3 + (row * S + column) * 3 + c, mask=inside, other=0).to(tl.float32)
    finish(v, picture, at, c, h, w, inside, shifts, mean, out, divisor, mean_channel, mean_row, mean_column, SIDE, DEPTH, NOISE,
           BLOCK)


@triton.jit
def cut_yuv(pictures, corners, mirrored, shifts, mean, out, divisor, corner_step, mean_channel, mean_row, mean_column, S,
            CROP: tl.constexpr, SIDE: tl.constexpr, DEPTH: tl.constexpr, NOISE: tl.constexpr, BLOCK: tl.constexpr):
    """pictures (B, 3 S / 2, S) bytes: S rows of brightness, then S / 2 rows of pairs (blue, red). What comes of them is not rounded
    to bytes again, and cut off at 0 and 255."""
    picture, at, c, h, w, row, column, inside = window(corners, mirrored, corner_step, CROP, SIDE, DEPTH, BLOCK)
    start = pictures + picture * S * S * 3 // 2
    pair = start + (S + row // 2) * S + column // 2 * 2
    v = tl.load(start + row * S + column, mask=inside, other=0).to(tl.float32)
    blue = tl.load(pair, mask=inside, other=128).to(tl.float32) - 128
    red = tl.load(pair + 1, mask=inside, other=128).to(tl.float32) - 128
    v += tl.where(c == 0, 0.0, tl.where(c == 1, -0.344136, 1.772)) * blue
    v += tl.where(c == 2, 0.0, tl.where(c == 1, -0.714136, 1.402)) * red
    v = tl.minimum(tl.maximum(v, 0.0), 255.0)
    finish(v, picture, at, c, h, w, inside, shifts, mean, out, divisor, mean_channel, mean_row, mean_column, SIDE, DEPTH, NOISE,
           BLOCK)
