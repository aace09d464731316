"""The 2012 program's checkpoints and metadata, slim, written opcode by opcode as Python 2 wrote them."""

import pickle

import numpy as np

RANDOM = np.random.default_rng(7)
CROP, CLASSES = 99, 6  # 99 leaves 23, 11, 5 and 2 pixels a side, so that the order in memory shows


class Options:
    """Stands for options.OptionsParser, an old-style instance in every checkpoint."""


class Python2(pickle._Pickler):
    """Protocol 2 as cPickle of Python 2.7 wrote it: text as byte strings, arrays by numpy.core.multiarray, instances by OBJ."""

    def save(self, value, *more):
        if isinstance(value, str | bytes):
            content = value.encode("latin1") if isinstance(value, str) else value
            short = len(content) < 256
            return self.write((b"U" if short else b"T") + len(content).to_bytes(1 if short else 4, "little") + content)
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, Options):
            self.write(b"(coptions\nOptionsParser\no")
            self.save(vars(value))
            return self.write(b"b")
        return super().save(value, *more)

    def array(self, value):
        by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
        self.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\x01bt")  # (0,) is TUPLE1
        self.write(b"R(K\x01")
        self.save(value.shape)
        self.write(b"cnumpy\ndtype\n(")
        for one in (value.dtype.str[1:], 0, 1):
            self.save(one)
        self.write(b"tR(")
        for one in (3, value.dtype.str[0], None, None, None, -1, -1, 0):
            self.save(one)
        self.write(b"tb")
        self.save(bool(by_columns))
        self.save(value.tobytes("F" if by_columns else "C"))
        self.write(b"tb")


def stored(value, path):
    with open(path, "wb") as file:
        Python2(file, 2).dump(value)
    return path


def matrix(rows, columns, order="C"):
    return np.array(RANDOM.normal(0, (1.5 / rows) ** 0.5, (rows, columns)), np.float32, order=order)


def net145(widths=(8, 8, 12, 12, 8, 10, 10)):
    """The layers of #145 by its own file's names, slim: neurons in layers of their own, fc2048bb fed in its own order."""
    one, two, three, four, five, six, seven = widths
    layers = {
        "data": {"type": "data", "dataIdx": 0, "outputs": 3 * CROP**2},
        "labels": {"type": "data", "dataIdx": 1, "outputs": 1},
    }

    def add(name, kind, inputs, neuron=None, **facts):
        layers[name] = {
            "name": name,
            "type": kind,
            "inputs": inputs,
            "gpu": "ab".find(name[-1:]) if name[-1] in "ab" else 0,
            **facts,
        }
        if neuron:
            layers[f"{name}_neuron"] = {
                "name": f"{name}_neuron",
                "type": "neuron",
                "inputs": [name],
                "gpu": layers[name]["gpu"],
                "neuron": {"type": neuron, "params": {}, "usesActs": True},
            }

    def conv(name, inputs, channels, filters, size, pad, stride=1, neuron=None):
        add(
            name,
            "conv",
            inputs,
            neuron,
            channels=[channels] * len(inputs),
            filters=filters,
            filterSize=[size] * len(inputs),
            padding=[-pad] * len(inputs),
            stride=[stride] * len(inputs),
            groups=[1] * len(inputs),
            randSparse=[False] * len(inputs),
            weights=[matrix(channels * size**2, filters) for _ in inputs],
            biases=matrix(filters, 1),
            sharedBiases=True,
        )

    def fc(name, inputs, below, outputs, neuron=None):
        add(
            name,
            "fc",
            inputs,
            neuron,
            outputs=outputs,
            biases=matrix(1, outputs, "F"),
            weights=[matrix(below, outputs, "F") for _ in inputs],
        )

    def norm(name, kind, below, **facts):
        add(name, kind, [below], size=5, pow=0.75, channels=8, **facts)

    def pool(name, below, neuron=None):
        add(name, "pool", [below], neuron, pool="max", sizeX=3, stride=2, start=0)

    for c in "ab":
        conv(f"conv1{c}", ["data"], 3, one, 11, 0, 4)
        norm(f"rnorm1{c}", "cmrnorm", f"conv1{c}", scale=1e-4 / 5, minDiv=2.0)
        pool(f"pool1{c}", f"rnorm1{c}", "relu")
        conv(f"conv2{c}", [f"pool1{c}_neuron"], one, two, 5, 2, neuron="relu")
        norm(f"rnorm2{c}", "cmrnorm", f"conv2{c}_neuron", scale=1e-4 / 5, minDiv=2.0)
        norm(f"cnorm2{c}", "rnorm", f"rnorm2{c}", scale=0.001 / 25)
        pool(f"pool2{c}", f"cnorm2{c}")
    for c in "ab":
        conv(f"conv3{c}", ["pool2a", "pool2b"], two, three, 3, 1, neuron="relu")
        conv(f"conv4{c}", [f"conv3{c}_neuron"], three, four, 3, 1, neuron="relu")
        conv(f"conv5{c}", [f"conv4{c}_neuron"], four, five, 3, 1)
        pool(f"pool3{c}", f"conv5{c}", "relu")
    for c in "ab":
        fc(f"fc2048{c}", ["pool3a_neuron", "pool3b_neuron"], five * 4, six, "relu")
        add(f"hs1{c}", "hs", [f"fc2048{c}_neuron"], keep=0.5, enable=True)
    for c, inputs in (("a", ["hs1a", "hs1b"]), ("b", ["hs1b", "hs1a"])):
        fc(f"fc2048b{c}", inputs, six, seven, "relu")
        add(f"hs2{c}", "hs", [f"fc2048b{c}_neuron"], keep=0.5, enable=True)
    fc("fc1000", ["hs2a", "hs2b"], seven, CLASSES)
    add("probs", "softmax", ["fc1000"])
    add("logprob", "cost.logreg", ["labels", "probs"], coeff=1.0)
    for one in layers.values():
        one["inputLayers"] = [layers[name] for name in one.get("inputs", [])]  # as the program keeps them
        if "weights" in one:
            one["weightsInc"] = [np.zeros_like(each) for each in one["weights"]]
    return {name: {"name": name, **one} for name, one in layers.items()}


def checkpoint(layers):
    op = Options()
    op.options = {"minibatch_size": 128, "load_file": "", "gpu": [0, 1]}
    return {
        "model_state": {
            "layers": layers,
            "epoch": 90,
            "batchnum": 1301,
            "train_outputs": [({"logprob": [1.7, 0.4]}, 1024)],
            "test_outputs": [],
        },
        "op": op,
    }


def metadata(side=113, names=("b, c", "a", "f", "d", "e", "g")):
    return {
        "batch_size": 1024,
        "num_vis": 3 * side**2,
        "data_mean": RANDOM.uniform(90, 130, (3 * side**2, 1)).astype(np.float32),
        "color_pca": (np.array([19.7, 37.1, 121.8]), np.asfortranarray(np.linalg.qr(RANDOM.normal(size=(3, 3)))[0])),
        "label_names": list(names),
    }
