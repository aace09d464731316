"""The tables in the README and in docs/performance.md, made from results/. A row names its file and how its numbers are read;
nothing is typed twice.

    python -m benches.tables            writes it
    python -m benches.tables --check    fails when it is stale
"""

import json
import re
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/performance.md", "docs/scale.md", "docs/serve.md", "docs/weights.md")
PLACE = re.compile(r"(<!-- results: [^\n]*-->\n).*?(<!-- end of results -->)", re.DOTALL)


def percent(share):
    return f"{100 * share:.1f} %"


def answers(result):
    return [run["answer"] for run in result["each"]]


def demo(result):
    one, ten = answers(result)[0]["evaluations"]
    low, high = ten["top1_interval"]
    return (f"top-1 error {percent(one['top1_error'])}, ten views {percent(ten['top1_error'])} "
            f"({percent(low)} to {percent(high)}), chance "
            f"{percent(answers(result)[0]['chance_top1_error'])}; {median(a['seconds'] for a in answers(result)):.0f} s")


def errors(result):
    answer = answers(result)[0]
    low, high = answer["top1_interval"]
    return f"top-1 error {percent(answer['top1_error'])} ({percent(low)} to {percent(high)}), top-5 {percent(answer['top5_error'])}"


def kills(result):
    return f"{result['equal']} of {result['runs']} end at the same weights, bit for bit"


def clock(result):
    errors = sorted(run["test_error"] for run in result["each"])
    apart = f" ({percent(errors[0])} to {percent(errors[-1])})" if len(errors) > 1 else ""
    return f"{percent(result['median_test_error'])}{apart} on test, {result['quiet_seconds'] / 60:.1f} minutes"


def copies(result):
    answer = answers(result)[0]
    pairs = [table[kind][label] for table in answer["pairs"].values() for kind in ("exact", "near") for label in table[kind]]
    two = sum(table[kind]["other_class"] for table in answer["pairs"].values() for kind in ("exact", "near"))
    return (f"{sum(pairs)} pairs of copies, {two} of them under two labels, {answer['leaking']['val']['pictures']} between train "
            f"and val; {answer['seconds']:.0f} s")


def stepped(result):
    ours, ratios = result["forms"]["paper, ours"], result["ratios"]
    script, compiled = (ratios[f"paper, {form} / paper, ours"]["median"] for form in ("ordinary", "compiled"))
    return f"{ours['median_seconds']:.1f} s; a script takes {script:.1f} times that, torch.compile {compiled:.2f} (float32)"


def on_card(result):
    forms = ("ours", "ordinary", "torchvision, compiled")
    ours, script, library = (result["parts"][f"paper, 512, {form}"]["pictures_per_second"] for form in forms)
    return (f"{ours:,} pictures/s; an ordinary script {script:,}; torchvision's AlexNet, narrower and without norm, under "
            f"torch.compile {library:,}")


def reached(result):
    marks = {mark: one for mark, one in result["marks"].items() if mark in ("0.6", "0.5", "0.45") and one["reached"]}
    return "; ".join(f"{100 * float(mark):.0f} % after {one['median_seconds']:,.0f} s and {one['median_images'] / 1e6:.2f} million "
                     "pictures" for mark, one in marks.items()) + viewed(result)


def viewed(result):
    """What several views of the last weights have, where the clock went on to them."""
    if not (views := result.get("views")):
        return ""
    return (f"; {views['count']} views of the last weights {percent(views['median_error'])} after {views['median_seconds']:,.0f} s "
            f"and {result['each'][0]['images'] / 1e6:.2f} million")


def answered(result):
    batch = result["rows"][0]["batches"][0]
    ours = variant(batch, "ours float32")["median_seconds"]
    script, compiled, openvino, runtime = (variant(batch, f"{form} float32")["median_seconds"] / ours
                                           for form in ("script", "compile", "openvino", "onnxruntime"))
    return (f"{1000 * ours:.0f} ms; a script takes {script:.1f} times that, by hand torch.compile {compiled:.2f}, OpenVINO "
            f"{openvino:.2f}, ONNX Runtime {runtime:.2f}")


