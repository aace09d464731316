"""From stored pictures to the network's input, a batch at a time on the batch's own device: random crops, reflections and
colour noise (paper 4.1, with what the source adds), resized crops for today's recipes, and the views of testing."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from alexnet import ops
from alexnet.data import order
from alexnet.device import sent
from alexnet.errors import Misused
from alexnet.nets.layers import Conv

PART = 7 / 8  # of a picture's side in a view of it: 224 of 256
VIEWS = (1, 2, 5, 9, 10)


@dataclass
class Draws:
    """What chance decides about a batch: one row a picture, on the host."""

    boxes: np.ndarray  # (B, 4) top, left, height, width in stored pixels
    mirrored: np.ndarray  # (B,)
    noise: np.ndarray  # (B, 3) standard normal
    share: float = 1.0  # of each picture in a mixed one; the rest is its partner's

    def rows(self, first, count):
        """The share of one process in the joined batch."""
        part = slice(first, first + count)
        return Draws(self.boxes[part], self.mirrored[part], self.noise[part], self.share)


def draw(random, *, count, size, crop, recipe):
    """`random` belongs to the step, so the same step draws the same, wherever it runs."""
    shared = recipe.crop_shared_by  # the source drew once for 32 pictures in a row
    groups = -(-count // shared)
    if recipe.crop != "resized":
        corners = random.integers(0, size - crop + 1, (groups, 2))
        if recipe.crop == "centre":
            corners[:] = (size - crop) // 2
        boxes = np.concatenate([corners, np.full((groups, 2), crop)], axis=1).astype(np.float64)
    else:
        boxes = resized_boxes(random, groups, size, recipe.least_area)
    mirrored = random.random(groups) < (0.5 if recipe.reflect else 0.0)
    noise = random.standard_normal((count, 3))
    share = random.beta(recipe.mixing, recipe.mixing) if recipe.mixing else 1.0
    return Draws(boxes.repeat(shared, axis=0)[:count], mirrored.repeat(shared)[:count], noise, share)


def resized_boxes(random, count, size, least_area):
    """Area uniform in [least, 1], log of the aspect ratio uniform in 3:4 to 4:3, clipped to the picture."""
    area = random.uniform(least_area, 1, count) * size**2
    ratio = np.exp(random.uniform(math.log(3 / 4), math.log(4 / 3), count))
    sides = np.minimum(np.sqrt(np.stack([area / ratio, area * ratio], axis=1)), size)
    return np.concatenate([random.random((count, 2)) * (size - sides), sides], axis=1)


def augment(pictures, draws, *, crop, mean, noise=0.0, colour=None, resized=False, dtype=torch.float32):
    """uint8 (B, S, S, 3) to centred float (B, 3, crop, crop), channels last in memory; every step is rounded to float32, the answer
    to dtype. On a graphics card windows, reflections, mean and noise are one kernel.

    The mean is its central window whatever the crop and its reflection, as in the source. Colour noise: for each picture
    one shift, eigenvectors x (standard normal x stdevs x noise); then everything is divided by 1 + noise, as in the source.
    """
    device = pictures.device
    mirrored = sent(draws.mirrored, device)
    boxes = sent(draws.boxes, device, torch.float32 if resized else torch.int64)
    shift = None
    if noise:
        shift = draws.noise * colour.stdevs * noise @ np.asarray(colour.vectors).T  # (B, 3)
        shift = sent(shift, device, torch.float32)
    if not resized and draws.share == 1 and (kernels := ops.kernels(pictures)):
        return kernels.cut(pictures, boxes, mirrored, shift, mean, crop, 1 + noise, dtype, 1, crop)
    if resized:
        batch = less(resize(pictures, boxes, mirrored, crop), mean)
    else:
        cut = reflected(windows(pictures, boxes[:, 0], boxes[:, 1], crop), mirrored)
        batch = centred(cut, mean)
    if noise:
        rows(batch).add_(shift.repeat(1, crop)[:, None])
        batch.div_(1 + noise)
    return mixed(lambda one: one, batch, draws.share).to(dtype)


def number_format(row, device, precision):
    """What a training batch is made in: on a card the step's bfloat16, where the net rounds pictures to it before all else."""
    readers = [layer for place, layer in enumerate(row.layers) if not place or getattr(layer, "sees", "") == "picture"]
    rounded = row.channels == 3 and row.input_scale == 1 and all(isinstance(layer, Conv) for layer in readers)
    return torch.bfloat16 if device.type == "cuda" and precision == "bfloat16" and rounded else torch.float32


