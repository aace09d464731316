"""The definitions: response norm over neighbouring maps (paper 3.3), the source's norm within a map, and dropout's mask.
Plain PyTorch, any device, any dtype, gradients by autograd. Every faster form is tested against these."""

import torch
import torch.nn.functional as F


def response_norm(x, *, size, alpha, beta, k, columns):
    """b_i = a_i / (k + alpha * sum_{|j - i| <= size // 2} a_j^2)^beta, the neighbours of a_i in its own column only."""
    B, C, H, W = x.shape
    reach = size // 2
    squares = (x * x).reshape(B * columns, C // columns, H, W)
    padded = F.pad(squares, (0, 0, 0, 0, reach, reach))  # windows stop at the column's edge
    total = sum(padded[:, shift : shift + C // columns] for shift in range(2 * reach + 1))
    return x * (k + alpha * total.reshape(B, C, H, W)) ** -beta


def within_map_norm(x, *, size, alpha, beta):
    """a / (1 + alpha * sum of a^2 over a size x size square of the same map)^beta; beyond the edge is zero."""
    squares = F.pad(x * x, [size // 2] * 4)  # apart: the gradient of padding= is wrong on CUDA, channels last (pytorch#188344)
    return x * (1 + alpha * F.avg_pool2d(squares, size, stride=1, divisor_override=1)) ** -beta


def contrast_norm(x, *, size, alpha, beta):
    return within_map_norm(without_mean(x, size), size=size, alpha=alpha, beta=beta)


def without_mean(x, size):
    """x minus the mean of its square, of what lies inside the map. The mean is a constant to the gradient, as in the source,
    which hands the gradient of the difference on as that of x."""
    return x - F.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False).detach()


def blur(x, *, std, taps):
    """Every map under a Gaussian of `taps` weights that sum to one, down and across; beyond the edge is zero."""
    C, place = x.shape[1], torch.arange(taps, device=x.device, dtype=torch.float64) - taps // 2
    kernel = torch.exp(-(place**2) / (2 * std**2))
    kernel = (kernel / kernel.sum()).to(x.dtype).expand(C, 1, 1, taps)
    down = F.conv2d(x, kernel.transpose(2, 3), padding=(taps // 2, 0), groups=C)
    return F.conv2d(down, kernel, padding=(0, taps // 2), groups=C)


def dropout_mask(shape, keep, key, *, layer, first=0, device=None):
    """Which units stay, as a bool tensor: a hash of (key, layer, row of the joined batch, unit) and of nothing else, so
    that the same step draws the same mask on every device, in any number of processes, before and after a resume.

    key: int64 tensor of no dimension. first: the joined batch's row at which this process's share begins.
    """
    rows, units = shape[0], shape[1:].numel()
    row = torch.arange(rows, device=device)[:, None] + first
    unit = torch.arange(units, device=device)[None]
    word = _mix(_mix(_mix(key + 0x9E3779B9 * (layer + 1)) + row) + unit)  # (rows, units)
    return (word < int(keep * 2**32)).view(shape)


def momentum(weights, gradients, velocities, *, momentum, decay, rate):
    """v <- momentum v - decay w - rate g;  w <- w + v, in place. Paper section 5, with decay = 0.0005 rate."""
    torch._foreach_mul_(velocities, momentum)
    if decay:
        torch._foreach_add_(velocities, weights, alpha=-decay)
    torch._foreach_add_(velocities, gradients, alpha=-rate)
    torch._foreach_add_(weights, velocities)


def _mix(word):
    """A bijection of 32-bit words that scatters neighbours (two rounds of xor-shift and multiply), on int64 tensors."""
    word = word & 0xFFFFFFFF
    word = ((word ^ (word >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    word = ((word ^ (word >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return word ^ (word >> 16)
