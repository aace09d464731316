"""alexnet serve under load, beside the same net behind a plain FastAPI handler and behind LitServe, and beside itself with the net
replaced by a constant: 1, 8 and 64 clients that send real photographs of about 500 x 375.

    python -m benches.serving PHOTOGRAPHS               into results/serving.json
    python -m benches.serving PHOTOGRAPHS --soak 100000  that many requests to ours alone, and the memory along the way
    python -m benches.serving PHOTOGRAPHS --quick       seconds, nothing written: does it run at all?

Servers are processes of their own and take turns, A B C D A B C D ...; clients are one more process, asyncio, keep-alive,
so that they cost all servers the same. Cells are medians of the turns. A failed request is counted, never left out.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median

import numpy as np
import torch

from alexnet import rundir
from benches.record import RESULTS

CLIENTS = (1, 8, 64)
FORMS = ("ours", "plain", "litserve", "constant")
PATHS = {"ours": "/v1/predict", "constant": "/v1/predict", "plain": "/predict", "litserve": "/predict"}


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("photographs", nargs="?", help="a folder of JPEG files")
    words.add_argument("--model", default="default")
    words.add_argument("--seconds", type=float, default=10, help="of a turn")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    words.add_argument("--forms", nargs="+", default=FORMS)
    words.add_argument("--soak", type=int, default=0, help="requests to ours alone")
    words.add_argument("--quick", action="store_true")
    words.add_argument("--server", nargs=2, metavar=("FORM", "PORT"), help="inside: a server")
    asked = words.parse_args()
    if asked.server:
        return server(asked.server[0], int(asked.server[1]), asked.model)
    if asked.quick:
        asked.seconds, asked.rounds, asked.clients = 1.0, 1, (1, 8)
    bodies = photographs(asked.photographs)
    if asked.soak:
        return soak(asked, bodies)
    found = {"command": f"python -m benches.serving PHOTOGRAPHS --seconds {asked.seconds:g}", "model": asked.model,
             "seconds_a_turn": asked.seconds, "runs": asked.rounds,
             "photographs": {"count": len(bodies), "mean_bytes": round(float(np.mean([len(body) for body in bodies])))},
             "rows": compared(asked, bodies), "environment": rundir.environment(torch.device("cpu"))}
    found["verdict"] = verdict(found["rows"])
    if not asked.quick:
        RESULTS.mkdir(exist_ok=True)
        rundir.replace_file(RESULTS / "serving.json", json.dumps(found, indent=1).encode())
    print(json.dumps(found["verdict"], indent=1))


def photographs(folder):
    found = sorted(path for path in Path(folder or ".").iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise SystemExit(f"{folder} has no JPEG file in it: name a folder of photographs.")
    return [path.read_bytes() for path in found[:256]]


def compared(asked, bodies):
    turns = {(form, clients): [] for clients in asked.clients for form in asked.forms}
    running = {}
    try:
        for form in asked.forms:
            running[form] = Server(form, asked.model)
        for one in running.values():
            asyncio.run(load(one, bodies, clients=4, seconds=min(2.0, asked.seconds)))  # warm
        for _ in range(asked.rounds):
            for form, clients in turns:
                turns[form, clients].append(asyncio.run(load(running[form], bodies, clients=clients, seconds=asked.seconds)))
                told = turns[form, clients][-1]
                print(f"{form:9} {clients:3} clients {told['per_second']:8.1f}/s  p50 {told['p50_ms']:7.1f} ms  "
                      f"p99 {told['p99_ms']:7.1f} ms  failed {told['failed']}", flush=True)
    finally:
        for one in running.values():
            one.end()
    return [{"form": form, "clients": clients, "requests": sum(one["requests"] for one in each),
             "failed": sum(one["failed"] for one in each),
             **{key: median(one[key] for one in each) for key in ("per_second", "p50_ms", "p95_ms", "p99_ms")},
             "each_per_second": [one["per_second"] for one in each]}
            for (form, clients), each in turns.items()]


def verdict(rows):
    """At the most clients: ours over the others, by each round's own ratio, as rounds differ more than forms; and what was asked
    for: the less of 1.5 plain and 0.95 constant."""
    most = max(row["clients"] for row in rows)
    rate = {row["form"]: row["each_per_second"] for row in rows if row["clients"] == most}
    told = {"clients": most, "failed": sum(row["failed"] for row in rows if row["form"] == "ours")}
    over = {form: [a / b for a, b in zip(rate["ours"], rate[form])] for form in rate if form != "ours" and "ours" in rate}
    told |= {f"ours over {form}": {"median": round(median(each), 3), "each": [round(one, 3) for one in each]}
             for form, each in over.items()}
    if {"plain", "constant"} <= over.keys():
        told["reached"] = median(max(a / 1.5, b / 0.95) for a, b in zip(over["plain"], over["constant"])) >= 1
    return told


def soak(asked, bodies):
    """Memory along a hundred thousand requests: the first tenth warms, the rest may not grow."""
    one, along = Server("ours", asked.model), []
    try:
        for part in range(10):
            told = asyncio.run(load(one, bodies, clients=64, requests=asked.soak // 10))
            along.append({"requests": asked.soak // 10 * (part + 1), "failed": told["failed"], "megabytes": one.memory() >> 20})
            print(along[-1], flush=True)
    finally:
        one.end()
    grown = along[-1]["megabytes"] - along[1]["megabytes"]
    print(json.dumps({"along": along, "grown_megabytes": grown, "failed": sum(step["failed"] for step in along)}))


# ---- clients -------------------------------------------------------------------------------------------------------------------


async def load(one, bodies, *, clients, seconds=None, requests=None):
    """So many clients, each with a connection of its own, one request after the other."""
    kind = "image/jpeg"
    if one.form == "litserve":  # which takes no plain bytes
        kind = "multipart/form-data; boundary=b"
        part = b'--b\r\nContent-Disposition: form-data; name="content"; filename="a.jpg"\r\n\r\n'
        bodies = [part + body + b"\r\n--b--\r\n" for body in bodies]
    line = f"POST {PATHS[one.form]} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: "
    heads = [f"{line}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    times, failed, left = [], 0, [requests or 1 << 60]
    until = time.perf_counter() + (seconds or 1e9)

    async def client(number):
        nonlocal failed
        reader = writer = None
        while time.perf_counter() < until and left[0] > 0:
            left[0] -= 1
            number += 1
            began = time.perf_counter()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
                writer.write(heads[number % len(heads)])
                status, close = await answered(reader)
                if status != 200:
                    failed += 1
                if close:
                    writer.close()
                    writer = None
            except (OSError, EOFError, ValueError):
                failed, writer = failed + 1, None
            times.append(time.perf_counter() - began)
        if writer:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(place * 7) for place in range(clients)))
    took = time.perf_counter() - began
    p50, p95, p99 = (1e3 * float(one) for one in np.quantile(times, (0.5, 0.95, 0.99)))
    return {"requests": len(times), "failed": failed, "per_second": (len(times) - failed) / took,
            "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


async def answered(reader):
    """-> (status, whether the connection ends)."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12]), b"connection: close" in head


