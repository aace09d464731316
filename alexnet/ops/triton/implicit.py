"""The convolution of convolution.py made fast, as an implicit product: a row of its left matrix is a window of the batch, read
where it lies, and a window is one long sum, cut into pieces of INPUTS that need not end where a tap does. Bias, ReLU at the end.
"""

import triton
import triton.language as tl

# (places, outputs, inputs, warps, stages) of a program's tile; benches/gpu_step.py says which is best for which layer
TILES = ((128, 128, 64, 8, 3), (256, 128, 64, 8, 3), (128, 64, 64, 4, 4), (256, 64, 64, 8, 4), (64, 128, 64, 4, 4))


@triton.jit
def within(first, side, KERNEL: tl.constexpr):
    """Bit i: whether tap i of windows that begin there lies inside."""
    found = first * 0
    for i in tl.static_range(KERNEL):
        found |= ((first + i >= 0) & (first + i < side)).to(tl.int32) << i
    return found


@triton.jit
def implicit(x, weight, bias, out, H, W, OH, OW, places, C: tl.constexpr, MAPS: tl.constexpr, KERNEL: tl.constexpr,
             STRIDE: tl.constexpr, PAD: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, PLACES: tl.constexpr,
             OUTPUTS: tl.constexpr, INPUTS: tl.constexpr):
    """A program makes PLACES x OUTPUTS of the answer. Programs that read the same places stand side by side, for the cache."""
    IN: tl.constexpr = C // GROUPS
    EACH: tl.constexpr = MAPS // GROUPS
    SUM: tl.constexpr = KERNEL * KERNEL * IN
    WIDE: tl.constexpr = (EACH + OUTPUTS - 1) // OUTPUTS
    program = tl.program_id(0)
    group = program // WIDE % GROUPS
    one = program % WIDE * OUTPUTS + tl.arange(0, OUTPUTS)
    place = program // (WIDE * GROUPS) * PLACES + tl.arange(0, PLACES)
    top, left = place // OW % OH * STRIDE - PAD, place % OW * STRIDE - PAD
    rows = tl.where(place < places, within(top, H, KERNEL), 0)
    columns = within(left, W, KERNEL)
    start = (((place // (OW * OH)).to(tl.int64) * H + top) * W + left) * C + group * IN  # of each window: its first tap
    windows = x + start[:, None]
    kernels = weight + ((group * EACH + one) * SUM)[:, None]
    total = tl.full((PLACES, OUTPUTS), 0.0, tl.float32)
    for first in range(0, SUM, INPUTS):
        at = first + tl.arange(0, INPUTS)  # (row, column, map) of the kernel, as they lie
        i, j = at // (KERNEL * IN), at // IN % KERNEL
        seen = ((rows[:, None] >> i[None, :]) & (columns[:, None] >> j[None, :]) & 1) != 0
        patch = tl.load(windows + ((i * W + j) * C + at % IN)[None, :], mask=seen & (at < SUM)[None, :], other=0)
        values = tl.load(kernels + at[None, :], mask=(one < EACH)[:, None] & (at < SUM)[None, :], other=0)
        total = tl.dot(patch, tl.trans(values), total, input_precision="ieee")
    total += tl.load(bias + group * EACH + one, mask=one < EACH, other=0).to(tl.float32)[None, :]
    if RELU:
        total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    to = place.to(tl.int64)[:, None] * MAPS + (group * EACH + one)[None, :]
    tl.store(out + to, total.to(out.dtype.element_ty), mask=(place < places)[:, None] & (one < EACH)[None, :])
