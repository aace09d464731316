"""The network: builds a row of nets/ into a module, with the row's initial values, and runs it downward layer by layer,
so that every activation has the name it has in the table. Paper section 3; initial values, section 5."""

from collections import OrderedDict
from dataclasses import replace
from math import prod, sqrt

import torch
import torch.nn as nn
import torch.nn.functional as F

from alexnet import nets, ops
from alexnet.nets import layers

NONLINEAR = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "leaky": F.leaky_relu,
    "linear": lambda x: x,
}


class AlexNet(nn.Module):
    """A float batch (B, 3, H, W) of centred pictures, 0-255 scale minus the mean, to logits (B, classes)."""

    def __init__(self, row="as_run", classes=None, seed=None):
        super().__init__()
        self.row = nets.row(row)
        self.classes = classes or self.row.classes
        self.sides = {layer.plus for layer in self.row.layers if getattr(layer, "plus", "")}
        generator = torch.Generator().manual_seed(torch.seed() if seed is None else seed)
        for shape in nets.shapes(self.row, self.classes):
            self.add_module(shape.layer.name, MODULES[type(shape.layer)](shape, generator))
        self.joints = joints(self.row, self.classes)
        self.of_parts = {}  # name -> batch norm's statistics of the enlarged parts that testing shows (evaluate/settling.py)
        self.register_buffer("_draw", torch.zeros(2, dtype=torch.int64), persistent=False)
        self.drawn = False

    def forward(self, batch):
        for _, activation in self.layer_by_layer(batch, joined=True):
            pass
        return activation

    def activations(self, batch):
        """Name -> what the next layer sees, in order, columns side by side; `prob` is the softmax."""
        found = OrderedDict(self.layer_by_layer(batch))
        found["prob"] = torch.softmax(batch_of_logits(found).float(), dim=1)
        return found

    def layer_by_layer(self, batch, joined=False):
        """joined: what stands behind a layer in `joints` runs with its nonlinearity, and has no activation of its own."""
        if self.row.input_scale != 1:
            batch = batch * self.row.input_scale
        draw = self._draw if self.drawn else torch.randint(2**31, (2,), device=batch.device)
        if self.row.channels == 1:
            batch = batch.mean(1, keepdim=True)
        picture, sides, done = batch, {}, ()
        for number, layer in enumerate(self.row.layers):
            if layer.name in done:
                continue
            seen = picture if getattr(layer, "sees", "") == "picture" else batch
            batch = self._modules[layer.name](seen)
            if plus := getattr(layer, "plus", ""):
                batch = batch + sides.pop(plus)
            if joined and layer.name in self.joints:
                done, constants = self.joints[layer.name]
                batch = ops.norm_pool(batch, **constants)
            else:
                batch = NONLINEAR[layer.then](batch)
            if layer.dropout:
                batch = self.dropped(batch, layer.dropout, number, draw)
            if layer.name in self.sides:
                sides[layer.name] = batch
            yield layer.name, batch

    def dropped(self, batch, share, number, draw):
        """2012: a mask in training, outputs times the share kept in use. Or the inverse convention of today."""
        keep = 1 - share
        if not self.training:
            return batch * keep if self.row.dropout_scales == "test" else batch
        mask = ops.dropout_mask(batch.shape, keep, draw[0], layer=number, first=draw[1], device=batch.device)
        return batch * mask if self.row.dropout_scales == "test" else batch * mask / keep

    def draw(self, key, first=0):
        """From now on dropout masks are those of this key, for the joined batch's rows from `first` on."""
        self._draw.copy_(torch.tensor([key, first], pin_memory=self._draw.is_cuda), non_blocking=True)
        self.drawn = True

    def join(self, group):
        """In training this process is one of several."""
        for module in self.modules():
            if isinstance(module, BatchNorm):
                module.group = group if group.count > 1 else None

    @property
    def last_hidden(self):
        """The name of the layer below the classes: what features and neighbours are taken from."""
        return self.row.layers[-2].name


