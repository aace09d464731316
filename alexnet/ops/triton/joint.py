"""ReLU, response norm (paper 3.3), max pool (3.4) and ReLU of channels-last batches, one kernel forward and one back: what
cpu_kernel.cpp does, on a graphics card. Stored for the gradient: the input, and one byte a maximum. Sums are in float32.

A tile is R rows of eight neighbouring maps, which one thread reads in one piece; a pixel is C / 8 such rows. The norm's sum over
five maps is taken between the eight registers of a thread. What lies beyond them is read again, from the nearest cache, or, where
it had to be worked out, handed over by the row beside it: so a tile holds whole pixels.
"""

import os

import triton
import triton.language as tl

COMPILED = tl.constexpr(os.environ.get("TRITON_INTERPRET") != "1")  # the interpreter has no machine instructions


@triton.jit
def apart(v, R: tl.constexpr):
    """(R, 8) as its eight columns; no value leaves its thread."""
    even, odd = tl.split(tl.reshape(v, (R, 4, 2)))
    v04, v26 = tl.split(tl.reshape(even, (R, 2, 2)))
    v15, v37 = tl.split(tl.reshape(odd, (R, 2, 2)))
    v0, v4 = tl.split(v04)
    v1, v5 = tl.split(v15)
    v2, v6 = tl.split(v26)
    v3, v7 = tl.split(v37)
    return v0, v1, v2, v3, v4, v5, v6, v7


@triton.jit
def together(v0, v1, v2, v3, v4, v5, v6, v7, R: tl.constexpr):
    even = tl.reshape(tl.join(tl.join(v0, v4), tl.join(v2, v6)), (R, 4))
    odd = tl.reshape(tl.join(tl.join(v1, v5), tl.join(v3, v7)), (R, 4))
    return tl.reshape(tl.join(even, odd), (R, 8))


@triton.jit
def fives(v0, v1, v2, v3, v4, v5, v6, v7, a, b, y, z, R: tl.constexpr):
    """Each of the eight with two on either side: a, b stand before them, y, z behind. Sums of pairs serve twice."""
    p01 = v0 + v1
    p12 = v1 + v2
    p23 = v2 + v3
    p34 = v3 + v4
    p45 = v4 + v5
    p56 = v5 + v6
    p67 = v6 + v7
    return together((a + b) + v0 + p12, (b + v0) + v1 + p23, p01 + v2 + p34, p12 + v3 + p45,
                    p23 + v4 + p56, p34 + v5 + p67, p45 + v6 + (v7 + y), p56 + v7 + (y + z), R)


@triton.jit
def rsqrt(d):
    """Of normal numbers: without the four instructions that look after the others."""
    if COMPILED:
        return tl.inline_asm_elementwise("rsqrt.approx.ftz.f32 $0, $1;", "=f,f", [d], dtype=tl.float32, is_pure=True, pack=1)
    else:
        return tl.rsqrt(d)


@triton.jit
def power(d, beta, PAPER: tl.constexpr):
    """d^-beta and 1 / d. PAPER: beta is 0.75."""
    if PAPER:
        root = rsqrt(d)
        return root * root * rsqrt(root), root * root
    else:
        return tl.exp2(-beta * tl.log2(d)), 1.0 / d


