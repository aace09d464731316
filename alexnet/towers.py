"""One network over several processes by its units, not only by its pictures: the paper's own parallelism (3.5, Figure 2), in which
each column has its device and the two meet only where the net crosses; and that of 2014, convolutions by pictures and fully
connected layers by units. Weights stay those of the whole net: each process steps its own part of them, and the parts are joined
before they are measured or kept, so no checkpoint knows how it was made."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call

from alexnet import ops
from alexnet.errors import Refused
from alexnet.net import NONLINEAR, BatchNorm, Conv, Dense, ResponseNorm
from alexnet.nets import layers


class Towers(nn.Module):
    """Towers(net, group)(this process's rows) -> their logits. `sent` counts the bytes that were handed to others."""

    def __init__(self, net, group):
        super().__init__()
        self.net, self.group, self.sent, row = net, group, 0, net.row
        if group.scheme == "columns" and row.columns != 2:
            raise Refused(f"{row.name} has one column: the scheme `columns` is for nets of two; data and 2014 take any.")
        if any(isinstance(layer, layers.Local) or getattr(layer, "plus", "") for layer in row.layers):
            raise Refused(f"{row.name} has local layers or a side path, which are not divided by units: take the scheme `data`.")
        self.parts = {name: alone(module) if group.scheme == "columns" else module for name, module in net.named_children()}
        for name, value in net.named_parameters():
            if value.shape[0] % self.ways(name)[1]:
                raise Refused(f"{name.split('.')[0]} has {value.shape[0]} units, which {self.ways(name)[1]} processes cannot share "
                              "evenly: take another number of them.")

    def ways(self, name):
        """(which part of this layer's units is mine, of how many)"""
        if self.group.scheme == "columns":
            return self.group.column, 2
        last_conv = self.group.count if self.is_dense(name.split(".")[0]) else 1
        return (self.group.rank, last_conv) if last_conv > 1 else (0, 1)

    def is_dense(self, name):
        """Fully connected, or behind one that is."""
        names = [layer.name for layer in self.net.row.layers]
        first = next(at for at, layer in enumerate(self.net.row.layers) if isinstance(layer, layers.Dense))
        return names.index(name) >= first

    def forward(self, batch):
        net, columns = self.net, self.group.scheme == "columns"
        batch = batch * net.row.input_scale if net.row.input_scale != 1 else batch
        batch = batch.mean(1, keepdim=True) if net.row.channels == 1 else batch
        rows, mine = len(batch), "picture" if columns else "units"  # what of the units this process holds: units, or a part
        for number, layer in enumerate(net.row.layers):
            part, of = self.ways(layer.name)
            if not columns and isinstance(layer, layers.Dense) and mine == "units":
                batch = self.exchange(batch, 0)  # everyone's pictures, for a part of the units
            if mine == "part" and (isinstance(layer, layers.Dense) or getattr(layer, "sees", "column") == "both"):
                batch = self.exchange(batch, 1)
            batch = self.run(layer, batch, part, of)
            mine = "part" if of > 1 else mine
            batch = NONLINEAR[layer.then](batch)
            if layer.dropout:
                batch = self.dropped(batch, layer.dropout, number, part, of)
        batch = self.exchange(batch, 1) if mine == "part" else batch
        return batch if columns else batch[self.first_of(rows) :][:rows]

    def first_of(self, rows):
        """Where this process's rows begin among everyone's."""
        return sum(self.sizes[: self.group.rank]) if self.sizes else 0

    def run(self, layer, batch, part, of):
        module = self.net._modules[layer.name]
        if isinstance(module, BatchNorm) and of > 1 and self.training:
            own = [cut(one, part, of) for one in (module.weight, module.bias, module.running_mean, module.running_var)]
            summed = self.group.summed_rows if self.group.scheme == "columns" else lambda tensor: tensor
            return module.joined(batch, *own, summed)
        if isinstance(module, ResponseNorm) and layer.sees == "both" and of > 1:
            return module(batch).chunk(of, 1)[part]  # over both columns, which were exchanged for it
        own = {name: cut(value, part, of) for name, value in module.named_parameters()}
        return functional_call(self.parts[layer.name], own, (batch,)) if own else self.parts[layer.name](batch)

    def dropped(self, batch, share, number, part, of):
        """The part of the whole net's mask; where everyone's rows are here, from the joined batch's first."""
        keep, scales, draw = 1 - share, self.net.row.dropout_scales, self.net._draw
        if not self.training:
            return batch * keep if scales == "test" else batch
        whole = torch.Size((batch.shape[0], batch.shape[1] * of, *batch.shape[2:]))
        first = draw[1] if of == 1 or self.group.scheme == "columns" else 0
        mask = ops.dropout_mask(whole, keep, draw[0], layer=number, first=first, device=batch.device).chunk(of, 1)[part]
        return batch * mask if scales == "test" else batch * mask / keep

    def exchange(self, tensor, dim):
        """Everyone's parts side by side: rows (0), or units (1)."""
        if dim == 0:
            self.sizes = self.group.gathered(len(tensor))
        sizes = self.sizes if dim == 0 else [tensor.shape[1]] * (2 if self.group.scheme == "columns" else self.group.count)
        self.sent += tensor.numel() * tensor.element_size() * (len(sizes) - 1)
        return Gathered.apply(tensor, self, dim, sizes)

    sizes = None

    # ---- after the backward pass ------------------------------------------------------------------------------------

    def reduce(self):
        """Gradients of the same part, summed in one message over those that have it."""
        group = self.group
        peers, count = (group.same_column, group.count // 2) if group.scheme == "columns" else (group.sums, group.count)
        shared = [cut(value.grad, *self.ways(name)) for name, value in self.net.named_parameters()
                  if group.scheme == "columns" or self.ways(name)[1] == 1]
        if count == 1 or not shared:
            return
        flat = torch.cat([one.reshape(-1) for one in shared])
        self.sent += 2 * flat.numel() * flat.element_size() * (count - 1) // count  # of a ring
        group.dist.all_reduce(flat, group=peers)
        for one, summed in zip(shared, flat.split([one.numel() for one in shared])):
            one.copy_(summed.view_as(one))

    @torch.no_grad()
    def join(self, named):
        """{name of a parameter or buffer: tensors of its shape}, of which each process has its part right: made whole."""
        for name, values in named.items():
            part, of = self.ways(name)
            for value in values if of > 1 else ():
                parts = [torch.empty_like(cut(value, part, of), memory_format=torch.contiguous_format) for _ in range(of)]
                self.group.dist.all_gather(parts, cut(value, part, of).contiguous(), group=self.group.units)
                for at, theirs in enumerate(parts):
                    cut(value, at, of).copy_(theirs)


def cut(value, part, of):
    """A part of the units: rows of weights, entries of biases."""
    return value if of == 1 else value.chunk(of, 0)[part]


def alone(module):
    """A column's layer, without the other's: its weights are handed in."""
    if not isinstance(module, (Conv, Dense, ResponseNorm)):
        return module
    one = module.__class__.__new__(module.__class__)
    one.__dict__ = {**module.__dict__, "_parameters": dict(module._parameters)}
    one.groups = one.columns = 1
    if isinstance(module, ResponseNorm):
        one.constants = {**module.constants, "columns": 1}
    return one


class Gathered(torch.autograd.Function):
    """All parts along a dimension; what everyone's losses say about mine comes back summed."""

    @staticmethod
    def forward(context, tensor, towers, dim, sizes):
        context.towers, context.dim, context.sizes = towers, dim, sizes
        rows = tensor.transpose(0, dim)
        padded = F.pad(rows, [0, 0] * (tensor.dim() - 1) + [0, max(sizes) - len(rows)]).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        towers.group.dist.all_gather(parts, padded, group=towers.group.sums if dim == 0 else towers.group.units)
        return torch.cat([one[:size] for one, size in zip(parts, sizes)]).transpose(0, dim).contiguous()

    @staticmethod
    def backward(context, gradient):
        towers, dim, sizes = context.towers, context.dim, context.sizes
        gradient = gradient.contiguous().clone()
        towers.sent += 2 * gradient.numel() * gradient.element_size() * (len(sizes) - 1) // len(sizes)
        towers.group.dist.all_reduce(gradient, group=towers.group.sums if dim == 0 else towers.group.units)
        at = towers.group.rank if dim == 0 or towers.group.scheme == "2014" else towers.group.column
        return gradient.narrow(dim, sum(sizes[:at]), sizes[at]), None, None, None