def joints(row, classes):
    """Layer -> the names of the norm and the max pool behind it, and what ops.norm_pool wants to know of the three."""
    shapes, found = nets.shapes(row, classes), {}
    sides = {getattr(layer, "plus", "") for layer in row.layers}
    for place, shape in enumerate(shapes[:-1]):
        norm = shapes[place + 1] if isinstance(shapes[place + 1].layer, layers.ResponseNorm) else None
        behind = shapes[place + 1 : place + (3 if norm else 2)]
        chain = first, *between, pool = [shape.layer, *(other.layer for other in behind)]
        if not isinstance(pool, layers.Pool) or pool.by != "max" or any(layer.dropout or layer.name in sides for layer in chain):
            continue
        if {first.then, pool.then} <= {"relu", "linear"} and all(layer.then == "linear" for layer in between):
            found[first.name] = [layer.name for layer in chain[1:]], {
                "relu_before": first.then == "relu", "norm": ResponseNorm(norm, None).constants if norm else {},
                **Pool(behind[-1], None).constants, "relu_after": pool.then == "relu"}
    return found


def batch_of_logits(activations):
    return next(reversed(activations.values()))


class Conv(nn.Conv2d):
    """A convolution over one column or both, whose windows may hang over the right and bottom edge and read zeros there."""

    def __init__(self, shape, generator):
        layer = shape.layer
        super().__init__(shape.input[0], layer.maps, layer.kernel, layer.stride, layer.pad, groups=shape.groups,
                         bias=layer.bias is not None)
        start(self, layer, generator)
        reach = [(side - 1) * layer.stride + layer.kernel - 2 * layer.pad for side in shape.output[1:]]
        self.overhang = [max(0, far - side) for far, side in zip(reach, shape.input[1:])]  # (bottom, right)

    def forward(self, x):
        bottom, right = self.overhang
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom))
        return ops.convolution(x, self.weight, self.bias, stride=self.stride[0], pad=self.padding[0], groups=self.groups)


class Local(nn.Module):
    """A convolution with kernels and biases of its own at every place: one product a place, all in one batched product."""

    def __init__(self, shape, generator):
        super().__init__()
        self.layer, self.output = shape.layer, shape.output
        places, inputs = prod(shape.output[1:]), shape.input[0] * shape.layer.kernel**2
        self.weight = nn.Parameter(torch.empty(places, shape.layer.maps, inputs))
        self.bias = nn.Parameter(torch.empty(places, shape.layer.maps))
        start(self, shape.layer, generator)

    def forward(self, x):
        patches = F.unfold(x, self.layer.kernel, padding=self.layer.pad)  # (B, C*k*k, places)
        out = torch.matmul(self.weight, patches.permute(2, 1, 0))  # (places, maps, B)
        out = out + self.bias[:, :, None]
        return out.permute(2, 1, 0).reshape(len(x), *self.output).contiguous(memory_format=torch.channels_last)


class Dense(nn.Linear):
    """Fully connected, to both columns or each to its own."""

    def __init__(self, shape, generator):
        super().__init__(prod(shape.input) // shape.groups, shape.output[0], bias=shape.layer.bias is not None)
        self.columns, self.maps = shape.groups, torch.Size(shape.input[1:])
        start(self, shape.layer, generator)

    def forward(self, x):
        if self.training and x.dim() == 4 and x.shape[2:] != self.maps:
            x = stretched(x, self.maps)
        x = x.flatten(1)  # in the order (map, row, column), whatever the layout in memory
        if self.columns == 1:
            return super().forward(x)
        halves = zip(x.chunk(self.columns, 1), self.weight.chunk(self.columns), strict=True)
        out = torch.cat([F.linear(half, weight) for half, weight in halves], 1)
        return out if self.bias is None else out + self.bias


def stretched(x, size):
    """Maps of smaller training crops brought to the size that the weights are for: linear, by two products."""
    down, across = stretches(x.shape[2:], size, x)
    return torch.einsum("bchw,hi,wj->bcij", x, down, across)


def stretches(there, size, like):
    return (F.interpolate(torch.eye(side, device=like.device, dtype=like.dtype)[None], to, mode="linear")[0]
            for side, to in zip(there, size))


def for_maps(weight, size, there):
    """A dense layer's weights for maps of `size`, from those of another net, `there`: its answers to the same maps stretched."""
    down, across = stretches(size, there, weight)
    return torch.einsum("ucij,hi,wj->uchw", weight.unflatten(1, (-1, *there)), down, across).flatten(1)


class Pool(nn.Module):
    """The largest or the mean of what lies inside the map; the last window may be cut off by the edge."""

    def __init__(self, shape, generator):
        super().__init__()
        kernel, stride = shape.layer.kernel, shape.layer.stride
        cut = (shape.output[1] - 1) * stride + kernel > shape.input[1]
        self.constants = {"kernel_size": kernel, "stride": stride, "ceil_mode": cut}
        self.pool = {"max": F.max_pool2d, "average": F.avg_pool2d}[shape.layer.by]

    def forward(self, x):
        return self.pool(x, **self.constants)


def pool(shape, generator):
    """A pool, or the convolution of the same stride that stands in its place."""
    if shape.layer.by != "convolution":
        return Pool(shape, generator)
    maps, layer = shape.output[0], shape.layer
    conv = layers.Conv(layer.name, maps, layer.kernel, layer.stride, std=None)
    return Conv(replace(shape, layer=conv), generator)


class ResponseNorm(nn.Module):
    def __init__(self, shape, generator):
        super().__init__()
        layer = shape.layer
        self.constants = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "k": layer.k, "columns": shape.groups}

    def forward(self, x):
        return ops.response_norm(x, **self.constants)