def photographed(result):
    one, ten = result["independent"], result["ten_views"]["independent"]
    return (f"of {one['pictures']} that are not in train {one['first']} right at once, {one['in_five']} within five answers; with "
            f"--views 10 {ten['first']} and {ten['in_five']}")


def served(result):
    rate = {row["form"]: row["per_second"] for row in result["rows"] if row["clients"] == 64}
    return (f"{rate['ours']:.0f} requests/s; the same net behind LitServe {rate['litserve']:.0f}, behind a plain FastAPI handler "
            f"{rate['plain']:.0f}")


def claimed(**rows):
    """Of a claim of the paper: differences of top-1 error with their intervals, each by what its row says."""
    def read(result):
        found = {name: next(row for row in result["rows"] if says in row["what"]) for name, says in rows.items()}
        points = {name: [f"{100 * value:+.1f}" for value in (row["top1_difference"], *row["top1_interval"])]
                  for name, row in found.items()}
        alone = {name: " of one ensemble, over pictures" * row["what"].startswith("one ensemble") for name, row in found.items()}
        told = [f"{name} {value} points ({low} to {high}{alone[name]})" for name, (value, low, high) in points.items()]
        return "; ".join(told) + ("" if result["finished"] else "; not finished")

    return read


def times(**rows):
    """Of a claim of the paper: how many times as much one takes as the other, each by how its row begins."""
    def read(result):
        found = {name: next(row for row in result["rows"] if row["what"].startswith(begins)) for name, begins in rows.items()}
        told = [f"{name.replace('_', ' ')} {row['difference']:.2f} times ({row['interval'][0]:.2f} to {row['interval'][1]:.2f})"
                if row["difference"] else f"{name.replace('_', ' ')}: {row['note']}" for name, row in found.items()]
        return "; ".join(told) + ("" if result["finished"] else "; not finished")

    return read


def variant(batch, name):
    return next(one for one in batch["variants"] if one["name"] == name)


ROWS = (  # results/NAME.json, what it is, how it is read
    ("demo", "the demo: 16 photographs, parts never trained on", demo),
    ("default", "the weights that ship, Tiny-ImageNet's 200 classes, 5,000 pictures of val, ten views", errors),
    ("photographs", "the same on full-size photographs of those classes", photographed),
    ("inspect-tiny-imagenet", "what the data doctor finds in Tiny-ImageNet's 105,000", copies),
    ("claim-01-relu-cpu", "figure 1: epochs to 25 % training error on a thousand pictures of CIFAR-10, tanh over ReLU, each at its "
     "best rate (the paper, on all: 6 times)", times(initial_values_of_2012="epochs that tanh takes, times those of relu, 2012",
                                      preserving_variance="epochs that tanh takes, times those of relu, preserving")),
    ("claim-07-ensembles-cpu", "ensembles beside one net, small ones on 20 classes of Tiny-ImageNet (the paper's, on ImageNet: "
     "five -2.6, seven with a pre-trained pair -4.0)", claimed(**{
         "five": "of 5 designs, plain", "seven, one pair in common,": "of 5 designs and a pair"})),
    ("rivals-cpu", "Table 1's rivals beside a net taught on the same 8,510 pictures of Tiny-ImageNet, 20 classes (the paper's, on "
     "ImageNet: sparse coding +9.6, SIFT + Fisher vectors +8.2)", claimed(**{"sparse coding": "sparse coding",
                                                                             "Fisher vectors": "Fisher vectors"})),
    ("ingredients-cpu", "ten years of recipes on one anatomy, 20 classes of Tiny-ImageNet at 36 pixels, 12 epochs: all of today's "
     "in the place of 2012's", claimed(**{"top-1": "modern, against 2012"})),
    ("clock-cifar26", "the 26 % net of CIFAR-10 (80 s on a GPU of 2011); its schedule is ours, as none is recorded, the minutes "
     "are computed for a quiet machine", clock),
    ("step", "a training step of `paper`, batch 128, on a CPU", stepped),
    ("gpu-step", "a training step of `paper`, batch 512, on a graphics card, bfloat16, uncompiled", on_card),
    ("to-error-cuda", "from nothing to an error on a twentieth of Tiny-ImageNet's train, held out; everything included, medians",
     reached),
    ("to-error-cpu", "the same on a CPU, a smaller net, by Muon", reached),
    ("to-error-cpu-views", "that net for longer, measured with ten views at the end", reached),
    ("inference", "`paper` in use on a CPU, batch 64, float32", answered),
    ("serving", "`alexnet serve` on two cores with its clients, 64 of them, photographs of 112 kB", served),
    ("kills", "training killed with -9 at random moments, resumed with other numbers of workers", kills),
)


