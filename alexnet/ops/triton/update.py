"""The update rule of 2012 in one pass over memory: v <- momentum v - decay w - rate g;  w <- w + v. Paper section 5."""

import triton
import triton.language as tl


@triton.jit
def step(weight, gradient, velocity, momentum, decay, rate, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    w = tl.load(weight + at, mask=inside, other=0)
    v = tl.load(velocity + at, mask=inside, other=0)
    v = momentum * v - decay * w - rate * tl.load(gradient + at, mask=inside, other=0)
    tl.store(velocity + at, v, mask=inside)
    tl.store(weight + at, w + v, mask=inside)
