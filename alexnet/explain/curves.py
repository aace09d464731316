"""Learning curves of a run."""

from alexnet import figures
from alexnet.explain.page import Section

DRAWN = ((figures.loss_curve, "Training and held-out loss over the epochs"),
         (figures.error_curve, "Top-1 and top-5 error over the epochs"),
         (figures.rate_curve, "Learning rate over the epochs"))


def figure(subject):
    return figures.curves(subject.lines) if subject.lines else None


def sections(subject, drawings):
    return [section(subject.lines)] if subject.lines else []


def section(lines):
    drawn = "".join(f'<figure role="img" aria-label="{said}">{figures.as_svg(draw(lines))}</figure>' for draw, said in DRAWN)
    before, after = (f"{100 * line['val_top1_error']:.1f}&nbsp;%" for line in (lines[0], lines[-1]))
    said = f"{len(lines)} epochs: the top-1 error went from {before} after the first to {after} after the last."
    return Section("Learning curves", said if len(lines) > 1 else "One epoch.", f'<div class="curves">{drawn}</div>', "Curves")


FIGURES = {"curves": figure}
