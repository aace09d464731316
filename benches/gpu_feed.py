"""What feeds a graphics card: from a store of raw 256 x 256 pictures on the host, or one that lies on the card, to the training
step.

    python -m benches.gpu_feed OUT_FOLDER [--pictures 16384] [--batch 1024] [--seconds 15] [--minutes 7.5] [--rehearse]

Parts: the bare step (its batch is there as bytes); the same fed from a store on the card; from a file that is memory-mapped as a
store's shards are, gathered by threads into pinned buffers in turn and copied on a stream of its own; the loop's own feed
(data/feed.py) as it stands; from pictures with half the colours (YUV 4:2:0, 1.5 bytes a pixel), on the card or pinned, decoded by
the augmentation; and each link alone: gathering, copying, decoding JPEG. Pictures a second, and shares of the bare step.
Ninety epochs are computed from that. Writes OUT_FOLDER/gpu_feed.json after every part.
"""

import argparse
import io
import os
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F

from alexnet import nets, ops, optim, recipes, weights
from alexnet.data import augment, order
from alexnet.data.feed import Feed
from alexnet.net import AlexNet
from benches import gpu_job, gpu_yuv
from benches.gpu_step import captured, compiled, stepper

IMAGENET, EPOCHS = 1_281_167, 90


def main():
    words = gpu_job.words(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    words.add_argument("--pictures", type=int, default=16384)
    words.add_argument("--batch", type=int, default=1024)
    words.add_argument("--row", default="paper")
    words.add_argument("--seconds", type=float, default=15)
    words.add_argument("--threads", type=int, default=os.cpu_count())
    asked = words.parse_args()
    if asked.rehearse:
        asked.pictures, asked.batch, asked.row, asked.seconds = 64, 8, "small64", 1.0
    job, row = gpu_job.Job("gpu_feed", asked), nets.row(asked.row)
    size = row.crop * 8 // 7
    with tempfile.TemporaryDirectory() as folder:
        split = raw_split(Path(folder), asked.pictures, size)
        step = Step(job, row, asked.batch, split.shape)
        job.part("bare step", partial(fed, job, asked, step, nothing_new(step)), seconds=60)
        job.part("store on the device", partial(fed, job, asked, step, resident(job, asked, split)), seconds=30)
        for threads in sorted({asked.threads, max(1, asked.threads // 2), 1}, reverse=True):
            source = pinned(job, asked, split, threads)
            job.part(f"pinned buffers, {threads} threads", partial(fed, job, asked, step, source), seconds=30)
        job.part("the loop's feed, not resident", partial(fed, job, asked, step, loops(job, asked, split)), seconds=30)
        half = cache(lambda: halved(job, Path(folder), split))
        step_of_half = cache(lambda: Step(job, row, asked.batch, half().shape))
        uninterpreted = not ops.kernels(step.pictures)
        job.part("half the colours: what is lost", partial(lost, job, asked, size), seconds=15, needs_cuda=uninterpreted)
        for name, source in (("store on the device", partial(resident, job, asked)),
                             (f"pinned buffers, {asked.threads} threads", partial(pinned, job, asked, threads=asked.threads))):
            job.part(f"half the colours: {name}", lambda source=source: fed(job, asked, step_of_half(), source(half())), seconds=75,
                     needs_cuda=uninterpreted)
        job.part("gathering alone", partial(gathering, job, asked, split), seconds=20)
        job.part("copying alone", partial(copying, job, asked, size), seconds=10, needs_cuda=True)
        job.part("decoding JPEG alone", partial(decoding, job, asked, split), seconds=20)
    shares(job)


def raw_split(folder, count, size):
    chance = np.random.default_rng(0)
    noise = (chance.integers(0, 256, (min(256, count - first), size, size, 3), np.uint8) for first in range(0, count, 256))
    return split_of(folder / "shard", count, (size, size, 3), noise, chance.integers(0, 10, count))


def halved(job, folder, split):
    """The same with half the colours, made on the device."""
    parts = (split.pictures(np.arange(first, min(first + 256, split.images))) for first in range(0, split.images, 256))
    frames = (gpu_yuv.to_yuv(torch.from_numpy(part).to(job.device)).cpu().numpy() for part in parts)
    return split_of(folder / "half", split.images, (split.size * 3 // 2, split.size), frames, split.labels)


def split_of(path, count, shape, parts, labels):
    """A raw file as a store's shards are, in the page cache; what Feed wants to know of a split."""
    with open(path, "wb") as file:
        for part in parts:
            file.write(part.tobytes())
    pixels = np.memmap(path, np.uint8, "r", shape=(count, *shape)).view(np.ndarray)

    def pictures(indices, *, out=None):
        out = np.empty((len(indices), *shape), np.uint8) if out is None else out
        for row, index in zip(out, indices.tolist()):
            row[...] = pixels[index]
        return out

    return SimpleNamespace(size=shape[1], shape=shape, labels=labels, pictures=pictures, __len__=lambda: count, images=count)


class Step:
    """Augmentation from bytes in one place, forward, backward and update; on a card all of it one graph."""

    def __init__(self, job, row, batch, shape):
        self.job, self.crop, self.size, device = job, row.crop, shape[1], job.device
        self.pictures = torch.randint(0, 256, (batch, *shape), dtype=torch.uint8, device=device)
        self.labels = torch.randint(0, 10, (batch,), device=device)
        self.boxes = torch.zeros(batch, 4, dtype=torch.int64, device=device)
        self.mirrored = torch.zeros(batch, dtype=torch.bool, device=device)
        self.shift, self.mean = torch.zeros(batch, 3, device=device), torch.full((3, row.crop, row.crop), 120.0, device=device)
        self.recipe = recipes.recipe("paper", rate=1e-5)
        net = weights.to_device(AlexNet(row, seed=0), device).train()
        net.draw(0)
        step = stepper(job, compiled(job, net), optim.optimiser(net, self.recipe), self.batch, self.labels)
        self.run = captured(step) if job.cuda else step

    def batch(self):
        if own := ops.kernels(self.pictures):
            return own.cut(self.pictures, self.boxes, self.mirrored, self.shift, self.mean, self.crop, 1.1, torch.bfloat16, 1,
                           self.crop)
        cut = augment.windows_at_once(self.pictures, self.boxes[:, 0], self.boxes[:, 1], self.crop)
        cut = torch.where(self.mirrored[:, None, None, None], cut.flip(2), cut)
        whole = augment.centred(cut, self.mean)
        augment.rows(whole).add_(self.shift.repeat(1, self.crop)[:, None])
        return whole.div_(1.1)

    def __call__(self, pictures, labels, number):
        """Draws are made and carried over as in a real step."""
        count = len(self.labels)
        draws = augment.draw(order.generator(number), count=count, size=self.size, crop=self.crop, recipe=self.recipe)
        for own, drawn in ((self.boxes, draws.boxes.astype(np.int64)), (self.mirrored, draws.mirrored),
                           (self.shift, draws.noise.astype(np.float32))):
            own.copy_(torch.from_numpy(np.ascontiguousarray(drawn)), non_blocking=True)
        if pictures is not None:
            self.pictures.copy_(pictures, non_blocking=True)
            self.labels.copy_(labels, non_blocking=True)
        self.run()


def fed(job, asked, step, source):
    """Pictures a second over so many seconds, after three steps that do not count. The host waits every eighth step, no more."""
    seen, began = 0, None
    for number, (pictures, labels) in enumerate(source):
        step(pictures, labels, number)
        if number == 2:
            finish(job)
            began, seen = time.perf_counter(), -asked.batch
        seen += asked.batch
        if began and number % 8 == 7:
            finish(job)
            if time.perf_counter() - began > asked.seconds:
                break
    finish(job)
    rate = seen / (time.perf_counter() - began)
    return {"pictures_per_second": round(rate, 1), "seconds": round(time.perf_counter() - began, 2), "pictures": seen}


def finish(job):
    if job.cuda:
        torch.cuda.synchronize()


def plan(asked):
    """Batches of random places without end."""
    chance = np.random.default_rng(1)
    while True:
        yield chance.integers(0, asked.pictures, asked.batch)


# ---- where batches come from -----------------------------------------------------------------------------------------------


def nothing_new(step):
    while True:
        yield None, None


def resident(job, asked, split):
    whole = torch.from_numpy(split.pictures(np.arange(asked.pictures))).to(job.device)
    labels = torch.from_numpy(split.labels).to(job.device)
    for places in plan(asked):
        index = torch.from_numpy(places).to(job.device, non_blocking=True)
        yield whole[index], labels[index]


def pinned(job, asked, split, threads, buffers=4):
    """Buffers in turn: filled by threads a share each, copied by a stream of its own, free again when that copy has ended."""
    host = [torch.empty((asked.batch, *split.shape), dtype=torch.uint8, pin_memory=job.cuda) for _ in range(buffers)]
    card = [torch.empty_like(one, device=job.device, pin_memory=False) for one in host]
    copies = torch.cuda.Stream() if job.cuda else None
    read, used = [None] * buffers, [None] * buffers  # events: the copy of a buffer, the last use of what it became
    places, waiting = plan(asked), deque()
    share = -(-asked.batch // threads)
    with ThreadPoolExecutor(threads) as pool:

        def begin(turn):
            if read[turn]:
                read[turn].synchronize()
            chosen = next(places)
            parts = [pool.submit(split.pictures, chosen[first : first + share], out=host[turn].numpy()[first : first + share])
                     for first in range(0, asked.batch, share)]
            waiting.append((turn, chosen, parts))

        for turn in range(buffers - 1):
            begin(turn)
        try:
            while True:
                turn, chosen, parts = waiting.popleft()
                for part in parts:
                    part.result()
                labels = torch.from_numpy(split.labels[chosen])
                if not copies:
                    yield host[turn], labels
                else:
                    with torch.cuda.stream(copies):
                        if used[turn]:
                            copies.wait_event(used[turn])
                        card[turn].copy_(host[turn], non_blocking=True)
                        read[turn] = copies.record_event()
                    torch.cuda.current_stream().wait_event(read[turn])
                    yield card[turn], labels
                    used[turn] = torch.cuda.current_stream().record_event()
                begin((turn + buffers - 1) % buffers)
        finally:
            for _, _, parts in waiting:
                for part in parts:
                    part.cancel()


class Far(Feed):
    """The loop's feed of a store too large for the card."""

    def _upload(self):
        return None


def loops(job, asked, split):
    yield from Far(split, np.arange(split.images), device=job.device, workers=asked.threads).batches(plan(asked))


def lost(job, asked, size):
    """On smooth pictures by chance: decibels, and the kernel beside the definition; then both kernels alone."""
    small = torch.randint(0, 256, (asked.batch, 3, 16, 16), device=job.device).float()
    stored = F.interpolate(small, (size, size), mode="bicubic").clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    frames, few = gpu_yuv.to_yuv(stored), slice(0, 64)
    exact, own = gpu_yuv.from_yuv(frames[few].cpu().numpy()), ops.kernels(stored)
    corners = torch.zeros(asked.batch, 2, dtype=torch.int64, device=job.device)
    mirrored, mean = torch.zeros(asked.batch, dtype=torch.bool, device=job.device), torch.zeros(3, 1, 1, device=job.device)
    found = {"decibels": gpu_yuv.decibels(stored[few].cpu().numpy(), exact),
             "imagenet_gib": round(IMAGENET * frames[0].numel() / 2**30, 1)}
    seen = own.cut(frames[few], corners[few], mirrored[few], None, mean, size, 1.0, torch.float32, 1, size)
    found["largest_difference"] = float(np.abs(seen.permute(0, 2, 3, 1).cpu().numpy() - exact).max())
    for name, given in (("all the colours", stored), ("half the colours", frames)):
        times = job.timed(lambda given=given: own.cut(given, corners, mirrored, None, mean, size, 1.0, torch.bfloat16, 1, size))
        found[name] = {**times, "pictures_per_ms": round(asked.batch / times["ms"], 1)}
    return found


# ---- each link alone -------------------------------------------------------------------------------------------------------


def rate(asked, once, count):
    once()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < min(asked.seconds, 3):
        once()
        done += count
    return round(done / (time.perf_counter() - began), 1)


def gathering(job, asked, split):
    out, found, places = np.empty((asked.batch, split.size, split.size, 3), np.uint8), {}, plan(asked)
    for threads in sorted({1, asked.threads}):
        share = -(-asked.batch // threads)
        with ThreadPoolExecutor(threads) as pool:

            def once(share=share, pool=pool):
                chosen = next(places)
                list(pool.map(lambda first: split.pictures(chosen[first : first + share], out=out[first : first + share]),
                              range(0, asked.batch, share)))

            found[f"{threads} threads"] = rate(asked, once, asked.batch)
    return {"pictures_per_second": found}


def copying(job, asked, size):
    host = torch.empty((asked.batch, size, size, 3), dtype=torch.uint8, pin_memory=True)
    card = torch.empty_like(host, device=job.device, pin_memory=False)
    times = job.timed(lambda: card.copy_(host, non_blocking=True))
    return {**times, "gb_per_second": host.numel() / times["ms"] / 1e6,
            "pictures_per_second": round(asked.batch / times["ms"] * 1e3)}


def decoding(job, asked, split):
    """Of smooth pictures at quality 90 (noise would be four times as long), by whichever decoder is there, on every core."""
    from PIL import Image

    small = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    streams = []
    for one in small:
        file = io.BytesIO()
        Image.fromarray(one).resize((split.size, split.size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        streams.append(file.getvalue())
    decode, name = decoder()
    with ThreadPoolExecutor(asked.threads) as pool:
        found = rate(asked, lambda: list(pool.map(decode, streams * 8)), 64 * 8)
    return {"pictures_per_second": found, "decoder": name, "threads": asked.threads, "mean_bytes": sum(map(len, streams)) / 64}


def decoder():
    try:
        import simplejpeg

        return simplejpeg.decode_jpeg, "simplejpeg"
    except ImportError:
        import cv2

        return lambda stream: cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_COLOR), "OpenCV"


def shares(job):
    parts = job.found["parts"]
    bare = parts["bare step"].get("pictures_per_second")
    found = {name: part["pictures_per_second"] for name, part in parts.items()
             if isinstance(part.get("pictures_per_second"), float) and "alone" not in name}
    job.found["of_the_bare_step"] = {name: round(one / bare, 3) for name, one in found.items()} if bare else {}
    job.found["computed_minutes_of_90_epochs_of_imagenet"] = {name: round(EPOCHS * IMAGENET / one / 60, 1)
                                                              for name, one in found.items()}
    job.write()
    print(job.found["of_the_bare_step"], job.found["computed_minutes_of_90_epochs_of_imagenet"])


if __name__ == "__main__":
    main()
