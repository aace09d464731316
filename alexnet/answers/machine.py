"""How bench and doctor answer."""

import shutil
import sys

from alexnet.printing import count, facts, faint, painted, percent, strong, table, write


def show_bench(answer):
    here, training, used = answer["conditions"], answer.get("training"), answer.get("inference")
    write(f"{strong(answer['net'])} on {here['device']} ({here['device_name']}, {count(here['threads'], 'thread')}), "
          f"{here['precision']}, {answer['size']} x {answer['size']}, {answer['classes']:,} classes\n")
    rows = [(name.replace("_", " "), one["pictures_per_second"], one) for name, one in answer["stages"].items()]
    rows += [(name, one["pictures_per_second"], one) for name, one in (("training, whole", training), ("in use", used)) if one]
    longest, room = max(1 / rate for _, rate, _ in rows), min(shutil.get_terminal_size((100, 24)).columns - 64, 30)
    table(("stage", "pictures/s", "ms a picture", "of the ceiling", ""), [
        (name, f"{rate:,.0f}", f"{1000 / rate:,.3g}", *ceiling(one), bar(1 / rate / longest, room)) for name, rate, one in rows
    ], texts=(0, 4))
    write()
    gpu = training and training["device_memory_mb"]
    facts([
        ("ceiling", ", ".join(f"{of} {rate / 1e9:,.3g} {'GB/s' if of in ('copy', 'to_device') else 'GFLOP/s'}"
                              for of, rate in answer["ceiling"].items())),
        ("training", training and f"{training['seconds_per_step']:.3g} s a step of {training['batch_size']}, median of "
                                  f"{training['steps']}; the first after {training['seconds_to_first_step']:.1f} s"),
        ("in use", used and f"{used['engine']}: {used['seconds_per_batch']:.3g} s for {used['batch_size']}, "
                            f"median of {used['runs']}"),
        ("because", used and used["why"]),
        *((precision, gated(one)) for precision, one in answer.get("gate", {}).items()),
        ("weights", used["weights"] if used else "random"),
        ("pictures", f"{answer['pictures']['what']}, {answer['pictures']['bytes'] / 1000:,.0f} kB each"),
        ("beside", f"other work, a load of {here['load']:.1f} when this began: quiet machines are faster"
         if (here["load"] or 0) > 0.75 * here["cores"] else None),
        ("memory", f"{answer['peak_memory_mb']:,} MB at most{f', {gpu:,} MB on the device' if gpu else ''}; {here['allocator']}"),
    ])
    write(f"\n{strong(answer['bottleneck'])}")


def gated(one):
    """May these weights be used so?"""
    verdict = {True: "passed", False: "failed, and is not used", None: "not known here"}[one["passed"]]
    return (f"{verdict}: {100 * one['difference']:+.2f} points of top-1 error, {100 * one['limit']:.1f} allowed "
            f"({one['images']:,} pictures of {one['split']})" + (f"; {one['note']}" if one.get("note") else ""))


def ceiling(one):
    return [f"{percent(one['share_of_ceiling'], 0)} {one['ceiling']:<8}"] if "share_of_ceiling" in one else [""]


def bar(share, room):
    """As long as its share of the room; a narrow terminal has none."""
    solid = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    return faint(solid * round(share * room)) if room >= 8 else ""


def show_doctor(answer):
    here, memory, choices = answer["processor"], answer["memory"], {}
    for name, each in answer["ops"].items():
        for kind, one in each.items():
            choices.setdefault((f"on {kind}", f"{one['backend']}, {one['why']}"), []).append(name)
    facts([
        ("versions", ", ".join(f"{name} {version}" for name, version in answer["versions"].items())),
        ("not there", ", ".join(f"{name} ({how})" for name, how in answer["missing"].items())),
        ("processor", f"{here['name']}, {count(here['cores'], 'core')}: {', '.join(here['units'])}; "
                      f"torch uses {here['torch_uses']}, {count(here['threads'], 'thread')}"),
        ("memory", f"{(memory['bytes'] or 0) / 1e9:.1f} GB, {memory['free'] / 1e9:.1f} GB free"),
        ("allocator", answer["allocator"]),
        *(("GPU", f"{one['name']}, {one['bytes'] / 1e9:.0f} GB, {one['free'] / 1e9:.0f} GB free") for one in answer["devices"]),
        ("device", answer["device"] + ("" if answer["devices"] else "; there is no CUDA device")),
        ("precision", f"auto is {answer['precision']['auto']}: {answer['precision']['why']}"),
        *((kind, f"{', '.join(names)}: {choice}") for (kind, choice), names in choices.items()),
        *(("engine", f"{one['name']}{'' if one['usable'] else ', not usable'}: {one['why']}") for one in answer["engines"]),
        ("--compile", answer["compile"] or "no C++ compiler: nets run as they are"),
        ("decoding", answer["decoder"]),
        ("cache", f"{answer['cache']['folder']}, {answer['cache']['bytes'] / 1e6:.1f} MB"),
        ("disk", f"{answer['disk_free'] / 1e9:.1f} GB free here"),
        *(("ships", f"{one['name']}, {one['bytes'] / 1e6:.1f} MB: "
                    + (one.get("error") or f"{one['net']}, {one['classes']:,} classes")) for one in answer["shipped"]),
    ])
    write()
    for line in answer["do"]:
        write(f"{painted('!', '1;31')} {strong(line)}")
    if not answer["do"]:
        write("Nothing is odd.")
