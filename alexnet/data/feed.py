"""Batches of a store on the device: a store that fits the device's memory lives there; else threads read ahead while the
device works. Which pictures make up a batch is not decided here (order.py)."""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch

from alexnet.device import sent

RESIDENT_SHARE = 0.5  # of the device's free memory
AHEAD = 3  # batches in preparation beside the one in use


class Feed:
    def __init__(self, split, positions=None, *, device="cpu", workers=1):
        """positions: the part of the split that is fed (a holdout, a subset); everything when left out."""
        self.split, self.device, self.workers = split, torch.device(device), max(1, workers)
        self.positions = np.arange(len(split)) if positions is None else positions
        self.labels = split.labels[self.positions]
        self.waited = 0.0  # seconds in which the device had nothing to do
        self.resident = self._upload() if self.device.type == "cuda" else None

    def __len__(self):
        return len(self.positions)

    def _upload(self):
        needed = len(self) * self.split.size**2 * 3
        if needed > RESIDENT_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return None
        pixels = torch.empty((len(self), self.split.size, self.split.size, 3), dtype=torch.uint8, device=self.device)
        for first in range(0, len(self), 1024):
            part = self.split.pictures(self.positions[first : first + 1024])
            pixels[first : first + 1024] = torch.from_numpy(part).to(self.device)
        return pixels, torch.from_numpy(self.labels).to(self.device)

    def batches(self, plan):
        """plan: arrays of places in this feed. Yields (uint8 (B, S, S, 3), labels (B,)), both on the device, in order."""
        if self.resident:
            pixels, labels = self.resident
            for places in plan:
                index = sent(places, self.device)
                yield pixels[index], labels[index]
            return
        plan, ready = iter(plan), deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for places in islice(plan, AHEAD):
                    ready.append(pool.submit(self._read, places))
                while ready:
                    began = time.perf_counter()
                    pixels, labels = ready.popleft().result()
                    self.waited += time.perf_counter() - began
                    for places in islice(plan, 1):
                        ready.append(pool.submit(self._read, places))
                    yield pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
            finally:
                for future in ready:
                    future.cancel()

    def _read(self, places):
        pixels = torch.from_numpy(self.split.pictures(self.positions[places]))
        labels = torch.from_numpy(self.labels[places])
        return (pixels.pin_memory(), labels.pin_memory()) if self.device.type == "cuda" else (pixels, labels)


def in_turn(count, batch_size):
    """The plan that goes through everything once, in the store's order."""
    for first in range(0, count, batch_size):
        yield np.arange(first, min(first + batch_size, count))
