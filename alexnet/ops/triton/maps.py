"""The norm within a map: every value by the squares of its neighbours in a square of the same map. Forward one kernel, backward
two, because a gradient needs its neighbours' sums: they are worked out once, into memory that lives as long as the call."""

import triton
import triton.language as tl

from alexnet.ops.triton.joint import power


@triton.jit
def places(H, W, C: tl.constexpr, rows, R: tl.constexpr):
    """A program's R rows of eight maps: where each of their values lies, their pixels, and whether they are within the batch."""
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    pixel = row // (C // 8)
    return row[:, None] * 8 + tl.arange(0, 8)[None, :], ((pixel // W) % H).to(tl.int32), (pixel % W).to(tl.int32), row < rows


@triton.jit
def neighbours(x, at, h, w, inside, H, W, C: tl.constexpr, SIZE: tl.constexpr, SQUARED: tl.constexpr, R: tl.constexpr):
    """Sum over SIZE x SIZE of the same map, of the values or of their squares; beyond the edge is zero."""
    total = tl.full((R, 8), 0.0, tl.float32)
    for i in tl.static_range(SIZE):
        for j in tl.static_range(SIZE):
            down = i - SIZE // 2
            right = j - SIZE // 2
            there = inside & (h + down >= 0) & (h + down < H) & (w + right >= 0) & (w + right < W)
            v = tl.load(x + at + (down * W + right) * C, mask=there[:, None], other=0).to(tl.float32)
            if SQUARED:
                v = v * v
            total += v
    return total


@triton.jit
def forward(x, out, alpha, beta, H, W, C: tl.constexpr, rows, SIZE: tl.constexpr, PAPER: tl.constexpr, R: tl.constexpr):
    at, h, w, inside = places(H, W, C, rows, R)
    scale, _ = power(1.0 + alpha * neighbours(x, at, h, w, inside, H, W, C, SIZE, True, R), beta, PAPER)
    v = tl.load(x + at, mask=inside[:, None], other=0).to(tl.float32) * scale
    tl.store(out + at, v.to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit
def through(x, grad, sent, direct, alpha, beta, H, W, C: tl.constexpr, rows, SIZE: tl.constexpr, PAPER: tl.constexpr,
            R: tl.constexpr):
    """sent: g x d^(-beta - 1), what every neighbour gets a share of; direct: g d^-beta. Both float32."""
    at, h, w, inside = places(H, W, C, rows, R)
    scale, inverse = power(1.0 + alpha * neighbours(x, at, h, w, inside, H, W, C, SIZE, True, R), beta, PAPER)
    scaled = tl.load(grad + at, mask=inside[:, None], other=0).to(tl.float32) * scale
    v = tl.load(x + at, mask=inside[:, None], other=0).to(tl.float32)
    tl.store(direct + at, scaled, mask=inside[:, None])
    tl.store(sent + at, scaled * v * inverse, mask=inside[:, None])


@triton.jit
def backward(x, sent, direct, out, alpha, beta, H, W, C: tl.constexpr, rows, SIZE: tl.constexpr, R: tl.constexpr):
    at, h, w, inside = places(H, W, C, rows, R)
    total = neighbours(sent, at, h, w, inside, H, W, C, SIZE, False, R)
    v = tl.load(x + at, mask=inside[:, None], other=0).to(tl.float32)
    found = tl.load(direct + at, mask=inside[:, None], other=0) - (2 * alpha * beta) * v * total
    tl.store(out + at, found.to(out.dtype.element_ty), mask=inside[:, None])
