"""The one definition of a picture: modes, EXIF, resampling, and everything that must be refused in plain words."""

import functools
import io
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from skimage import data as photos

from alexnet.data import picture
from alexnet.errors import Refused


def photo(width=96, height=64, seed=0):
    """Smooth colours, so that JPEG keeps them."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin((x * a + y * b + seed) / 9) for a, b in ((1, 0.3), (0.2, 1), (0.6, -0.7))]
    return np.stack(planes, axis=-1).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, kind, **options)
    return stream.getvalue()


def with_orientation(value):
    exif = Image.Exif()
    exif[picture.ORIENTATION] = value
    return exif


@pytest.mark.parametrize("width, height", [(192, 96), (96, 192), (96, 96), (288, 96)])
def test_equals_resizing_the_shorter_side_and_cutting_the_middle(width, height):
    source = photo(width, height)
    resized = Image.fromarray(source).resize((width // 3, height // 3), Image.Resampling.BILINEAR)
    left, top = (width // 3 - 32) // 2, (height // 3 - 32) // 2
    expected = np.asarray(resized.crop((left, top, left + 32, top + 32)))
    difference = np.abs(picture.square(source, 32).astype(int) - expected)
    assert difference.max() <= 2 and difference.mean() < 0.3  # of rounding, between two passes and of the weights


def test_right_size_is_not_resampled_and_others_are_enlarged():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(picture.square(encoded(noise), 32), noise)
    assert picture.square(photo(1, 1), 256).shape == (256, 256, 3)
    assert picture.square(photo(4000, 3), 16).shape == (16, 16, 3)


def test_path_bytes_picture_and_array_agree(tmp_path):
    pixels = photo()
    path = tmp_path / "a.png"
    path.write_bytes(encoded(pixels))
    given = (path, str(path), path.read_bytes(), Image.fromarray(pixels), pixels)
    first, *others = (picture.square(one, 40) for one in given)
    assert all(np.array_equal(first, other) for other in others)
    assert np.array_equal(picture.square(pixels[..., 0], 64)[..., 2], picture.square(pixels, 64)[..., 0])
    assert picture.upright(path).mode == "RGB"


def test_jpeg_equals_pillow_with_or_without_the_fast_decoder(monkeypatch):
    for options in ({}, {"subsampling": 0}, {"progressive": True}, {"quality": 20}):
        data = encoded(photo(101, 67), "JPEG", **options)
        assert np.array_equal(picture.upright(data), Image.open(io.BytesIO(data)))
    grey = encoded(photo()[..., 0], "JPEG")
    fast = picture.square(grey, 64)
    monkeypatch.setattr(picture, "_jpeg", lambda data, size: None)
    assert np.array_equal(picture.square(grey, 64), fast)


@functools.cache
def photographs():
    """Odd sides and every way of halving colours: (name, JPEG)."""
    cat, cup = photos.chelsea()[:, :-1], photos.coffee()  # 450x300, 600x400
    kinds = {"444": {"subsampling": 0}, "420": {"subsampling": 2}, "422": {"subsampling": 1}, "progressive": {"progressive": True}}
    found = {name: encoded(cat[:297, :441], "JPEG", quality=90, **options) for name, options in kinds.items()}
    found["grey"] = encoded(Image.fromarray(cat[:, :333]).convert("L"), "JPEG")
    found["cmyk"] = encoded(Image.fromarray(cup[:, :399]).convert("CMYK"), "JPEG")
    found["tall"] = encoded(np.ascontiguousarray(cup[:399].swapaxes(0, 1)), "JPEG")
    return found


def defined(data, size):
    """The definition in double precision, nothing rounded: the whole file, then one triangle as wide as a made pixel."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)
    height, width, _ = pixels.shape
    side, made = min(width, height), np.arange(size) + 0.5

    def weights(length):
        pixel = side / size
        centres = (length - side) / 2 + made * pixel
        triangle = np.maximum(1 - np.abs(np.arange(length) + 0.5 - centres[:, None]) / max(pixel, 1), 0)
        return triangle / triangle.sum(axis=1, keepdims=True)

    return np.einsum("ih,hwc,jw->ijc", weights(height), pixels, weights(width), optimize=True)


