"""Every kernel of ops/triton compiled for a Hopper card, on a machine without one: what the compiler says of registers, of values
spilled to memory, and of how many instructions of each kind there are. For nets, formats and tiles as the jobs run them.

    python -m benches.gpu_compile OUT_FOLDER [--tiles 128,4 64,1]          writes OUT_FOLDER/gpu_compile.json; a minute or two
"""

import argparse
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

from alexnet import rundir

FLOATS = dict.fromkeys(("alpha", "beta", "k", "divisor", "momentum", "decay", "rate"), "fp32")
LIKE = "*bf16"
POINTERS = {"x": LIKE, "out": LIKE, "grad": LIKE, "places": "*u8", "sent": "*fp32", "direct": "*fp32", "pictures": "*u8",
            "corners": "*i64", "mirrored": "*i1", "shifts": "*fp32", "mean": "*fp32", "weight": LIKE, "bias": LIKE}
FIRST = dict(W=55, OW=27, C=96, GROUPS=6, K=3, S=2, NORM=True, PAPER=True, RELU=True)
SECOND = dict(FIRST, W=27, OW=13, C=256, GROUPS=16)
FIFTH = dict(SECOND, W=13, OW=6, NORM=False, RELU=False)
AS_RUN = dict(FIRST, RELU=False)
ALONE = dict(SECOND, OW=27, K=1, S=1, RELU=False)  # the norm without a pool


def kernels(rows):
    """Name -> (kernel, what it is compiled for, pointers of other types; warps and stages, if its own)."""
    from alexnet.ops.triton import convolution, dense, implicit, joint, maps, pictures, update

    found = {}
    for name, shape in {"paper 1": FIRST, "paper 2": SECOND, "as_run 1": AS_RUN, "norm alone": ALONE, "pool5": FIFTH}.items():
        pooled = shape["K"] > 1
        found[f"pool, {name}"] = joint.pool, dict(shape, R=rows, STRIP=9, CUT=False, KEEP=pooled,
                                                  RELU_AFTER=pooled and not shape["RELU"]), {}
        found[f"unpool, {name}"] = joint.unpool, dict(shape, R=rows, POOLED=pooled), {}
    for name in ("forward", "through"):
        found[f"within a map, {name}"] = getattr(maps, name), dict(C=256, SIZE=5, PAPER=True, R=128), {}
    found["within a map, backward"] = maps.backward, dict(C=256, SIZE=5, R=128), {}
    found["augmentation"] = pictures.cut, dict(CROP=224, SIDE=224, DEPTH=1, NOISE=True, BLOCK=1024), {}
    found["augmentation with depth"] = pictures.cut, dict(CROP=224, SIDE=57, DEPTH=4, NOISE=True, BLOCK=1024), {}
    found["augmentation from 4:2:0"] = pictures.cut_yuv, dict(CROP=224, SIDE=224, DEPTH=1, NOISE=True, BLOCK=1024), {}
    found["update"] = update.step, dict(BLOCK=1024), dict.fromkeys(("weight", "gradient", "velocity"), "*fp32")
    shape = dict(KERNEL=3, STRIDE=1, PAD=1, GROUPS=1, RELU=True, C=256, MAPS=384)
    for name, layer in {"conv2": dict(shape, KERNEL=5, PAD=2, GROUPS=2, C=96, MAPS=256), "conv3": shape,
                        "conv4": dict(shape, GROUPS=2, C=384), "conv5": dict(shape, GROUPS=2, C=384, MAPS=256)}.items():
        for places, outputs, inputs, *machine in implicit.TILES:
            found[f"product, {name}, {places} x {outputs}"] = implicit.implicit, dict(
                layer, PLACES=places, OUTPUTS=outputs, INPUTS=inputs), {"places": "i32"}, *machine
    found["convolution"] = convolution.convolution, dict(C=256, MAPS=384, KERNEL=3, STRIDE=1, PAD=1, GROUPS=1, RELU=True,
                                                         PLACES=128, OUTPUTS=128, INPUTS=32), {"places": "i32"}
    for few, piece in ((1, 256), (8, 128)):
        found[f"layer of bytes, {few}"] = dense.thin, dict(WORDS=9216 // 4, RELU=True, ROWS=few, OUTPUTS=4, PIECE=piece), {
            "x": "*fp32", "out": "*fp32", "bias": "*fp32", "weight": "*i32", "scale": "*fp32"}, 1
    return found


def compiled(kernel, constants, types, warps, stages=3):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = {**FLOATS, **POINTERS, **types}
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else kinds.get(name, "i32") for name in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()}, aligned)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps, "num_stages": stages})


def told(one, folder):
    import triton

    tools, file = Path(triton.__file__).parent / "backends" / "nvidia" / "bin", folder / "kernel.cubin"
    file.write_bytes(one.asm["cubin"])
    usage = subprocess.run([tools / "cuobjdump", "-res-usage", file], capture_output=True, text=True, check=True).stdout
    listing = subprocess.run([tools / "nvdisasm", "-c", file], capture_output=True, text=True, check=True).stdout
    file.unlink()
    found = {word.lower(): int(re.search(rf"\b{word}:(\d+)", usage)[1]) for word in ("REG", "STACK", "SHARED", "LOCAL")}
    words = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)", listing, re.MULTILINE)
    found["shared"] = max(found["shared"], one.metadata.shared)  # most of it is asked for at the launch
    return {**found, "layout_changes": one.asm["ttgir"].count("convert_layout"), "instructions": len(words),
            "matrix_products": words.count("HGMMA") + words.count("HMMA"), "most": dict(Counter(words).most_common(12))}


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("out", type=Path)
    words.add_argument("--tiles", nargs="+", default=["128,4"], help="rows of a tile and warps")
    words.add_argument("--only", default="", help="kernels whose name has this in it")
    asked = words.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    import torch
    import triton

    found = {"command": "python -m benches.gpu_compile OUT", "runs": 1, "target": "sm_90", "triton": triton.__version__,
             "kernels": {}, "environment": rundir.environment(torch.device("cpu"))}
    for tile in asked.tiles:
        rows, warps = map(int, tile.split(","))
        for name, (kernel, constants, types, *machine) in kernels(rows).items():
            if asked.only not in name:
                continue
            machine = machine or [warps if "K" in constants else 8 if name == "convolution" else 4]
            one = told(compiled(kernel, constants, types, *machine), asked.out)
            found["kernels"][f"{name}, {rows} rows, {warps} warps" if "K" in constants else name] = one
            print(f"{name}, {tile}: {one['reg']} registers, {one['stack'] + one['local']} bytes spilled, {one['shared']} shared, "
                  f"{one['layout_changes']} layout changes, {one['instructions']} instructions", flush=True)
            rundir.replace_file(asked.out / "gpu_compile.json", json.dumps(found, indent=1).encode())


if __name__ == "__main__":
    main()
