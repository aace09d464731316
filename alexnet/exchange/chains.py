"""What the layers of a 2012 checkpoint do, one after the other, in the words of that program, and the same for a row of ours: equal
lists are the same network. Said too: where the nearest row differs. Numbers are compared to six digits, as they were float32."""

from alexnet.nets.layers import BatchNorm, Blur, ContrastNorm, Conv, Dense, Local, Nails, Pool, ResponseNorm, WithinMapNorm

SIDES = ("blur", "nailbed")
MAPS = {ContrastNorm: "cnorm", WithinMapNorm: "rnorm"}


def of_row(row):
    """(the main path, the side path) of a row: a tuple of numbers a layer."""
    sides, main, side = {getattr(layer, "plus", "") for layer in row.layers} - {""}, [], []
    for layer in row.layers:
        aside = isinstance(layer, Blur | Nails) or layer.name in sides
        (side if aside else main).extend(_of_layer(layer, row))
    return main, side


def _of_layer(layer, row):
    if isinstance(layer, Conv):
        yield ("conv", layer.kernel, layer.stride, layer.pad, _sees(layer, row))
    elif isinstance(layer, Local):
        yield ("local", layer.kernel, 1, layer.pad, "both" if row.columns == 1 else "column")
    elif isinstance(layer, Dense):
        yield ("fc", _sees(layer, row))
    elif isinstance(layer, Pool):
        yield ("pool", {"average": "avg"}.get(layer.by, layer.by), layer.kernel, layer.stride)
    elif isinstance(layer, ResponseNorm):
        span = "both" if row.columns == 1 else layer.sees
        yield ("cmrnorm", layer.size, *_digits(layer.alpha, layer.beta, layer.k), *[span] * (span == "both" and row.columns > 1))
    elif isinstance(layer, ContrastNorm | WithinMapNorm):
        yield (MAPS[type(layer)], layer.size, *_digits(layer.alpha, layer.beta))
    elif isinstance(layer, Blur):
        yield ("blur", layer.taps, *_digits(layer.std))
    elif isinstance(layer, Nails):
        yield ("nailbed", layer.stride)
    elif isinstance(layer, BatchNorm):
        yield ("batch norm",)
    if layer.then != "linear":
        yield ("neuron", layer.then)
    if layer.dropout:
        yield ("hs", *_digits(1 - layer.dropout), row.dropout_scales)


def _sees(layer, row):
    return "both" if row.columns == 1 and layer.sees != "picture" else layer.sees


def _digits(*values):
    return tuple(float(f"{float(value):.6g}") for value in values)


def chain(layers, groups, column=0):
    """(the main path, the side path) of a checkpoint, along a column."""
    weighted = {one["name"]: (i, j) for i, group in enumerate(groups) for j, one in enumerate(group)}
    columns, name, main, side = max(map(len, groups)), _top(layers, groups, column), [], []
    while layers[name]["type"] != "data":
        one = layers[name]
        inputs = one["inputs"]
        if name in weighted:
            depth = weighted[name][0]
            lower = [_below(layers, given, weighted) for given in inputs]
            if depth and "data" in lower:
                place = lower.index("data")
                side = _side(layers, inputs[place]) + [(*_of_file(one, place)[:4], "both")]
                inputs, lower = inputs[:place] + inputs[place + 1 :], lower[:place] + lower[place + 1 :]
            both = depth and (columns == 1 or len(groups[depth - 1]) in (1, len(set(lower))))
            sees = "picture" if not depth else "both" if both else "column"
            main.insert(0, (*_of_file(one, one["inputs"].index(inputs[0])), sees))
            inputs = [given for given, below in zip(inputs, lower) if weighted.get(below, (0, column))[1] == column] or inputs
        elif step := _of_file(one, 0):
            main.insert(0, step)
        name = inputs[0]
    return main, side


def _top(layers, groups, column):
    """What the softmax sees, or the last layer with weights where there is no softmax."""
    softmax = next((one for one in layers.values() if one["type"] == "softmax"), None)
    name = softmax["inputs"][0] if softmax else groups[-1][0]["name"]
    while layers[name]["type"] == "concat":
        name = layers[name]["inputs"][min(column, len(layers[name]["inputs"]) - 1)]
    return name


def _below(layers, name, weighted):
    while name not in weighted and layers[name]["type"] != "data":
        name = layers[name]["inputs"][0]
    return "data" if layers[name]["type"] == "data" else name


def _side(layers, name):
    found = []
    while layers[name]["type"] != "data":
        found.insert(0, _of_file(layers[name], 0))
        name = layers[name]["inputs"][0]
    return found


def _of_file(one, place):
    """A layer of the file as of_row has ours; None for what does nothing in use."""
    kind = one["type"]
    if kind in ("conv", "local"):
        size, stride, pad = (_at(one[key], place) for key in ("filterSize", "stride", "padding"))
        return (kind, size, stride, abs(pad))  # kept as minus the padding
    if kind == "fc":
        return (kind,)
    if kind == "pool":
        return (kind, _text(one["pool"]), one["sizeX"], one["stride"])
    if kind == "cmrnorm":
        return (kind, one["size"], *_digits(one["scale"], one["pow"], one.get("minDiv", 1.0)))
    if kind in ("rnorm", "cnorm"):
        return (kind, one["size"], *_digits(one["scale"], one["pow"]))
    if kind == "neuron":
        neuron = one["neuron"]
        said = neuron.get(b"type", neuron.get("type")) if isinstance(neuron, dict) else neuron
        return None if _text(said) == "ident" else (kind, _text(said))
    if kind == "hs":
        return (kind, *_digits(one["keep"]), "test")
    if kind == "blur":
        return (kind, one["filterSize"], *_digits(one["stdev"]))
    if kind == "nailbed":
        return (kind, one["stride"])
    return (kind,)


def _at(value, place):
    return value[place] if isinstance(value, list | tuple) else value


def _text(value):
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def nearest_row(rows, own, side):
    """The ending of a refusal: where the row that agrees furthest differs."""
    def agreement(row):
        main, aside = of_row(row)
        first = next((i for i, (a, b) in enumerate(zip(own, main)) if a != b), min(len(own), len(main)))
        return (first, aside == side)

    row = max(rows, key=agreement)
    main, aside = of_row(row)
    first = agreement(row)[0]
    here, there = (" ".join(map(str, one[first])) if first < len(one) else "nothing" for one in (own, main))
    if here == there:
        return f"the nearest, {row.name}, has other columns or another side path; convert takes nets of the table (alexnet nets)."
    return (f"the nearest, {row.name}, agrees for {first} steps, then the file has ({here}) and the row ({there}); convert takes "
            "nets of the table (alexnet nets).")