def decibels(found, expected):
    return 10 * np.log10(255**2 / max(np.mean((found - expected) ** 2), 1e-9))


@pytest.mark.parametrize("size", [256, 100, 64, 59, 32, 24, 14])
@pytest.mark.parametrize("name", photographs())
def test_short_cuts_stay_near_the_definition(name, size, monkeypatch):
    jpeg = photographs()[name]
    expected = defined(jpeg, size)
    found = picture.square(jpeg, size)
    assert decibels(found, expected) > 40
    assert np.abs((found - expected).mean(axis=(0, 1))).max() < 0.5  # no shade is shifted
    monkeypatch.setattr(picture, "_jpeg", lambda data, size: None)
    assert np.array_equal(picture.square(jpeg, size), found)  # whoever decodes
    monkeypatch.setattr(picture, "RESAMPLER", "Pillow")
    assert decibels(picture.square(jpeg, size), found.astype(float)) > 50  # whoever resamples


def test_scales_of_a_jpeg(monkeypatch):
    assert [picture._divisor(1000, 801, size) for size in (None, 256, 161, 160, 81, 80, 41, 40, 1)] == [1, 1, 1, 2, 2, 4, 4, 8, 8]
    seen = []
    monkeypatch.setattr(picture, "_resample", lambda pixels, box, size: seen.append((picture._size(pixels), box)) or pixels)
    for name in ("444", "cmyk", "grey"):
        picture.square(photographs()[name], 48)
    assert seen == [((221, 149), [36, 0, 148.5]), ((200, 200), [0, 0.25, 199.5]), ((167, 150), [8.25, 0, 150])]


def test_a_gradient_stays_where_it_is():
    ramp = np.repeat(np.linspace(0, 255, 1001, dtype=np.float32)[None, :, None], 701, axis=0).repeat(3, axis=2).round()
    jpeg = encoded(ramp.astype(np.uint8), "JPEG", quality=100, subsampling=0)
    for size in (256, 140, 70, 32):
        assert np.abs(picture.square(jpeg, size) - defined(jpeg, size)).mean() < 0.35, size


def test_a_picture_given_open_is_left_as_it_is():
    opened = Image.open(io.BytesIO(photographs()["444"]))
    picture.square(opened, 16)
    assert opened.size == (441, 297)


def test_squares_may_be_written_to():
    for given in (photographs()["444"], photographs()["grey"], photographs()["cmyk"]):
        picture.square(given, 64)[0] = 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation(kind, value):
    data = encoded(photo(48, 32), kind, exif=with_orientation(value))
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    expected = plain.transpose(picture.TURNS[value]) if value > 1 else plain
    assert expected.size == ((32, 48) if value >= 5 else (48, 32))
    assert np.array_equal(picture.upright(data), expected)
    for size in (8, 24, 32):  # decoded at 1/2, and in full; the right size on one side
        small = Image.fromarray(picture.square(encoded(photo(48, 32), kind), size))
        assert np.array_equal(picture.square(data, size), small.transpose(picture.TURNS[value]) if value > 1 else small)
        if kind == "PNG":  # points know left from right: of the upright picture
            sharp = picture.square(np.asarray(expected), size, picture.POINTS)
            assert np.array_equal(picture.square(data, size, picture.POINTS), sharp)


def test_orientation_six_is_a_quarter_turn_clockwise():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255  # white on the left, so on top once turned
    turned = np.asarray(picture.upright(encoded(pixels, exif=with_orientation(6))))
    assert turned.shape == (40, 20, 3) and turned[:20].min() == 255 and turned[20:].max() == 0


