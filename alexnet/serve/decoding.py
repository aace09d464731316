"""Encoded bytes to the square that the net takes, as data/picture.py defines it, whatever was sent. Plain pictures are decoded in
threads; the others in a child process (python -m alexnet.serve.apart) that has a memory limit, opens no format that runs programs,
and is ended when a picture takes too long. So one slow or hostile picture delays nobody."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from alexnet.data import picture
from alexnet.errors import Refused
from alexnet.serve import lanes
from alexnet.serve.problems import Problem

CHILDREN = 2
PATIENT = 16  # odd pictures that wait for a child
STATUS = {b"R": 400, b"L": 413}


class Decoder:
    def __init__(self, limits):
        self.limits = limits
        self.threads = ThreadPoolExecutor(picture.decoders(), "decode")
        self.children, self.free, self.patient = [Child() for _ in range(CHILDREN)], None, 0

    async def square(self, data, size, resampling=None):
        """uint8 (size, size, 3), or a Problem."""
        header = lanes.look(data)
        if header.width * header.height > self.limits.pixels:
            raise too_many_pixels(header.width, header.height, self.limits)
        if not header.near:
            return await self._apart(data, size, resampling)
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, picture.square, data, size, resampling)
        except Refused as refusal:
            raise unreadable(str(refusal)) from None
        except MemoryError:
            raise Problem(503, "there is not enough memory to read this picture now.", reason="memory") from None

    async def _apart(self, data, size, resampling):
        if self.patient >= PATIENT:
            raise Problem(429, "too many unusual pictures are waiting to be read: try again in a second.", reason="apart")
        if self.free is None:  # made where the loop runs
            self.free = asyncio.Queue()
            for child in self.children:
                self.free.put_nowait(child)
        self.patient += 1
        try:
            child = await self.free.get()
        finally:
            self.patient -= 1
        try:
            kind, answer = await child.ask(data, size, resampling, self.limits)
        finally:
            self.free.put_nowait(child)
        if kind == b"S":
            return np.frombuffer(bytearray(answer), np.uint8).reshape(size, size, 3)
        sentence = answer.decode("utf-8", "replace")
        raise unreadable(sentence) if kind == b"R" else Problem(STATUS[kind], sentence, reason="pixels")

    async def close(self):
        self.threads.shutdown(wait=False, cancel_futures=True)
        for child in self.children:
            await child.end()


class Child:
    """A process that decodes a picture at a time; started when it is wanted, again after it was ended."""

    def __init__(self):
        self.process = None

    async def ask(self, data, size, resampling, limits):
        """-> (kind, answer): S a square, R refused, L too large."""
        whole, fresh = False, self.process is None
        try:
            async with asyncio.timeout(limits.decoding + (10 if fresh else 0)):  # Python itself may start slowly
                if fresh:
                    self.process = await start()
                head = (len(data), size, limits.pixels, limits.frames, int(resampling == picture.POINTS))
                self.process.stdin.write(b"".join(number.to_bytes(8, "little") for number in head))
                self.process.stdin.write(data)
                kind = await self.process.stdout.readexactly(1)
                answer = await self.process.stdout.readexactly(int.from_bytes(await self.process.stdout.readexactly(8), "little"))
                whole = True
                return kind, answer
        except TimeoutError:
            raise Problem(422, f"the picture takes longer than {limits.decoding:g} seconds to decode.", reason="decoding") from None
        except (EOFError, OSError):
            if fresh:
                raise unreadable("damaged: its decoder gave up") from None
        finally:
            if not whole:  # also when whoever asked was cancelled: half an answer must not reach the next
                await self.end()
        return await self.ask(data, size, resampling, limits)  # it was perhaps ended while it had nothing to do: a new one says

    async def end(self):
        process, self.process = self.process, None
        if process:
            try:
                process.kill()
            except ProcessLookupError:
                pass
            await asyncio.shield(process.wait())


async def start():
    house = Path(__file__).parents[2]  # and not the folder that the service was started in
    quiet = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
             "PYTHONPATH": f"{house}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "alexnet.serve.apart", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env=os.environ | quiet, start_new_session=True)  # signals to the service are not for it


def unreadable(reason):
    return Problem(400, f"the picture cannot be read: {reason.rstrip('.')}.", reason="unreadable")


def too_many_pixels(width, height, limits):
    return Problem(413, f"{width:,} x {height:,} are more than the {limits.pixels:,} pixels that are read.", reason="pixels")
