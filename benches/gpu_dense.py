"""Dense layers at lower precision, for gpu_inference.py: 58.6 of `paper`'s 61 million weights, and nearly all of its time for one
picture. Weights in eight bits with a scale an output; inputs as they are, or in eight bits with a scale a row (or one for all).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from alexnet import ops
from alexnet.net import Dense

E4M3 = torch.float8_e4m3fn
MOST = {torch.int8: 127.0, E4M3: 448.0}


def eight_bits(x, dtype, *, whole=False):
    """(the nearest in eight bits, float32 scales): x is their product. A scale a row; whole: one for all."""
    largest = x.abs().amax() if whole else x.abs().amax(1, keepdim=True)
    scale = largest.float().clamp(min=1e-12) / MOST[dtype]
    values = x.float() / scale
    return (values.round() if dtype == torch.int8 else values).clamp(-MOST[dtype], MOST[dtype]).to(dtype), scale


def in_sixteens(x):
    """With rows of zeros to a multiple of 16: the products want that."""
    return F.pad(x, (0, 0, 0, -len(x) % 16))


class Bytes(nn.Module):
    """int8 weights alone, in operations that torch.compile may join: they become numbers of the input's format on the way."""

    def __init__(self, linear):
        super().__init__()
        weight, scale = eight_bits(linear.weight.detach(), torch.int8)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", linear.bias.detach().float())

    def forward(self, x):
        x = x.flatten(1)
        return (F.linear(x, self.weight.to(x.dtype)) * self.scale + self.bias).to(x.dtype)


class Words(nn.Module):
    """The same by our kernel, for a few rows; it takes and gives float32, which torch.compile joins with what stands between."""

    def __init__(self, linear):
        super().__init__()
        weight, scale = eight_bits(linear.weight.detach(), torch.int8)
        self.register_buffer("words", packed(weight))
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", linear.bias.detach().float())

    def forward(self, x):
        return ops.kernels(x).thin(x.flatten(1).float(), self.words, self.scale, self.bias, False).to(x.dtype)


def packed(weight):
    """Words for dense.thin: byte b of word w is weight b x words + w, and 128."""
    outputs, inputs = weight.shape
    quarters = (weight.short() + 128).to(torch.uint8).view(outputs, 4, inputs // 4)
    return quarters.transpose(1, 2).contiguous().view(torch.int32)[..., 0].contiguous()


class Integers(nn.Module):
    """Weights and inputs in int8, the inputs' scale taken anew each time."""

    def __init__(self, linear):
        super().__init__()
        weight, scale = eight_bits(linear.weight.detach(), torch.int8)
        self.outputs = len(weight)
        self.register_buffer("weight", in_sixteens(weight))
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", linear.bias.detach().float())

    def forward(self, x):
        x = x.flatten(1)
        values, scale = eight_bits(F.pad(x, (0, 0, 0, max(0, 32 - len(x)))), torch.int8)  # it wants more than 16 rows
        sums = torch._int_mm(in_sixteens(values), self.weight.t())[: len(x), : self.outputs]
        return (sums * scale[: len(x)] * self.scale + self.bias).to(x.dtype)


class Floats(nn.Module):
    """Weights and inputs in float8 e4m3. whole: one scale for all of the weights and one for all of the inputs."""

    def __init__(self, linear, whole=False):
        super().__init__()
        weight, scale = eight_bits(linear.weight.detach(), E4M3, whole=whole)
        self.outputs, self.whole = len(weight), whole
        more = -self.outputs % 16
        self.register_buffer("weight", F.pad(weight.float(), (0, 0, 0, more)).to(E4M3))
        self.register_buffer("scale", scale if whole else F.pad(scale, (0, 0, 0, more), value=1.0).t().contiguous())
        self.register_buffer("bias", linear.bias.detach().float())

    def forward(self, x):
        x = x.flatten(1)
        values, scale = eight_bits(F.pad(x, (0, 0, 0, -len(x) % 16)), E4M3, whole=self.whole)
        found = torch._scaled_mm(values, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16)
        return (found[: len(x), : self.outputs] + self.bias).to(x.dtype)


def at_lower_precision(net, exact, kind):
    """The net with its dense layers in another form, made of those of the same net in float32."""
    for name, module in exact.named_children():
        if isinstance(module, Dense):
            if module.columns != 1 or module.bias is None:
                raise ValueError(f"{name} has columns or no bias: only plain dense layers are made smaller.")
            setattr(net, name, kind(module))
    return net


@torch.inference_mode()
def distance(net, exact, pictures, *, pieces):
    """Of its answers from the exact one's: of all, of what distinguishes one picture from the next, and of the first class."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        expected = exact(pictures).double()
    dtype = next(net.parameters()).dtype
    found = torch.cat([net(part.to(dtype)).double() for part in pictures.split(pieces)])
    apart = [answers - answers.mean(0) for answers in (found, expected)]
    return {"relative": float((found - expected).norm() / expected.norm()),
            "relative_between_pictures": float((apart[0] - apart[1]).norm() / apart[1].norm()),
            "same_first_class": float((found.argmax(1) == expected.argmax(1)).double().mean()), "pictures": len(pictures)}