def table():
    lines = ["| what | result | runs | machine | command |", "|---|---|---|---|---|"]
    for name, what, read in ROWS:
        file = ROOT / "results" / f"{name}.json"
        if file.exists():
            result = json.loads(file.read_text())
            env = result["environment"]
            threads = f"{env['threads']} thread{'s' * (env['threads'] > 1)}"
            where = f"{env['device_name']}, {threads}" if env["device"] == "cpu" else env["device_name"]
            lines.append(f"| {what} | {read(result)} | {result.get('runs', 1)} | {where} | `{result['command']}` |")
    return "\n".join(lines) + "\n"


# ---- docs/performance.md: a table a bench ------------------------------------------------------------------------------------


def rows(heads, cells):
    lines = [heads, ["---"] * len(heads), *cells]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def spread(one, unit=1000, digits=0, least="least", most="most", middle="median_seconds"):
    low, high, mid = (f"{unit * one[key]:,.{digits}f}" for key in (least, most, middle))
    return f"{mid} [{low}..{high}]"


def step_table(result):
    return rows(("net, form", "a step, s", "pictures/s", "first step after, s", "peak memory, MB"), [
        (name, spread(one, 1, 2), one["pictures_per_second"], one["seconds_to_first_step"], f"{one['peak_memory_mb']:,}")
        for name, one in result["forms"].items()])


def norms_table(result):
    cells = []
    for kind, found in result["precisions"].items():
        for stage, one in found["norm_and_pool"].items():
            for form in ("convolution", "ours", "plain", "ordinary", "copy"):
                against = f"{one[form]['median_ms'] / one['convolution']['median_ms']:.2f}"
                cells.append((kind, stage, form, spread(one[form], 1, 0, "least_ms", "most_ms", "median_ms"), against))
    return rows(("", "stage", "form", "forward and backward, ms", "of the convolution"), cells)


def convolutions_table(result):
    return rows(("net, batch", "layer", "library, forward and backward, ms", "ours", "times faster", "apart"), [
        (f"{one['net']}, {one['batch']}", one["layer"], *(" and ".join(f"{one[f'{way} {part}']['median_ms']:.0f}"
         for part in ("forward", "backward")) for way in ("library", "ours")),
         spread(one["ratios"]["both"], 1, 2, "least", "most", "median"), f"{one['apart']:.0e}") for one in result["rows"]])


def inference_table(result):
    cells = []
    for row in result["rows"]:
        for batch in row["batches"]:
            for one in (one for one in batch["variants"] if "left_out" not in one):
                precision = one["name"].split()[-1]
                ours = variant(batch, f"ours {precision}")["median_seconds"]
                engine = f" ({one['engine']})" if one["name"].startswith("ours") else ""
                cells.append((row["row"], batch["batch_size"], one["name"] + engine, spread(one, digits=1),
                              f"{one['median_seconds'] / ours:.2f}"))
    return rows(("net", "batch", "form", "a batch, ms", "times ours at that precision"), cells)


