"""The table in the README, made from results/. A row names its file and how its numbers are read; nothing is typed twice.

    python -m benches.tables            writes it
    python -m benches.tables --check    fails when it is stale
"""

import json
import re
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
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


def prepared(result):
    rates = [answer["images_per_second"] for answer in answers(result)]
    return f"{median(rates):,.0f} pictures/s"


def kills(result):
    return f"{result['equal']} of {result['runs']} end at the same weights, bit for bit"


def plateau(result):
    left, learnt = result["updates_to_leave_plateau"], result["updates_to_zero_training_error"]
    parts = [f"leaves ln(16) after {left} updates" if left else f"still at ln(16) after {result['updates_run']} updates"]
    parts += [f"no training error after {learnt}"] if learnt else []
    return f"{', '.join(parts)} (batch {result['batch_size']}, rate {result['rate']:g})"


def clock(result):
    errors = sorted(run["test_error"] for run in result["each"])
    apart = f" ({percent(errors[0])} to {percent(errors[-1])})" if len(errors) > 1 else ""
    return f"{percent(result['median_test_error'])}{apart} on test, {result['quiet_seconds'] / 60:.1f} minutes"


def tars(result):
    return f"{sum(result['wrong_labels'].values())} wrong labels, {result['seconds']:.0f} s, {result['peak_memory_mb']} MB at most"


def copies(result):
    answer = answers(result)[0]
    pairs = [table[kind][label] for table in answer["pairs"].values() for kind in ("exact", "near") for label in table[kind]]
    two = sum(table[kind]["other_class"] for table in answer["pairs"].values() for kind in ("exact", "near"))
    return (f"{sum(pairs)} pairs of copies, {two} of them under two labels, {answer['leaking']['val']['pictures']} between train "
            f"and val; {answer['seconds']:.0f} s")


ROWS = (  # results/NAME.json, what it is, how it is read
    ("demo", "the demo: 16 photographs, parts never trained on", demo),
    ("modern-2-epochs", "Tiny-ImageNet val, ten views, `small64_batchnorm` after only "
     "`alexnet train tiny --recipe modern --epochs 2 --out run`", errors),
    ("prepare-tiny-imagenet", "105,000 Tiny-ImageNet JPEGs into a raw store", prepared),
    ("prepare-tars", "ILSVRC-2012 as it is handed out, a synthetic one of 50,000 pictures: tars in tars into a store", tars),
    ("inspect-tiny-imagenet", "what the data doctor finds in Tiny-ImageNet's 105,000", copies),
    ("clock-cifar26", "the 26 % net of CIFAR-10 by its own recipe (80 s on a GPU of 2011)", clock),
    ("clock-cifar18", "the 18 % net of CIFAR-10 by its own recipe (20 minutes on a GPU of 2011)", clock),
    ("kills", "training killed with -9 at random moments, resumed with other numbers of workers", kills),
    ("plateau-as_run", "`as_run`, full width, 256 embedded crops", plateau),
    ("plateau-paper", "`paper`, the text's own initial values, the same", plateau),
)


def table():
    lines = ["| what | result | runs | machine | command |", "|---|---|---|---|---|"]
    for name, what, read in ROWS:
        file = ROOT / "results" / f"{name}.json"
        if file.exists():
            result = json.loads(file.read_text())
            env = result["environment"]
            where = f"{env['device_name']}, {env['threads']} threads" if env["device"] == "cpu" else env["device_name"]
            lines.append(f"| {what} | {read(result)} | {result['runs']} | {where} | `{result['command']}` |")
    return "\n".join(lines) + "\n"


def main():
    readme = ROOT / "README.md"
    text = readme.read_text()
    fresh = PLACE.sub(lambda match: match[1] + table() + match[2], text)
    if "--check" in sys.argv:
        sys.exit("README.md is stale: run python -m benches.tables." if fresh != text else 0)
    readme.write_text(fresh)


if __name__ == "__main__":
    main()
