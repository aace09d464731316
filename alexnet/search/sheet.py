"""A sheet of pictures: a row a query, its neighbours beside it, words under each. For looking at, not for measuring."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from alexnet.rundir import placing

SIDE, GAP, TEXT = 96, 8, 16
INK, FAINT, PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)


def write(path, rows):
    """rows: [((picture, words), [(picture, words), ...]), ...]; a picture is uint8 (S, S, 3), or None where there is none."""
    most = max(len(beside) for _, beside in rows)
    width, height = SIDE * (most + 1) + GAP * (most + 4), (SIDE + TEXT + GAP) * len(rows) + GAP
    page = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for number, (query, beside) in enumerate(rows):
        top = GAP + number * (SIDE + TEXT + GAP)
        for place, (picture, words) in enumerate([query, *beside]):
            left = GAP + place * (SIDE + GAP) + (2 * GAP if place else 0)  # the query stands apart
            if picture is None:
                draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), outline=FAINT)
            else:
                page.paste(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
            draw.text((left, top + SIDE + 2), shortened(words, font, SIDE), fill=FAINT if place else INK, font=font)
    with placing(Path(path)) as new:
        page.save(new, "PNG" if Path(path).suffix.lower() == ".png" else "JPEG")


def shortened(words, font, width):
    """As much of the words as fits, its end kept: distances stand there."""
    if font.getlength(words) <= width:
        return words
    name, _, last = words.rpartition("  ")
    name, last = (name, f"  {last}") if name else (words, "")
    while name and font.getlength(f"{name}…{last}") > width:
        name = name[:-1]
    return f"{name}…{last}"