def process_table(result):
    return rows(("a whole process", "seconds", "peak memory, MB"),
                [(f"`{one['what']}`", spread(one, 1, 2), f"{one['peak_memory_mb']:,}") for one in result["processes"]])


def picture_table(result):
    one_core, made, used = result["decoding_and_resampling_one_core"], result["prepare"], result["predict"]
    cells = [(f"decoding and resampling to {size}, one core", f"{one['ours_ms_a_picture']:.2f} ms a picture",
              f"{one['times_pillow']:.2f} times Pillow") for size, one in one_core.items()]
    cells += [(f"`prepare --size {size}` of {one['pictures']:,} photographs", f"{one['ours_pictures_a_second']:,.0f} pictures/s",
               f"{one['times_pillow']:.2f} times the same with Pillow alone") for size, one in made.items()]
    cells += [(f"reading back, {what}, one core", f"{one['store']:,.0f} pictures/s", "")
              for what, one in result["reading_a_second_a_core"].items()]
    cells += [(f"`predict` of {used['pictures']:,} photographs", f"{used['predict_pictures_a_second']:,.0f} pictures/s",
               f"{used['of_both_alone']:.2f} of 1 / (1 / decoding + 1 / net)")]
    return rows(("what", "ours", "beside"), cells)


def serving_table(result):
    def told(form, clients):
        one = next(row for row in result["rows"] if (row["form"], row["clients"]) == (form, clients))
        return f"{one['per_second']:.0f}; {one['p50_ms']:.0f}, {one['p95_ms']:.0f}, {one['p99_ms']:.0f}"

    forms = ("ours", "plain", "litserve", "constant")
    return rows(("clients", "ours", "plain", "LitServe", "ours, a constant for the net"), [
        (clients, *(told(form, clients) for form in forms)) for clients in (1, 8, 64)])


def scale_table(result):
    cells = []
    for one in result["measured"]:
        sent = f"{one['bytes_a_picture'] / 1e3:,.0f}" if "in_exchange" in one else ""
        share = f"{100 * one['in_exchange']:.0f} %" if "in_exchange" in one else ""
        rate, times = f"{one['pictures_a_second']:,.1f}", f"{one['of_one_process']:.2f}"
        cells.append((one["net"], one["batch"], one["form"], rate, times, share, sent))
    return rows(("net", "batch", "form", "pictures/s", "of one process", "in exchange", "kB a picture"), cells)


def predicted_table(result):
    return rows(("batch", "devices", "scheme", "pictures/s", "in exchange", "kB a picture"), [
        (one["batch"], f"{one['devices']:,}", one["scheme"], f"{one['pictures_a_second']:,.0f}",
         f"{100 * one['in_exchange']:.0f} %", f"{one['bytes_a_picture'] / 1e3:,.0f}") for one in result["predicted"]["lines"]])


def large_table(result):
    found = {row["what"].rpartition(", against")[0]: row for row in result["rows"]}
    cells = []
    for arm in result["arms"]:
        apart = found.get(arm["name"])
        points = [f"{100 * value:+.1f}" for value in (apart["top1_difference"], *apart["top1_interval"])] if apart else []
        cells.append((arm["name"], f"{arm['chosen']['rate']:g}", f"{arm['train_loss'][0]:.2f}", percent(arm["top1_error"][0]),
                      f"{points[0]} ({points[1]} to {points[2]})" if points else ""))
    return rows(("batch", "rate", "training loss", "top-1 error", "against 256, points (over pictures)"), cells)


def ingredients_table(result):
    found = {row["what"].partition(", against ")[0]: row for row in result["rows"]}

    def told(name):
        if name not in found:
            return ""
        row = found[name]
        points, low, high = (f"{100 * value:+.1f}" for value in (row["top1_difference"], *row["top1_interval"]))
        return f"{points} ({low} to {high})" + ", not resolved" * (row["top1_verdict"] != "resolved")

    names = dict.fromkeys(name.split(" ", 2)[2] for name in found if name != "modern")
    return rows(("ingredient", "2012 and this", "all of today's without it", "all of today's and this"), [
        (name, told(f"2012 + {name}"), told(f"modern - {name}"), told(f"modern + {name}")) for name in names])


