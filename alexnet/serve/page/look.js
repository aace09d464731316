// One picture: five bars at once, then where the net looked and what is near. Several: a sheet, of which any may be opened.
import { at, bars, capital, make, percent, short, trouble } from "./draw.js";
import { shown, told } from "./ask.js";

const UNKNOWN = "Unknown: likely enough for none of its classes";
let model = null, current = null, turn = 0, presses = 0;
const sheet = [];

export function start(described) {
  model = described;
  at("files").onchange = at("snapshot").onchange = (event) => { take([...event.target.files]); event.target.value = ""; };
  at("sheet-clear").onclick = clearSheet;
  for (const radio of document.getElementsByName("view")) radio.onchange = () => view(radio.value);
  if (!matchMedia("(pointer: coarse)").matches) at("shoot").hidden = true;  // elsewhere the camera has its own tab
}

export function take(files) {
  trouble(null);
  if (!files.length) return;
  for (const button of at("strip").querySelectorAll("button")) button.setAttribute("aria-pressed", "false");
  if (files.length === 1) return open({ file: files[0], name: files[0].name || "picture", url: URL.createObjectURL(files[0]) });
  return many(files);
}

export async function open(picture) {
  const mine = ++turn;
  if (current && current.url !== picture.url && !current.kept) URL.revokeObjectURL(current.url);
  current = picture;
  at("empty").hidden = true;
  at("frame").classList.remove("waiting");
  at("photo").onerror = () => { at("photo").hidden = true; };  // a format that only the service reads
  Object.assign(at("photo"), { src: picture.url, alt: picture.name, hidden: false });
  at("seen").removeAttribute("src");
  document.querySelector("[name=view][value=photo]").checked = true;
  view("photo");
  at("near").hidden = true;
  at("working").hidden = false;
  try {
    const one = picture.one || (await told(`/v1/predict?top=5&name=${encodeURIComponent(picture.name.slice(0, 200))}`, { body: picture.file })).predictions[0];
    if (mine !== turn) return;
    picture.one = one;
    answer(one);
    await Promise.all([explain(0, mine), neighbours(picture, mine)]);
  } catch (error) {
    if (mine === turn) {
      trouble(error);
      at("eyebrow").textContent = picture.name;
      at("verdict").textContent = "It could not be read";
      at("bars").replaceChildren();
      at("hint").textContent = "";
      at("views").hidden = true;
    }
  } finally {
    if (mine === turn) at("working").hidden = true;
  }
}

function answer(one, picked = 0) {
  const best = one.top[0];
  at("eyebrow").textContent = one.path;
  at("verdict").textContent = one.unknown ? UNKNOWN : best.probability > 0.5 ? capital(short(best.name)) : `${capital(short(best.name))}, perhaps`;
  at("hint").textContent = (one.unknown ? `Below ${percent(model.unknown_below)} it does not trust its first answer. ` : "") +
    (one.top.length > 1 ? "Press a bar to see where it looked for that class." : "");
  at("said").textContent = `${one.unknown ? `${UNKNOWN}. ` : ""}Most likely ${short(best.name)}, ${percent(best.probability)}.`;
  bars(at("bars"), one.top, { picked, onPick: (place) => { answer(one, place); explain(place, turn, true); } });
}

async function explain(place, mine, show = false) {
  const picture = current, index = picture.one.top[place].index, press = ++presses;
  const late = () => mine !== turn || press !== presses;  // another picture, or another bar of this one
  picture.looks = picture.looks || {};
  at("working").hidden = false;
  try {
    const look = picture.looks[index] = picture.looks[index] || (await told(`/v1/explain?index=${index}`, { body: picture.file })).explanations[0];
    if (late()) return;
    Object.assign(at("seen"), { src: look.square, alt: `The ${model.size} by ${model.size} pixels that it is given` });
    at("over").setAttribute("aria-label", `Where it looked for ${short(look.name)}: the rest is faded`);
    for (const id of ["faded", "lit"]) at(id).src = at("photo").naturalWidth ? picture.url : look.square;
    at("lit").style.maskImage = at("lit").style.webkitMaskImage = `url(${look.heat})`;
    at("views").hidden = false;
    if (show) document.querySelector("[name=view][value=over]").checked = true;
    view(document.querySelector("[name=view]:checked").value);
  } catch (error) {
    if (!late()) trouble(error);
  } finally {
    if (!late()) at("working").hidden = true;
  }
}

function view(which) {
  at("photo").hidden = which !== "photo" && Boolean(at("seen").getAttribute("src"));
  for (const id of ["seen", "over"]) at(id).hidden = which !== id || !at("seen").getAttribute("src");
}

async function neighbours(picture, mine) {
  if (!model.index) return;
  try {
    const found = (await told("/v1/search?top=6", { body: picture.file })).results[0].neighbours;
    if (mine !== turn) return;
    at("neighbours").replaceChildren(...found.map((one) => {
      const image = make("img", { alt: "", loading: "lazy" }), name = short(one.class || one.file);
      shown(`/v1/index/${one.position}.png`).then((url) => { image.src = url; image.onload = () => URL.revokeObjectURL(url); }, () => {});
      return make("li", {}, make("figure", { title: `${name}, at a distance of ${one.distance.toFixed(2)}` }, image, make("figcaption", { textContent: name })));
    }));
    at("near").hidden = false;
  } catch (error) {
    if (mine === turn) trouble(error);
  }
}

async function many(files) {
  const waiting = files.map((file) => {
    const picture = { file, name: file.name || "picture", url: URL.createObjectURL(file), kept: true };
    sheet.push(picture);
    return { picture, card: card(picture) };
  });
  at("sheet-box").hidden = false;
  title();
  at("sheet-box").scrollIntoView({ block: "start" });
  let opened = false;
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { picture, card: made } = next;
      try {
        picture.one = (await told(`/v1/predict?name=${encodeURIComponent(picture.name.slice(0, 200))}`, { body: picture.file })).predictions[0];
        fill(made, picture.one);
        if (!opened) { opened = true; open(picture); }
      } catch (error) {
        picture.failed = true;
        made.querySelector(".label").replaceWith(make("span", { className: "bad", textContent: `${picture.name}: ${error.message}` }));
      }
      title();
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  at("said").textContent = at("sheet-title").textContent;
}

function card(picture) {
  const image = make("img", { src: picture.url, alt: picture.name, loading: "lazy" });
  image.onerror = () => { image.removeAttribute("src"); };
  const made = make("button", { title: picture.name }, image,
    make("span", { className: "label" }, make("span", { textContent: "…" }), make("span")),
    make("div", { className: "track" }, make("span", { className: "fill" })));
  made.onclick = () => { if (picture.one) { open(picture); at("work").scrollIntoView(); at("verdict").focus?.(); } };
  at("sheet").append(make("li", {}, made));
  return made;
}

function fill(made, one) {
  const [name, share] = made.querySelectorAll(".label span"), best = one.top[0];
  name.textContent = one.unknown ? `unknown (${short(best.name)})` : short(best.name);
  share.textContent = percent(best.probability);
  made.querySelector(".fill").style.width = `${100 * best.probability}%`;
}

function title() {
  const done = sheet.filter((one) => one.one || one.failed).length;
  at("sheet-title").textContent = done < sheet.length ? `${done} of ${sheet.length} pictures` : `${sheet.length} pictures`;
}

function clearSheet() {
  for (const picture of sheet.splice(0)) if (picture !== current) URL.revokeObjectURL(picture.url);
  at("sheet").replaceChildren();
  at("sheet-box").hidden = true;
}