def mixed(function, things, share):
    """function(things) in this share, and of their partners in the rest."""
    return function(things) if share == 1 else share * function(things) + (1 - share) * function(partners(things))


def pieces(count, most):
    """Slices of a batch that go through the network at once, whole pairs of neighbours; 0: all of it. A few left over are no
    piece of their own, as they are no batch."""
    most = max(most // 2 * 2, 2) if most else max(count, 1)
    last = order.steps(count, most) - 1
    return [slice(n * most, count if n == last else (n + 1) * most) for n in range(last + 1)]


def side(crop, share):
    """About this share of a crop, in steps of a fourteenth: few sizes, and the net's own at last."""
    step = max(crop // 14, 1)
    return crop - step * round((1 - share) * crop / step)


def partners(things):
    """Each one's neighbour, two by two: whoever has an even share of a batch has every partner too. A last odd one is its own."""
    even = len(things) // 2 * 2
    order = torch.arange(len(things), device=things.device)
    order[:even] = order[:even] ^ 1
    return things[order]


def windows(pictures, tops, lefts, crop):
    """Crops at their own places: (B, S, S, 3) to (B, crop, crop, 3)."""
    if pictures.device.type != "cpu":
        return windows_at_once(pictures, tops, lefts, crop)
    cut = torch.empty((len(pictures), crop, crop, 3), dtype=pictures.dtype)
    for one, picture, top, left in zip(cut.numpy(), pictures.numpy(), tops.tolist(), lefts.tolist()):
        one[...] = picture[top : top + crop, left : left + crop]  # rows are copied as they lie: nine times the speed of indices
    return cut


def windows_at_once(pictures, tops, lefts, crop):
    """Through a view of every window there is: one kernel for the batch."""
    B, S, _, _ = pictures.shape
    picture, row, column, channel = pictures.stride()
    places = S - crop + 1
    every = pictures.as_strided((B, places, places, crop, crop, 3), (picture, row, column, row, column, channel))
    return every[torch.arange(B, device=pictures.device), tops, lefts]


def reflected(pictures, mirrored):
    """uint8 (B, h, w, 3), some of them reflected; on the host in place, and only those."""
    if pictures.device.type != "cpu":
        return torch.where(mirrored[:, None, None, None], pictures.flip(2), pictures)
    for i in mirrored.nonzero()[:, 0].tolist():
        pictures[i] = pictures[i].flip(1)
    return pictures


def centred(pictures, mean):
    """uint8 (B, h, w, 3) minus mean (3, h, w) or (3, 1, 1), as (B, 3, h, w) in channels-last memory."""
    return less(pictures.to(torch.float32, memory_format=torch.contiguous_format).permute(0, 3, 1, 2), mean)


def less(batch, mean):
    """The batch minus the mean, in place."""
    _, _, h, w = batch.shape
    rows(batch).sub_(mean.to(batch.dtype).expand(3, h, w).permute(1, 2, 0).reshape(h, w * 3))
    return batch


def rows(batch):
    """A channels-last batch (B, 3, h, w) as it lies: (B, h, w * 3). Rows are long enough for vector units; three values are not."""
    B, C, h, w = batch.shape
    return batch.permute(0, 2, 3, 1).view(B, h, w * C)


def resize(pictures, boxes, mirrored, crop):
    """Each picture's box to crop x crop, bicubic with antialiasing, as two matrix products: rows, then columns."""
    B, S, _, _ = pictures.shape
    down = interpolation(boxes[:, 0], boxes[:, 2], S, crop)  # (B, crop, S)
    across = interpolation(boxes[:, 1], boxes[:, 3], S, crop)
    across = torch.where(mirrored[:, None, None], across.flip(1), across)
    rows = torch.bmm(down, pictures.reshape(B, S, S * 3).float())  # (B, crop, S*3)
    rows = rows.view(B, crop, S, 3).permute(0, 2, 1, 3).reshape(B, S, crop * 3)
    both = torch.bmm(across, rows).view(B, crop, crop, 3)  # (B, column, row, 3)
    return both.permute(0, 3, 2, 1).contiguous(memory_format=torch.channels_last)


def interpolation(start, side, size, crop):
    """(B, crop, size): row i holds the weights of the stored pixels that make output pixel i: Keys's cubic, as wide as the pixel
    it makes, or as a stored pixel where that is wider. A triangle blurs what it enlarges, and the net is used on sharp pictures."""
    pixel = side[:, None] / crop
    centre = start[:, None] + (torch.arange(crop, device=start.device) + 0.5) * pixel  # (B, crop)
    place = torch.arange(size, device=start.device) + 0.5
    far = (place - centre[:, :, None]).abs() / pixel.clamp(min=1)[:, :, None]
    near, beyond = 1 + far * far * (1.5 * far - 2.5), 2 + far * (far * (2.5 - 0.5 * far) - 4)
    weights = torch.where(far < 1, near, torch.where(far < 2, beyond, 0.0))
    return weights / weights.sum(2, keepdim=True)


def views(pictures, *, mean, crop, count=1):
    """The views of testing, a centred batch each: the centre (1), and its reflection (2); or top left, top right, centre,
    bottom left, bottom right (5), then their reflections (10), paper 4.1; or a grid of three by three, row by row, as the
    source tests on CIFAR-10 (9). The order is the source's. Where the crop is the whole picture, that is the centre, and the others
    are as large a part of it as the paper's are of theirs, enlarged."""
    check_views(count)
    whole = pictures.shape[1] == crop
    window = round(PART * crop) if whole else crop
    far = pictures.shape[1] - window
    half = far // 2
    corners = {
        5: [(0, 0), (0, far), (half, half), (far, 0), (far, far)],
        9: [(top, left) for top in (0, half, far) for left in (0, half, far)],
    }
    places = corners.get(count // 2 if count == 10 else count, [(half, half)])
    cuts = [pictures[:, top : top + window, left : left + window] for top, left in places]
    if whole:
        cuts[len(cuts) // 2] = pictures
    cuts += [cut.flip(2) for cut in cuts] if count in (2, 10) else []
    return [less(enlarged(cut, crop), mean) if cut.shape[1] < crop else centred(cut, mean) for cut in cuts]


def check_views(count):
    if count not in VIEWS:
        raise Misused(f"--views is {count}; it may be {', '.join(map(str, VIEWS))}.")


def are_parts(count, size, crop):
    """Of each view, in that order, whether it is an enlarged part."""
    places = count // 2 if count in (2, 10) else count
    return [size == crop and number % places != places // 2 for number in range(count)]


def enlarged(pictures, size):
    """uint8 (B, h, w, 3) to float32 (B, 3, size, size)."""
    boxes = torch.tensor([[0.0, 0.0, *pictures.shape[1:3]]], device=pictures.device).expand(len(pictures), 4)
    return resize(pictures, boxes, torch.zeros(len(pictures), dtype=torch.bool, device=pictures.device), size)


def central(image, crop):
    """The central window of a mean picture (S, S, 3), as (3, crop, crop)."""
    top = (image.shape[0] - crop) // 2
    return torch.from_numpy(np.ascontiguousarray(image[top : top + crop, top : top + crop])).permute(2, 0, 1).contiguous()
