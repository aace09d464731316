"""A fully connected layer for a few pictures, its weights kept as bytes: at that size its time is the reading of its weights, and
bytes are half of bfloat16. Each output has a scale. benches/gpu_inference.py says what it is worth; the package does not use it.
"""

import triton
import triton.language as tl


@triton.jit
def added(a, b):
    return a + b


@triton.jit
def thin(x, weight, scale, bias, out, rows, outputs, WORDS: tl.constexpr, RELU: tl.constexpr, ROWS: tl.constexpr,
         OUTPUTS: tl.constexpr, PIECE: tl.constexpr):
    """x (rows, 4 WORDS), weight (outputs, WORDS) -> out (rows, outputs). Byte b of word w is weight b WORDS + w and 128: a thread
    reads whole words and unpacks them in place. A program makes OUTPUTS of every row's, no more than ROWS.

    2^23 + a byte is a float whose last byte is that: no conversion, which would take as long as the reading.
    """
    row = tl.arange(0, ROWS)[:, None, None]
    one = (tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS))[None, :, None]
    total = tl.full((ROWS, OUTPUTS, PIECE), 0.0, tl.float32)
    for first in range(0, WORDS, PIECE):
        at = (first + tl.arange(0, PIECE))[None, None, :]
        words = tl.load(weight + one * WORDS + at, mask=(one < outputs) & (at < WORDS), other=0)
        for b in tl.static_range(4):
            given = tl.load(x + row * (4 * WORDS) + b * WORDS + at, mask=(row < rows) & (at < WORDS), other=0).to(tl.float32)
            value = (((words >> 8 * b) & 255) | 0x4B000000).to(tl.float32, bitcast=True) - 8388736.0
            total += given * value
    found = tl.reduce(total, 2, added)
    one = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    found = found * tl.load(scale + one, mask=one < outputs, other=0)[None, :]
    found += tl.load(bias + one, mask=one < outputs, other=0).to(tl.float32)[None, :]
    if RELU:
        found = tl.maximum(found, 0.0, propagate_nan=tl.PropagateNan.ALL)
    row = tl.arange(0, ROWS)
    tl.store(out + row[:, None] * outputs + one[None, :], found.to(out.dtype.element_ty),
             mask=(row < rows)[:, None] & (one < outputs)[None, :])
