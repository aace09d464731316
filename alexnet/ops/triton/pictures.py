"""Augmentation in one kernel: from stored bytes to what the first convolution reads. Window, reflection, mean, colour noise (paper
4.1), the number format and the layout, each value rounded in the order of data/augment.py.
"""

import triton
import triton.language as tl


@triton.jit
def cut(pictures, corners, mirrored, shifts, mean, out, divisor, corner_step, mean_channel, mean_row, mean_column, S,
        CROP: tl.constexpr, SIDE: tl.constexpr, DEPTH: tl.constexpr, NOISE: tl.constexpr, BLOCK: tl.constexpr):
    """pictures (B, S, S, 3) bytes -> out (B, SIDE, SIDE, 3 DEPTH^2) in memory: DEPTH x DEPTH pixels become maps, in the order (row,
    column, colour), zero beyond the crop. mean_*: its strides, zero where it has one value a colour."""
    MAPS: tl.constexpr = 3 * DEPTH * DEPTH
    COUNT: tl.constexpr = SIDE * SIDE * MAPS
    picture = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    maps = at % MAPS
    c = maps % 3
    h = (at // (MAPS * SIDE)) * DEPTH + maps // (3 * DEPTH)
    w = ((at // MAPS) % SIDE) * DEPTH + (maps // 3) % DEPTH
    inside = (at < COUNT) & (h < CROP) & (w < CROP)
    top = tl.load(corners + picture * corner_step)
    left = tl.load(corners + picture * corner_step + 1)
    turned = tl.load(mirrored + picture)
    column = tl.where(turned != 0, CROP - 1 - w, w)
    v = tl.load(pictures + picture * S * S * 3 + ((top + h) * S + left + column) * 3 + c, mask=inside, other=0).to(tl.float32)
    v = v - tl.load(mean + c * mean_channel + h * mean_row + w * mean_column, mask=inside, other=0)
    if NOISE:
        v = v + tl.load(shifts + picture * 3 + c, mask=inside, other=0)
        v = tl.div_rn(v, tl.full((BLOCK,), divisor, tl.float32))
    v = tl.where(inside, v, 0.0)
    tl.store(out + picture * COUNT + at, v.to(out.dtype.element_ty), mask=at < COUNT)