class InMap(nn.Module):
    """A fixed operation on each map for itself: within-map and contrast norm, blur."""

    def __init__(self, operation, **constants):
        super().__init__()
        self.operation, self.constants = operation, constants

    def forward(self, x):
        return self.operation(x, **self.constants)


def within_map_norm(shape, generator):
    return InMap(ops.within_map_norm, **square(shape.layer))


def contrast_norm(shape, generator):
    return InMap(ops.contrast_norm, **square(shape.layer))


def square(layer):
    return {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta}


def blur(shape, generator):
    return InMap(ops.blur, std=shape.layer.std, taps=shape.layer.taps)


class Nails(nn.Module):
    def __init__(self, shape, generator):
        super().__init__()
        self.stride = shape.layer.stride
        self.first = (shape.input[1] - self.stride * (shape.output[1] - 1)) // 2

    def forward(self, x):
        return x[:, :, self.first :: self.stride, self.first :: self.stride]


class BatchNorm(nn.BatchNorm2d):
    group = None  # several processes: the statistics are those of the joined batch

    def __init__(self, shape, generator):
        super().__init__(shape.input[0])

    def forward(self, x):
        if x.dim() == 2:  # behind a fully connected layer: one value a map
            return self(x[:, :, None, None]).flatten(1)
        if not (self.training and self.group):
            return super().forward(x)
        return self.joined(x, self.weight, self.bias, self.running_mean, self.running_var, self.group.summed)

    def joined(self, x, weight, bias, running_mean, running_var, summed):
        """summed: over all processes, and gradients flow through it. In float32 at least, as the library's own."""
        if x.dim() == 2:
            return self.joined(x[:, :, None, None], weight, bias, running_mean, running_var, summed).flatten(1)
        wide = x if x.dtype == torch.float64 else x.float()
        count = summed(torch.tensor(float(wide[:, 0].numel()), dtype=wide.dtype, device=x.device))
        mean = summed(wide.sum((0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = summed(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), self.momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), self.momentum)
            self.num_batches_tracked += 1
        scale = weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + bias[:, None, None]).to(x.dtype)


def start(module, layer, generator):
    """The initial values: N(0, std^2) and a constant bias; conv3-5 of the source start at 0.03. Paper section 5."""
    std = layer.std if layer.std is not None else sqrt(2 / module.weight[0].numel())  # inputs of one unit
    with torch.no_grad():
        module.weight.normal_(0, std, generator=generator)
        if layer.bias is not None:
            module.bias.fill_(layer.bias)


MODULES = {
    layers.Conv: Conv,
    layers.Local: Local,
    layers.Dense: Dense,
    layers.Pool: pool,
    layers.ResponseNorm: ResponseNorm,
    layers.WithinMapNorm: within_map_norm,
    layers.ContrastNorm: contrast_norm,
    layers.BatchNorm: BatchNorm,
    layers.Blur: blur,
    layers.Nails: Nails,
}
