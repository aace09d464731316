"""One convolution to read: every output is a row of a product between patches and kernels, and the patches are never written down.
With bias and ReLU, channels last, groups as columns. Nothing in the package calls it: benches/gpu_step.py says how fast it is.

    from alexnet.ops.triton import convolved
    y = convolved(x, weight, bias, stride=4, pad=0, groups=1)       # x (B, C, H, W) channels last; relu=True
"""

import triton
import triton.language as tl


@triton.jit
def convolution(x, weight, bias, out, H, W, OH, OW, places, C: tl.constexpr, MAPS: tl.constexpr, KERNEL: tl.constexpr,
                STRIDE: tl.constexpr, PAD: tl.constexpr, GROUPS: tl.constexpr, RELU: tl.constexpr, PLACES: tl.constexpr,
                OUTPUTS: tl.constexpr, INPUTS: tl.constexpr):
    """A program makes PLACES x OUTPUTS of the answer: so many pixels of the batch's maps, so many maps of one group."""
    IN: tl.constexpr = C // GROUPS  # maps that a kernel reads
    EACH: tl.constexpr = MAPS // GROUPS
    group = tl.program_id(2)
    place = tl.program_id(0).to(tl.int64) * PLACES + tl.arange(0, PLACES)  # (picture, row, column) of the output, as they lie
    one = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)  # which of the group's maps
    column, row, picture = place % OW, (place // OW) % OH, place // (OW * OH)
    total = tl.full((PLACES, OUTPUTS), 0.0, tl.float32)
    for i in range(KERNEL):
        for j in range(KERNEL):
            h, w = row * STRIDE - PAD + i, column * STRIDE - PAD + j  # the pixel under this place of the kernel
            seen = (place < places) & (h >= 0) & (h < H) & (w >= 0) & (w < W)  # beyond the edge is zero
            pixel = ((picture * H + h) * W + w) * C + group * IN
            kernel = (((group * EACH + one) * KERNEL + i) * KERNEL + j) * IN
            for first in range(0, IN, INPUTS):
                c = first + tl.arange(0, INPUTS)
                patch = tl.load(x + pixel[:, None] + c[None, :], mask=seen[:, None] & (c < IN)[None, :], other=0)
                values = tl.load(weight + kernel[None, :] + c[:, None], mask=(one < EACH)[None, :] & (c < IN)[:, None], other=0)
                total = tl.dot(patch, values, total, input_precision="ieee")
    total += tl.load(bias + group * EACH + one, mask=one < EACH, other=0).to(tl.float32)[None, :]
    if RELU:
        total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    to = place[:, None] * MAPS + (group * EACH + one)[None, :]
    tl.store(out + to, total.to(out.dtype.element_ty), mask=(place < places)[:, None] & (one < EACH)[None, :])