def to_error_table(result):
    return rows(("error", "runs that reached it", "seconds", "pictures"), [
        (f"{100 * float(mark):.0f} %", f"{one['reached']} of {result['runs']}", *(
            (f"{one['median_seconds']:,.0f}", f"{one['median_images'] / 1e6:.2f} million") if one["reached"] else ("", "")))
        for mark, one in result["marks"].items()] + ten_views(result))


def ten_views(result):
    """The last row of a clock that went on to them."""
    if not (views := result.get("views")):
        return []
    each = [one["views"]["error"] for one in result["each"] if "views" in one]
    return [(f"{views['count']} views of the last weights: {percent(views['median_error'])} "
             f"({percent(min(each))} to {percent(max(each))})",
             f"{views['runs']} of {result['runs']}", f"{views['median_seconds']:,.0f}",
             f"{result['each'][0]['images'] / 1e6:.2f} million")]


def searching_table(result):
    took = {(row["form"], row["queries"]): row for row in result["rows"]}
    sizes = sorted({row["queries"] for row in result["rows"]})
    return rows(("search", *(f"{size:,} {'query' if size == 1 else 'queries'}, ms" for size in sizes), "of the exact answer"), [
        (form, *(f"{took[form, size]['milliseconds']:,.1f}" for size in sizes), percent(took[form, sizes[0]]["of_exact"]))
        for form in dict.fromkeys(row["form"] for row in result["rows"])])


def card_table(result):
    return rows(("net, batch, form", "a step, ms", "pictures/s", "of the product rate", "peak memory, MB"), [
        (name, spread(one, 1, 1, middle="ms"), f"{one['pictures_per_second']:,}", percent(one["share_of_product"]),
         f"{one['peak_memory_mb']:,}") for name, one in result["parts"].items() if "pictures_per_second" in one])


def card_convolutions_table(result):
    kinds = ("forward", "of weights", "of input")
    return rows(("layer, form", *(f"{kind}, ms and share of the product rate" for kind in kinds)), [
        (name, *(f"{one[kind]['ms']:.2f}, {percent(one[kind]['share_of_product'])}" if kind in one else "" for kind in kinds))
        for name, one in result["parts"].items() if "forward" in one])


TABLES = {"card": ("gpu-step", card_table), "card_convolutions": ("gpu-step", card_convolutions_table),
          "step": ("step", step_table), "norms": ("norms", norms_table),
          "convolutions": ("convolutions", convolutions_table), "inference": ("inference", inference_table),
          "processes": ("inference", process_table), "pictures": ("pictures", picture_table), "scale": ("scale", scale_table),
          "predicted": ("scale", predicted_table), "serving": ("serving", serving_table),
          "ingredients": ("ingredients-cpu", ingredients_table), "to_error": ("to-error-cpu", to_error_table),
          "to_error_views": ("to-error-cpu-views", to_error_table), "to_error_card": ("to-error-cuda", to_error_table),
          "large": ("large-batch-cpu", large_table), "searching": ("searching", searching_table)}
NAMED = re.compile(r"(<!-- (\w+): made by [^\n]*-->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def tables(match):
    name, make = TABLES[match[2]]
    result = json.loads((ROOT / "results" / f"{name}.json").read_text())
    return match[1] + make(result) + match[3]


def fresh(name, text):
    if name == "README.md":
        return PLACE.sub(lambda match: match[1] + table() + match[2], text)
    return NAMED.sub(tables, text)


def main():
    for name in PAGES:
        text = (ROOT / name).read_text()
        if "--check" not in sys.argv:
            (ROOT / name).write_text(fresh(name, text))
        elif fresh(name, text) != text:
            sys.exit(f"{name} is stale: run python -m benches.tables.")


if __name__ == "__main__":
    main()
