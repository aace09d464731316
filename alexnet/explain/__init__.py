"""A run or a weights file, explained: figures as PNG and SVG, and one report.html with everything inside it, which fetches
nothing. Figures 3 and 4 of the paper, curves, maps, mistakes, the architecture and the run's facts; a section a file.

    alexnet explain RUN        writes RUN/report.html and RUN/figures/
    alexnet.explain.figure("run", "neighbours")        one of its figures, to matplotlib
"""

from pathlib import Path
from typing import Annotated

from alexnet import figures, rundir, weights
from alexnet.errors import Misused, Refused, nearest
from alexnet.explain import curves, facts, head, kernels, looking, mistakes, neighbours, page, predictions
from alexnet.explain.subject import Subject

SECTIONS = (curves, predictions, neighbours, kernels, looking, mistakes, facts)  # from top to bottom


def explain(
    model: Annotated[str, "a run folder, a weights file, or a name that ships"],
    *,
    store: Annotated[str | None, "the store to draw pictures from (default: the one the run was trained on)"] = None,
    split: Annotated[str | None, "its split to show and to measure (default: val, else test, else the first)"] = None,
    errors: Annotated[bool, "show only pictures that the net gets wrong"] = False,
    picture: Annotated[str | None, "a picture of your own for the feature maps and for where the net looks", "FILE"] = None,
    searched: Annotated[int | None, "training pictures searched for neighbours; 0: none (default: a minute's worth)"] = None,
    index: Annotated[str | None, "search this index of `alexnet search` for them instead", "INDEX"] = None,
    out: Annotated[str | None, "folder for the report (default: the run's own, or NAME-report)"] = None,
    device="auto",
):
    """Write the paper's figures and one self-contained report.html about a run or a weights file."""
    subject = Subject(model, store=store, split=split, errors=errors, picture=picture, searched=searched, index=index,
                      device=device)
    folder = Path(out) if out else subject.run or Path(f"{weights.find(model).stem}-report")
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}): name another folder with --out.") from None
    report = folder / "report.html"
    if subject.run and not out and not subject.gallery and _has_pictures(report):
        note = f"{subject.note.rstrip('.')}; {report}, which has some, stays as it was: give --store STORE, or --out FOLDER."
        return {"report": str(report), "figures": [], "note": note}
    written, parts = [], []
    for section in SECTIONS:
        drawings = {name: draw(subject) for name, draw in section.FIGURES.items()}
        for name, drawing in drawings.items():
            for ending in ("png", "svg") if drawing is not None else ():
                written.append(str(figures.save(drawing, folder / "figures" / f"{name}.{ending}")))
        parts += section.sections(subject, drawings)
    text = page.page(f"AlexNet report: {subject.title}", head.head(subject), parts, refresh=subject.unfinished)
    rundir.replace_file(report, text.encode())
    return {"report": str(report), "figures": written, "note": subject.note or subject.doubt}


def _has_pictures(report):
    """Does this page show what only a store can give?"""
    return report.is_file() and '<section id="confusions">' in report.read_text(encoding="utf-8")


def figure(model, name, **options):
    """One figure of the report as a matplotlib Figure: curves, predictions, neighbours, kernels, feature-maps, looked, confusion,
    calibration or architecture. model, and options as of explain; None where there is nothing to draw it from."""
    known = {key: draw for section in SECTIONS for key, draw in section.FIGURES.items()}
    if name not in known:
        raise Misused(f"there is no figure {name!r}: {nearest(name, known)}")
    return known[name](model if isinstance(model, Subject) else Subject(model, **options))