@triton.jit
def rectified(v):
    """A NaN stays one."""
    return tl.maximum(v, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def square_at(x, at, mask, RELU: tl.constexpr):
    v = tl.load(x + at, mask=mask, other=0).to(tl.float32)
    if RELU:
        v = rectified(v)
    return v * v


@triton.jit
def summed_squares(x, at, v, inside, first, last, RELU: tl.constexpr, R: tl.constexpr):
    """Of each value and its neighbours. first, last: rows at which a column of maps begins and ends."""
    v0, v1, v2, v3, v4, v5, v6, v7 = apart(v * v, R)
    a = square_at(x, at - 2, inside & ~first, RELU)
    b = square_at(x, at - 1, inside & ~first, RELU)
    y = square_at(x, at + 8, inside & ~last, RELU)
    z = square_at(x, at + 9, inside & ~last, RELU)
    return fives(v0, v1, v2, v3, v4, v5, v6, v7, a, b, y, z, R)


@triton.jit
def normalised(x, at, inside, first, last, alpha, beta, k, NORM: tl.constexpr, PAPER: tl.constexpr, RELU: tl.constexpr,
               R: tl.constexpr):
    v = tl.load(x + (at[:, None] + tl.arange(0, 8)[None, :]), mask=inside[:, None], other=0).to(tl.float32)  # (R, 8)
    if RELU:
        v = rectified(v)
    if NORM:
        scale, _ = power(k + alpha * summed_squares(x, at, v, inside, first, last, RELU, R), beta, PAPER)
        v = v * scale
    return v


@triton.jit
def largest_of_row(x, start, h, left, valid, first, last, alpha, beta, k, H, W: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
                   CUT: tl.constexpr, NORM: tl.constexpr, PAPER: tl.constexpr, RELU: tl.constexpr, R: tl.constexpr):
    """Of each window's row h: the largest value and its column, the first of equals. CUT: windows may hang over the edge, where
    nothing is largest."""
    h += left * 0  # one a window: the interpreter cannot spread a comparison of scalars
    inside = valid & (h < H)
    best = normalised(x, start + (h * W + left) * C, inside, first, last, alpha, beta, k, NORM, PAPER, RELU, R)
    where = tl.full((R, 8), 0, tl.int32)
    for j in tl.static_range(1, K):
        here = inside & (left + j < W)
        v = normalised(x, start + (h * W + left + j) * C, here, first, last, alpha, beta, k, NORM, PAPER, RELU, R)
        if CUT:
            v = tl.where(here[:, None], v, float("-inf"))
        better = (v > best) | (v != v)
        best = tl.where(better, v, best)
        where = tl.where(better, j, where)
    if CUT:
        best = tl.where(inside[:, None], best, float("-inf"))
    return best, where


@triton.jit
def pool(x, out, places, alpha, beta, k, windows, H, W: tl.constexpr, OH, OW: tl.constexpr, C: tl.constexpr,
         GROUPS: tl.constexpr, K: tl.constexpr, S: tl.constexpr, CUT: tl.constexpr, STRIP: tl.constexpr, NORM: tl.constexpr,
         PAPER: tl.constexpr, RELU: tl.constexpr, RELU_AFTER: tl.constexpr, KEEP: tl.constexpr, R: tl.constexpr):
    """A program: some columns of windows, each of one picture, down a strip of STRIP rows of windows. GROUPS: how many rows
    of a tile make one column of maps. Where windows overlap by one row, its maxima are kept for the next."""
    G: tl.constexpr = C // 8
    P: tl.constexpr = R // G
    OVERLAP: tl.constexpr = (K - S) == 1
    row = tl.arange(0, R)
    group = row % G
    window = tl.program_id(0) * P + row // G  # of pictures x OW
    valid = (row < P * G) & (window < windows)
    left = (window % OW) * S
    picture = (window // OW).to(tl.int64)
    start = picture * (H * W * C) + group * 8
    first = (group % GROUPS) == 0
    last = (group % GROUPS) == GROUPS - 1
    top = tl.program_id(1) * STRIP
    if OVERLAP:
        kept, kept_where = largest_of_row(x, start, top * S, left, valid, first, last, alpha, beta, k, H, W, C, K, CUT, NORM, PAPER,
                                          RELU, R)
    for y in range(top, tl.minimum(top + STRIP, OH)):
        if OVERLAP:
            best, where = kept, kept_where
        else:
            best, where = largest_of_row(x, start, y * S, left, valid, first, last, alpha, beta, k, H, W, C, K, CUT, NORM, PAPER,
                                         RELU, R)
        for i in tl.static_range(1, K):
            v, column = largest_of_row(x, start, y * S + i, left, valid, first, last, alpha, beta, k, H, W, C, K, CUT, NORM,
                                       PAPER, RELU, R)
            better = (v > best) | (v != v)
            best = tl.where(better, v, best)
            where = tl.where(better, column + i * K, where)
            if i == K - 1:
                kept, kept_where = v, column
        if RELU_AFTER:
            where = tl.where(best <= 0, 255, where)  # held back: no place gets its gradient
            best = rectified(best)
        at = (picture * OH + y) * (OW * C) + (window % OW) * C + group * 8
        to = at[:, None] + tl.arange(0, 8)[None, :]
        tl.store(out + to, best.to(out.dtype.element_ty), mask=valid[:, None])
        if KEEP:
            tl.store(places + to, where.to(tl.uint8), mask=valid[:, None])


@triton.jit
def neighbours_sums(v, first, last, R: tl.constexpr):
    """Sums of five maps; a row's neighbours in its column of maps are the rows beside it in the tile."""
    v0, v1, v2, v3, v4, v5, v6, v7 = apart(v, R)
    row = tl.arange(0, R)
    before, behind = tl.maximum(row - 1, 0), tl.minimum(row + 1, R - 1)
    a = tl.where(first, 0.0, tl.gather(v6, before, 0))
    b = tl.where(first, 0.0, tl.gather(v7, before, 0))
    y = tl.where(last, 0.0, tl.gather(v0, behind, 0))
    z = tl.where(last, 0.0, tl.gather(v1, behind, 0))
    return fives(v0, v1, v2, v3, v4, v5, v6, v7, a, b, y, z, R)


@triton.jit
def received(grad, places, first_place, above, before, inside, i, j, OH, OW: tl.constexpr, C: tl.constexpr,
             K: tl.constexpr, S: tl.constexpr, POOLED: tl.constexpr, R: tl.constexpr):
    """What the windows over the pixels (i, j) of blocks of S x S send back to them. first_place: a picture's first window."""
    sent = tl.full((R, 8), 0.0, tl.float32)
    for a in tl.static_range((K + S - 1) // S):
        for b in tl.static_range((K + S - 1) // S):
            if a * S + i < K:
                if b * S + j < K:
                    oy = above - a
                    ox = before - b
                    there = (inside & (oy >= 0) & (oy < OH) & (ox >= 0) & (ox < OW))[:, None]
                    at = (first_place + (oy * OW + ox) * C)[:, None] + tl.arange(0, 8)[None, :]
                    v = tl.load(grad + at, mask=there, other=0).to(tl.float32)
                    if POOLED:
                        where = tl.load(places + at, mask=there, other=255).to(tl.int32)
                        v = tl.where(where == (a * S + i) * K + b * S + j, v, 0.0)
                    sent += v
    return sent


@triton.jit
def unpool(x, grad, places, out, alpha, beta, k, blocks, H, W: tl.constexpr, OH, OW: tl.constexpr, C: tl.constexpr,
           GROUPS: tl.constexpr, K: tl.constexpr, S: tl.constexpr, NORM: tl.constexpr, PAPER: tl.constexpr, RELU: tl.constexpr,
           POOLED: tl.constexpr, R: tl.constexpr):
    """A program: some blocks of S x S pixels, all their maps.

    db_i/da_j = d_i^-beta [i = j] - 2 alpha beta a_i a_j d_i^(-beta - 1) [j near i]
    """
    G: tl.constexpr = C // 8
    P: tl.constexpr = R // G
    BW: tl.constexpr = (W + S - 1) // S
    row = tl.arange(0, R)
    group = row % G
    block = tl.program_id(0) * P + row // G  # of pictures x BH x BW
    valid = (row < P * G) & (block < blocks)
    BH = (H + S - 1) // S
    picture = (block // (BH * BW)).to(tl.int64)
    above = (block // BW) % BH
    before = block % BW
    first = (group % GROUPS) == 0
    last = (group % GROUPS) == GROUPS - 1
    start = picture * (H * W * C) + group * 8
    first_place = picture * (OH * OW * C) + group * 8
    for i in tl.static_range(S):
        for j in tl.static_range(S):
            h = above * S + i
            w = before * S + j
            inside = valid & (h < H) & (w < W)
            sent = received(grad, places, first_place, above, before, inside, i, j, OH, OW, C, K, S, POOLED, R)
            at = start + (h * W + w) * C
            to = at[:, None] + tl.arange(0, 8)[None, :]
            given = tl.load(x + to, mask=inside[:, None], other=0).to(tl.float32)
            if NORM:
                v = given
                if RELU:
                    v = rectified(v)
                d = k + alpha * summed_squares(x, at, v, inside, first, last, RELU, R)
                scale, inverse = power(d, beta, PAPER)
                sent = sent * scale
                sent = sent - (2 * alpha * beta) * v * neighbours_sums(sent * v * inverse, first, last, R)
            if RELU:
                sent = tl.where(given <= 0, 0.0, sent)
            tl.store(out + to, sent.to(out.dtype.element_ty), mask=inside[:, None])
