"""What PyTorch has to know of the kernels, whichever machine they are for: the shapes they answer with, how to trace them, and that
one is the gradient of another. native.py and triton/ bring the kernels themselves."""

import torch
from torch import Tensor

LARGEST = 16  # sides of a pool are smaller: its places are kept as bytes


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def alike(*tensors):
    """Whether these lie alike in memory, without gaps, in float32 on one device: a kernel may go over all of them at once."""
    first = tensors[0]
    dense = first.is_contiguous() or first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last)
    return dense and all(t.dtype == torch.float32 and t.device == first.device and t.stride() == first.stride() for t in tensors)


# ---- ReLU, norm, pool, ReLU ----------------------------------------------------------------------------------------------


def joined(joint, x, *, relu_before=False, size=0, columns=1, alpha=0.0, beta=0.75, k=1.0, kernel=1, stride=1, ceil=False,
           relu_after=False):
    """What is asked for of ReLU, norm, max pool and ReLU. size 0: no norm; kernel 1: no pool."""
    if x.shape[1] % columns:
        raise ValueError(f"{x.shape[1]} maps do not make {columns} equal columns")
    height, width = (windows(side, kernel, stride, ceil) for side in x.shape[2:])
    whole = [int(relu_before), columns, size, kernel, stride, height, width, int(relu_after)]
    keep = torch.is_grad_enabled() and x.requires_grad  # the places of the maxima, for the gradient
    return joint(channels_last(x), whole, [alpha, beta, k], keep)[0]


def windows(side, kernel, stride, ceil):
    """How many stand along a side; with `ceil` the last may be cut off by the edge, but begins within."""
    count = (side - kernel + (stride - 1 if ceil else 0)) // stride + 1
    return count - 1 if (count - 1) * stride >= side else count


def joint(name, pool, unpool, *, keeps):
    """An operation with its gradient. pool(x, out, places, whole, constants), unpool(x, grad, places, out, whole, constants): the
    kernels; keeps(kernel, relu_after): whether the gradient wants the places of the maxima."""

    def outputs(x, whole, keep):
        kernel, height, width, relu_after = whole[3], *whole[5:]
        shape = (*x.shape[:2], height, width)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        if not keep or not keeps(kernel, relu_after):
            return out, torch.empty(0, dtype=torch.uint8, device=x.device)
        return out, torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=torch.channels_last)

    @torch.library.custom_op(f"alexnet::{name}", mutates_args=())
    def forward(x: Tensor, whole: list[int], constants: list[float], keep: bool) -> tuple[Tensor, Tensor]:
        out, places = outputs(x, whole, keep)
        pool(x, out, places, whole, constants)
        return out, places

    @torch.library.custom_op(f"alexnet::{name}_gradient", mutates_args=())
    def backward(x: Tensor, grad: Tensor, places: Tensor, whole: list[int], constants: list[float]) -> Tensor:
        out = torch.empty_like(x)
        unpool(x, grad, places, out, whole, constants)
        return out

    def remember(ctx, inputs, output):
        x, ctx.whole, ctx.constants, _ = inputs
        ctx.save_for_backward(x, output[1])
        ctx.mark_non_differentiable(output[1])

    def gradient(ctx, grad, _):
        x, places = ctx.saved_tensors
        return backward(x, channels_last(grad), places, ctx.whole, ctx.constants), None, None, None

    forward.register_fake(lambda x, whole, constants, keep: outputs(x, whole, keep))
    backward.register_fake(lambda x, grad, places, whole, constants: torch.empty_like(x))
    forward.register_autograd(gradient, setup_context=remember)
    return forward


# ---- the norm within a map -----------------------------------------------------------------------------------------------


def within_map(name, norm, unnorm):
    """An operation with its gradient. norm(x, out, size, alpha, beta), unnorm(x, grad, out, size, alpha, beta): the kernels."""

    @torch.library.custom_op(f"alexnet::{name}", mutates_args=())
    def forward(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
        out = torch.empty_like(x)
        norm(x, out, size, alpha, beta)
        return out

    @torch.library.custom_op(f"alexnet::{name}_gradient", mutates_args=())
    def backward(x: Tensor, grad: Tensor, size: int, alpha: float, beta: float) -> Tensor:
        out = torch.empty_like(x)
        unnorm(x, grad, out, size, alpha, beta)
        return out

    def remember(ctx, inputs, output):
        x, *ctx.constants = inputs
        ctx.save_for_backward(x)

    def gradient(ctx, grad):
        (x,) = ctx.saved_tensors
        return backward(x, channels_last(grad), *ctx.constants), None, None, None

    forward.register_fake(lambda x, size, alpha, beta: torch.empty_like(x))
    backward.register_fake(lambda x, grad, size, alpha, beta: torch.empty_like(x))
    forward.register_autograd(gradient, setup_context=remember)
    return forward
