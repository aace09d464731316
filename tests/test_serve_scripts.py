"""The page's scripts in Node, with a document that does as little as they need and a service that answers when it is told to. What
a browser makes of the page is in test_serve_page.py."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import alexnet

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="there is no Node here")
PAGE = Path(alexnet.__file__).parent / "serve" / "page"
STAGE = """
class Element {
  children = []; parts = {}; style = {}; hidden = false; textContent = ""; classList = { add() {}, remove() {} };
  append(...more) { this.children.push(...more); }
  replaceChildren(...all) { this.children = all; }
  querySelector(what) { return this.parts[what] ||= new Element(); }
  querySelectorAll() { return []; }
  setAttribute(name, value) { this[name] = value; }
  getAttribute(name) { return this[name] ?? null; }
  removeAttribute(name) { delete this[name]; }
  getBoundingClientRect() {}
  scrollIntoView() {}
  get firstChild() { return this.children[0]; }
  get lastChild() { return this.children.at(-1); }
}
const ids = {}, page = new Element();
globalThis.document = { getElementById: (id) => ids[id] ||= new Element(), createElement: () => new Element(),
                        getElementsByName: () => [], querySelector: (what) => page.querySelector(what) };
globalThis.matchMedia = () => ({ matches: true });
URL.createObjectURL = () => "blob:";
URL.revokeObjectURL = () => {};

const asked = {};  // address -> reply(status, object)
globalThis.fetch = (address) => new Promise((done) => {
  asked[address] = (status, told) => done({ status, ok: status < 400, headers: new Map(), json: async () => told });
});
const soon = () => new Promise((go) => setTimeout(go, 5));
const reply = async (address, status, told) => { await soon(); asked[address](status, told); await soon(); };
const row = (index) => ({ index, id: `n${index}`, name: `class ${index}`, probability: 0.9 - index / 10 });
const one = { path: "cat.png", top: [0, 1, 2].map(row) };
const look = (index) => ({ explanations: [{ ...row(index), square: "data:square", heat: `data:heat-${index}` }] });

const { open, start } = await import("./look.js");
const at = document.getElementById;
start({ size: 64, index: { pictures: 9 } });
open({ name: "cat.png", url: "blob:cat", file: "bytes" });
await reply("/v1/predict?top=5&name=cat.png", 200, { predictions: [one] });
const seen = () => ({ verdict: at("verdict").textContent, bars: at("bars").children.length, trouble: at("trouble").textContent,
                      lit: at("lit").style.maskImage, label: at("over")["aria-label"], working: !at("working").hidden,
                      pressed: at("bars").children.findIndex((item) => item.firstChild["aria-pressed"] === "true") });
const press = (place) => at("bars").children[place].firstChild.onclick();
"""


def played(tmp_path, script):
    """What the script says at its end, as an object."""
    for file in PAGE.glob("*.js"):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "play.js").write_text(STAGE + script + "\nconsole.log(JSON.stringify(seen()));")
    done = subprocess.run(["node", "play.js"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_answer_stays_when_its_neighbours_do_not_come(tmp_path):
    found = played(tmp_path, """
await reply("/v1/explain?index=0", 200, look(0));
await reply("/v1/search?top=6", 422, { detail: "the index is gone." });""")
    assert found["verdict"] == "Class 0" and found["bars"] == 3 and found["trouble"] == "The index is gone."
    assert "heat-0" in found["lit"] and not found["working"]


def test_a_picture_that_is_refused_is_said(tmp_path):
    found = played(tmp_path, """
open({ name: "x", url: "blob:x", file: "bytes" });
await reply("/v1/predict?top=5&name=x", 400, { detail: "the picture cannot be read." });""")
    assert found["verdict"] == "It could not be read" and found["bars"] == 0


def test_the_heat_is_that_of_the_bar_pressed_last(tmp_path):
    found = played(tmp_path, """
await reply("/v1/explain?index=0", 200, look(0));
await reply("/v1/search?top=6", 200, { results: [{ neighbours: [] }] });
press(1);
press(0);
await reply("/v1/explain?index=1", 200, look(1));""")
    assert found["pressed"] == 0 and "heat-0" in found["lit"] and "for class 0" in found["label"]
    assert not found["working"] and not found["trouble"]


def test_a_bar_pressed_before_is_kept_for_the_next_time(tmp_path):
    found = played(tmp_path, """
await reply("/v1/explain?index=0", 200, look(0));
await reply("/v1/search?top=6", 200, { results: [{ neighbours: [] }] });
press(1);
press(0);
await reply("/v1/explain?index=1", 200, look(1));
press(2);
press(1);
await soon();
asked["/v1/explain?index=2"](500, { detail: "late." });
await soon();""")
    assert found["pressed"] == 1 and "heat-1" in found["lit"] and not found["working"] and not found["trouble"]