# ---- servers -------------------------------------------------------------------------------------------------------------------


class Server:
    def __init__(self, form, model):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.form, self.port = form, free.getsockname()[1]
        command = [sys.executable, "-m", "benches.serving", "--model", model, "--server", form, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{'health' if form == 'litserve' else 'healthz'}", timeout=1)
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    self.end()
                    raise SystemExit(f"the server {form} did not start.") from None
                time.sleep(0.2)

    def memory(self):
        """Bytes that its processes hold, as the system counts them."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:  # its session
                    total += 1024 * int(stat.with_name("status").read_text().partition("VmRSS:")[2].split()[0])
            except (OSError, IndexError, ValueError):
                pass
        return total

    def end(self):
        """It and every process that it started: LitServe leaves some behind."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its session is its own
        except ProcessLookupError:
            pass


def server(form, port, model):
    if form in ("ours", "constant"):
        return ours(port, model, constant=form == "constant")
    if form == "plain":
        return plain(port, model)
    from benches.serving_litserve import run  # a file of its own, as its processes find the class by the file's name

    return run(port, model)


def ours(port, model, *, constant):
    import uvicorn

    from alexnet.serve import app, listening
    from alexnet.serve import model as models
    from alexnet.serve.settings import Settings

    settings = Settings(model=model, device="cpu")
    loaded = models.load(settings)
    if constant:
        row = np.full((64, len(loaded.clf.classes)), 1 / len(loaded.clf.classes), np.float32)
        loaded.net.run = lambda squares: row[: len(squares)]
    uvicorn.Server(listening.config(app.create(settings, loaded=loaded), settings)).run([listening.bound("127.0.0.1", port)])


def ranked(clf, row):
    return {"predictions": [{"path": "picture", "top": [one._asdict() for one in clf.rank(row, 5)]}]}


def plain(port, model):
    """As one writes it first: a handler that decodes and asks the net, a request a thread."""
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.concurrency import run_in_threadpool

    from alexnet import classifier

    clf, app = classifier.load(model, device="cpu"), FastAPI()

    @app.get("/healthz")
    async def healthz():
        return {}

    @app.post("/predict")
    async def predict(request: Request):
        data = await request.body()
        return await run_in_threadpool(lambda: ranked(clf, clf.probabilities(clf.square(data)[None])[0]))

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False, http="httptools", loop="asyncio")


if __name__ == "__main__":
    main()