def test_exif_is_found_wherever_it_stands_before_the_pixels():
    jpeg = encoded(photo(48, 32), "JPEG", exif=with_orientation(6))
    marker = jpeg.index(b"\xff\xe1")
    other = b"\xff\xe2\x00\x0a\xff\xda\x00\x0c1234"  # a segment in which a scan seems to begin
    for between in (other, b"\xff" * 3, other * 9):  # bytes of 0xff may fill before a marker
        assert picture.upright(jpeg[:marker] + between + jpeg[marker:]).size == (32, 48)
    scan = picture._before_pixels(encoded(photo(), "JPEG"))
    assert 0 < len(scan) < 1000 and scan[-4:] != b"\xff\xd9"
    for broken in (b"\xff\xd8\xff", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\0", b"\xff\xd8\xff\xe0\0\x02"):
        assert picture._before_pixels(broken) == broken


def test_corrupt_exif_is_no_rotation_and_no_warning(recwarn):
    sound = encoded(photo(), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01junk" * 9
    data = sound[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + sound[2:]
    assert np.array_equal(picture.upright(data), picture.upright(sound))
    assert not recwarn.list


def test_modes():
    colour = Image.fromarray(photo())
    rgb = np.asarray(colour).astype(int)
    cases = {
        "L": colour.convert("L").convert("RGB"),
        "1": colour.convert("1").convert("RGB"),
        "CMYK": colour,
        "HSV": colour.convert("HSV").convert("RGB"),
        "P": colour.convert("P").convert("RGB"),
    }
    for mode, expected in cases.items():
        assert np.array_equal(picture.upright(colour.convert(mode)), expected), mode
    assert np.abs(np.asarray(picture.upright(encoded(colour.convert("CMYK"), "JPEG", quality=95))) - rgb).max() < 12
    deep = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
    for kind in ("PNG", "PPM", "TIFF"):
        assert np.array_equal(picture.square(encoded(Image.fromarray(deep), kind), 64)[..., 1], deep >> 8), kind


def test_alpha_lies_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30] * 256)
    for image in (encoded(clear), encoded(clear.convert("LA")), encoded(palette, transparency=0)):
        assert (picture.square(image, 8) == 255).all()
    assert np.abs(picture.square(encoded(half), 8)[0, 0].astype(int) - (255, 127, 127)).max() <= 1


@functools.cache
def damaged():
    jpeg, png = (
        encoded(photo(200, 200), "JPEG"),
        encoded(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)),
    )
    hole = jpeg[: len(jpeg) // 2] + bytes(300) + jpeg[len(jpeg) // 2 + 300 :]
    return {
        "empty": (b"", "empty"),
        "text": (b"hello, I am no picture at all", "not a picture"),
        "header only": (jpeg[:30], "damaged"),
        "half a JPEG": (jpeg[: len(jpeg) // 2], "truncated"),
        "half a JPEG with an end": (jpeg[: len(jpeg) // 2] + b"\xff\xd9", "damaged"),
        "a JPEG with a hole": (hole, "damaged"),
        "half a PNG": (png[: len(png) // 2], "truncated"),
        "a PNG with a wrong byte": (png[:900] + bytes([png[900] ^ 255]) + png[901:], "damaged"),
        "half a GIF": (encoded(photo(200, 200), "GIF")[:3000], "truncated"),
        "half a progressive JPEG": (encoded(photo(200, 200), "JPEG", progressive=True)[:2000], "truncated"),
        "float": (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "floating-point"),
        "bomb": (bomb(), "pixels that are read"),
        "large PNG": (large_png(), "pixels that are read"),
    }


def bomb():
    jpeg = bytearray(encoded(photo(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"  # 65535 x 65535
    return bytes(jpeg)


def large_png():
    png = encoded(photo())
    header = b"IHDR" + (15000).to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


@pytest.mark.parametrize("size", [16, 150])  # decoded at a quarter, and in full
@pytest.mark.parametrize("name", damaged())
def test_refused_in_plain_words(name, size, recwarn):
    if "with an end" in name or "hole" in name:
        pytest.importorskip("simplejpeg", reason="Pillow alone does not see damage inside a JPEG")
    data, reason = damaged()[name]
    with pytest.raises(Refused, match=reason) as refusal:
        picture.square(data, size)
    assert "\n" not in str(refusal.value) and not recwarn.list


def test_padding_before_the_end_of_a_jpeg_is_no_damage():
    sound = encoded(photo(), "JPEG")
    padded = sound[:-2] + bytes(9) + sound[-2:]
    assert np.array_equal(picture.upright(padded), picture.upright(sound))
    assert np.array_equal(picture.square(padded, 8), picture.square(sound, 8))


def test_other_refusals(tmp_path):
    with pytest.raises(Refused, match="no such file"):
        picture.square(tmp_path / "gone.jpg", 8)
    with pytest.raises(Refused, match="cannot be read"):
        picture.square(tmp_path, 8)
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(Refused, match="uint8"):
            picture.square(wrong, 8)
    with pytest.raises(Refused, match="not square"):
        picture.native(photo(20, 30))
    with pytest.raises(Refused, match="30x30 is not 20x20"):
        picture.native(photo(30, 30), 20)


def test_warnings_are_the_process_s_own_again_after_many_threads():
    filters = list(warnings.filters)
    data = encoded(photo())
    threads = [threading.Thread(target=lambda: [picture.square(data, 16) for _ in range(30)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters


def test_many_threads_read_as_one():
    jpegs = list(photographs().values())
    alone = [picture.square(jpeg, 64) for jpeg in jpegs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda jpeg: picture.square(jpeg, 64), jpegs * 5))
    assert all(np.array_equal(one, alone[at % len(jpegs)]) for at, one in enumerate(together))
    assert 1 <= picture.decoders() <= picture.DECODERS


@pytest.mark.parametrize("side, size", [(300, 64), (50, 64), (64, 64), (700, 64)])
def test_points_are_one_linear_sample_at_the_corner_of_each_cell(side, size):
    pixels = np.random.default_rng(side).integers(0, 256, (side, side + 40, 3), dtype=np.uint8)
    found = picture.square(pixels, size, picture.POINTS).astype(int)
    source, left = pixels.astype(float), 20
    if side > 6 * size:  # first to six sizes, antialiased
        whole = Image.fromarray(pixels).resize((6 * size, 6 * size), Image.Resampling.BILINEAR, box=(20, 0, 20 + side, side))
        source, left, side = np.asarray(whole, float), 0, 6 * size
    for row, column in ((0, 0), (1, 2), (size // 2, size - 1), (size - 1, size // 3)):
        y = min(max(row * side / size - 0.5, 0), source.shape[0] - 1)
        x = min(max(left + column * side / size - 0.5, 0), source.shape[1] - 1)
        (y0, x0), y1, x1 = (int(y), int(x)), min(int(y) + 1, source.shape[0] - 1), min(int(x) + 1, source.shape[1] - 1)
        above, below = (source[at, x0] * (1 - x + x0) + source[at, x1] * (x - x0) for at in (y0, y1))
        assert np.abs(found[row, column] - (above * (1 - y + y0) + below * (y - y0))).max() <= 2.01, (row, column)
    grey = picture.square(pixels[..., 0], size, picture.POINTS)
    assert np.array_equal(grey[..., 0], grey[..., 2]) and grey.shape == (size, size, 3)


def test_points_of_a_jpeg_begin_from_five_sizes_or_more():
    jpeg = encoded(photo(1400, 1000), "JPEG")
    whole = picture.square(Image.open(io.BytesIO(jpeg)).convert("RGB"), 64, picture.POINTS)  # decoded in full, then six sizes
    assert np.abs(picture.square(jpeg, 64, picture.POINTS).astype(int) - whole).mean() < 12
    assert not np.array_equal(picture.square(jpeg, 64), whole)
