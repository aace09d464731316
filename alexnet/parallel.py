"""Several processes that work as one. torchrun starts them; torch.distributed carries what they exchange; what each works on is a
share of what one process would, so that N processes equal one. In a single process nothing here does anything.

    torchrun --nproc-per-node 2 -m alexnet train STORE --out RUN --resume
"""

import os
from contextlib import nullcontext
from inspect import signature

import torch

from alexnet.errors import Misused, nearest

AGREE_EVERY = 8  # steps between looks at whether someone was asked to stop


SCHEMES = {  # how several processes divide a step
    "data": "each its own pictures, gradients averaged",
    "columns": "each column of the net its own process, which meet where the net crosses; pairs of processes divide the pictures",
    "2014": "convolutions by pictures, fully connected layers by units",
}


def group(device, scheme="data"):
    """The processes that torchrun started, joined; or Alone."""
    if scheme not in SCHEMES:
        raise Misused(f"there is no scheme {scheme!r}: {nearest(scheme, SCHEMES)}")
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        if scheme != "data":
            raise Misused(f"the scheme {scheme} is for several processes: torchrun --nproc-per-node 2 -m alexnet train ...")
        return Alone()
    return Group(device, scheme)


def device_of(device):
    """Of several processes on a machine with several GPUs each takes its own."""
    if device == "auto" and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return device


def share(total, rank, count):
    """(first, end) of a process's rows of a joined batch. Pairs of neighbours stay together, as mixed pictures need."""
    first, end = (2 * (total * at // (2 * count)) for at in (rank, rank + 1))
    return first, total if rank == count - 1 else end


class Alone:
    rank, count, scheme = 0, 1, "data"
    scale = copies = 1

    def share(self, total):
        return 0, total

    rows = share

    def wrapped(self, net):
        return net

    def adding(self, net):
        """While gradients of a part of the batch are only added up."""
        return nullcontext()

    def summed(self, tensor):
        return tensor

    def gathered(self, thing):
        return [thing]

    def agreed(self, *flags):
        return flags

    def wait(self):
        pass

    def end(self):
        pass


class Group:
    """gloo between CPUs, nccl between GPUs; small things always go by gloo, past the device."""

    def __init__(self, device, scheme):
        import torch.distributed as dist

        self.dist, self.began = dist, not dist.is_initialized()
        if self.began:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        self.rank, self.count, self.device = dist.get_rank(), dist.get_world_size(), device
        self.small = dist.new_group(backend="gloo")
        self.sums = self.units = dist.new_group()  # apart from the gradients' own, whose exchange goes on meanwhile
        self.scheme, self.column, self.copies = scheme, self.rank % 2, 2 if scheme == "columns" else 1
        self.scale = {"data": self.count, "columns": 0.5, "2014": 1}[scheme]  # of a process's loss, by what becomes of gradients
        if scheme == "columns":
            if self.count % 2:
                raise Misused(f"the scheme columns wants pairs of processes, and there are {self.count}.")
            pairs = [dist.new_group([at, at + 1]) for at in range(0, self.count, 2)]
            self.units = pairs[self.rank // 2]
            self.same_column = [dist.new_group(range(at, self.count, 2)) for at in (0, 1)][self.column]

    def share(self, total):
        """Of pictures that are measured, or trained on under `data` and `2014`."""
        return share(total, self.rank, self.count)

    def rows(self, total):
        """Of a joined batch: both columns have the same."""
        return share(total, self.rank // self.copies, self.count // self.copies)

    def wrapped(self, net):
        """Gradients are averaged while the backward pass goes on; batch norm's statistics are the joined batch's already."""
        from torch.nn.parallel import DistributedDataParallel

        known = signature(DistributedDataParallel).parameters  # the older name was left behind
        buffers = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
        return DistributedDataParallel(net, gradient_as_bucket_view=True, **buffers,
                                       device_ids=[self.device] if self.device.type == "cuda" else None)

    def adding(self, net):
        return net.no_sync() if self.scheme == "data" else nullcontext()

    def summed(self, tensor):
        """The sum over all processes, through which gradients flow."""
        return Summed.apply(tensor, self.dist, self.sums)

    def summed_rows(self, tensor):
        """Over those with the same column and other pictures."""
        return Summed.apply(tensor, self.dist, self.same_column)

    def gathered(self, thing):
        """[each process's thing], by rank: numbers, arrays."""
        found = [None] * self.count
        self.dist.all_gather_object(found, thing, group=self.small)
        return found

    def agreed(self, *flags):
        """Of each number the largest that any process has: the same everywhere."""
        numbers = torch.tensor(flags, dtype=torch.int64)
        self.dist.all_reduce(numbers, self.dist.ReduceOp.MAX, group=self.small)
        return numbers.tolist()

    def wait(self):
        self.dist.barrier(group=self.small)

    def end(self):
        if self.began:
            self.dist.destroy_process_group()


class Summed(torch.autograd.Function):
    """What one process adds to the sum, every process's loss depends on: so gradients are summed too."""

    @staticmethod
    def forward(context, tensor, dist, group):
        context.dist, context.group = dist, group
        tensor = tensor.clone()
        dist.all_reduce(tensor, group=group)
        return tensor

    @staticmethod
    def backward(context, gradient):
        gradient = gradient.clone()
        context.dist.all_reduce(gradient, group=context.group)
        return gradient, None, None
