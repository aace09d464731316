"""The page of alexnet serve in a real browser: headless Chromium of the system, driven by Playwright. Slow; left out where either
is not there."""

import io
import os
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet.evaluate import temperature
from tests.serving import running, settings
from tests.test_serve import png_of

pytest.importorskip("fastapi")
driver = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")]
DROP = """(zone, [name, text]) => { const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0)), given = new DataTransfer();
given.items.add(new File([bytes], name)); for (const kind of ["dragenter", "dragover", "drop"])
zone.dispatchEvent(new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true })); }"""


@pytest.fixture(scope="module")
def address(run, store, tmp_path_factory):
    index = tmp_path_factory.mktemp("index") / "index"
    alexnet.search(str(index), build=str(store), model=str(run), split="val", device="cpu")
    with running(settings(run, index=str(index))) as (client, _):
        yield str(client.base_url)


@pytest.fixture(scope="module")
def chromium():
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, address):
    """A page that nothing went wrong in, and that asked nobody else."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
    opened, wrong = context.new_page(), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if "Security Policy" in said.text else None)
    opened.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith((address, "blob:", "data:")) else None)
    opened.goto(address)
    opened.locator("html[data-ready]").wait_for()
    yield opened
    context.close()
    assert not wrong


def drop(page, name, data):
    import base64

    page.locator("#frame").evaluate(DROP, [name, base64.b64encode(data).decode()])


def seen(page, verdict=None):
    page.locator("#views:not([hidden])").wait_for(timeout=30_000)
    return page.locator("#verdict").inner_text()


def test_a_dropped_picture_is_told_shown_and_compared(page, run, pictures):
    path = pictures / "val" / "cat" / "0001.png"
    drop(page, "cat.png", path.read_bytes())
    seen(page)
    ranked = alexnet.load(run, device="cpu")(path, top=5)
    bars = page.locator("#bars li")
    assert bars.count() == 5 and bars.locator(".name").all_inner_texts() == [one.name for one in ranked]
    share = float(bars.first.locator(".share").inner_text().split()[0])
    assert share == pytest.approx(100 * ranked[0].probability, abs=0.51)
    page.locator("#near:not([hidden])").wait_for()
    assert page.locator("#neighbours figcaption").first.inner_text() == "cat"
    page.locator("label", has_text="Where it looked").click()
    over = page.locator("#over")
    assert over.is_visible() and ranked[0].name in over.get_attribute("aria-label")
    assert page.locator("#lit").evaluate("one => getComputedStyle(one).maskImage").startswith('url("data:image/png')
    bars.nth(2).locator("button").click()
    page.locator(f'#over[aria-label*="{ranked[2].name}"]').wait_for()
    assert page.locator("#kernels").evaluate("one => one.naturalWidth") > 100


def test_what_is_unknown_is_called_so(chromium, run, pictures, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    temperature.keep(tmp_path / "run", unknown_below=0.98)
    data = (pictures / "val" / "cat" / "0001.png").read_bytes()
    with running(settings(tmp_path / "run")) as (client, _):
        page = chromium.new_page()
        page.goto(str(client.base_url))
        page.locator("html[data-ready]").wait_for()
        drop(page, "one.png", data)
        assert seen(page).startswith("Unknown")
        assert "Below 98" in page.locator("#hint").inner_text()
        page.close()


def test_what_cannot_be_read_is_said_and_the_page_goes_on(page, pictures):
    drop(page, "notes.xyz", b"this is no picture")
    page.get_by_text("not a picture in a known format").wait_for()
    assert page.locator("#verdict").inner_text() == "It could not be read"
    drop(page, "forty.png", png_of(8_000, 5_000, zlib.compress(bytes(8_001 * 5_000), 1)))  # 40 megapixels
    seen(page)
    assert page.locator("#trouble").is_hidden() and page.locator("#bars li").count() == 5
    drop(page, "bomb.png", png_of(60_000, 60_000, b""))
    page.get_by_text("more than the 100,000,000 pixels").wait_for()
    drop(page, "cat.png", (pictures / "val" / "cat" / "0001.png").read_bytes())
    page.locator("#trouble[hidden]").wait_for(state="attached")
    seen(page)


def test_several_pictures_are_a_sheet(page, pictures):
    page.set_input_files("#files", [*map(str, sorted((pictures / "val").rglob("0001.png"))[:6]), __file__])
    page.get_by_role("heading", name="7 pictures", exact=True).wait_for()
    assert page.locator("#sheet .fill").count() == 7 and page.locator("#sheet .bad").count() == 1
    page.locator("#sheet button").nth(3).click()
    page.get_by_text("0001.png").first.wait_for()
    page.get_by_role("button", name="Clear the sheet").click()
    assert page.locator("#sheet-box").is_hidden()


def test_an_example_by_keyboard_alone(page):
    def focused():
        return page.locator(":focus")

    page.keyboard.press("Tab")
    assert focused().inner_text() == "To the pictures"
    for _ in range(30):
        page.keyboard.press("Tab")
        if focused().evaluate("one => one.closest('#strip') !== null"):
            break
    page.keyboard.press("Enter")
    seen(page)
    assert page.locator("#said").inner_text().startswith("Most likely")
    page.locator("[name=view]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#seen").is_visible()
    page.locator("#tab-look").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#camera").is_visible() and focused().get_attribute("id") == "tab-camera"


def test_names_for_who_cannot_see(page):
    nameless = page.locator("button, a, input, select, [role=tab]").evaluate_all(
        "all => all.filter(one => one.offsetParent && !(one.innerText || one.ariaLabel || one.title || one.labels?.length "
        "|| one.querySelector('img[alt]:not([alt=\"\"])'))).map(one => one.outerHTML)")
    assert nameless == []
    assert page.locator("img:not([alt])").count() == 0 and page.locator("html[lang=en]").count() == 1
    assert page.locator("[role=status][aria-live=polite]").count() == 1


def test_two_classes_are_taught_and_tried(page, pictures, run):
    """The page's own arithmetic beside numpy's: the nearest mean, by cosines."""
    clf, means = alexnet.load(run, device="cpu"), {}

    def rows(paths):
        found = clf.features(paths)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    page.get_by_role("tab", name="Teach").click()
    for place, name in enumerate(("moon", "cat")):
        paths, lesson = sorted((pictures / "train" / name).glob("*.png"))[:4], page.locator(".lesson").nth(place)
        lesson.locator(".name").fill(name)
        lesson.locator("input[type=file]").set_input_files([*map(str, paths)])
        lesson.get_by_text("4 pictures").wait_for(timeout=30_000)
        mean = rows(paths).mean(0)
        means[name] = mean / np.linalg.norm(mean)
    page.locator("#lesson-said", has_text="of 8 of these").wait_for()
    for path in (pictures / "val" / "cat" / "0001.png", pictures / "val" / "moon" / "0002.png"):
        near = {name: float(rows([path])[0] @ mean) for name, mean in means.items()}
        shares = {name: np.exp(12 * value) / sum(np.exp(12 * other) for other in near.values()) for name, value in near.items()}
        page.set_input_files("#try-file", str(path))
        page.locator("#try-verdict", has_text=max(near, key=near.get)).wait_for()
        page.wait_for_timeout(300)
        shown = page.locator("#try-bars .share").first.inner_text()
        assert float(shown.split()[0]) == pytest.approx(100 * max(shares.values()), abs=0.6)


def test_the_camera_is_asked_and_let_go(page):
    page.get_by_role("tab", name="Camera").click()
    page.get_by_role("button", name="Start the camera").click()
    page.get_by_text("pictures a second").wait_for(timeout=20_000)
    assert page.locator("#camera-bars li").count() == 5
    page.get_by_role("tab", name="Look").click()
    assert page.locator("#video").evaluate("one => one.srcObject") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_every_width_and_both_schemes(chromium, address, pictures, scheme, width, tmp_path):
    """Nothing is wider than the window, text stands out from its ground; ALEXNET_SHOTS=FOLDER keeps the screenshots."""
    context = chromium.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, has_touch=width < 500)
    page = context.new_page()
    page.goto(address)
    page.locator("html[data-ready]").wait_for()
    page.locator("#strip button").first.click()
    page.set_input_files("#files", [str(path) for path in sorted((pictures / "val").rglob("0001.png"))[:5]])
    page.get_by_role("heading", name="5 pictures", exact=True).wait_for()
    seen(page)
    shot = page.screenshot(full_page=True, path=os.path.join(os.environ.get("ALEXNET_SHOTS", tmp_path), f"{scheme}-{width}.png"))
    for tab in ("look", "camera", "teach"):
        page.locator(f"#tab-{tab}").click()
        assert page.locator("html").evaluate("one => one.scrollWidth") <= width, tab
    ground = np.asarray(Image.open(io.BytesIO(shot)).convert("L"))[4, 4]
    assert ground > 230 if scheme == "light" else ground < 40
    context.close()


def test_a_key_is_asked_for_in_the_page(chromium, run):
    with running(settings(run, key="sesame")) as (client, _):
        page = chromium.new_page()
        page.goto(str(client.base_url))
        page.locator("#key").fill("sesame")
        page.keyboard.press("Enter")
        page.locator("html[data-ready]").wait_for()
        assert "classes" in page.locator("#facts").inner_text()
        page.close()


def test_the_documents_are_a_page(chromium, address):
    page = chromium.new_page()
    page.goto(f"{address}/docs")
    page.locator("html[data-ready]").wait_for()
    assert page.locator(".route").count() >= 15 and "curl" in page.locator(".route pre").first.inner_text()
    page.close()
