// The page's beginning: what answers here, the tabs, the examples, and pictures that are dropped or pasted anywhere.
import * as camera from "./camera.js";
import * as look from "./look.js";
import * as teach from "./teach.js";
import { at, filesIn, make, percent, trouble } from "./draw.js";
import { shown, told } from "./ask.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
let tab = "look";

function choose(name, focus = false) {
  tab = name;
  for (const one of tabs) {
    const mine = one.getAttribute("aria-controls") === name;
    one.setAttribute("aria-selected", String(mine));
    one.tabIndex = mine ? 0 : -1;
    at(one.getAttribute("aria-controls")).hidden = !mine;
    if (mine && focus) one.focus();
  }
  if (name !== "camera") camera.stop();
  if (name !== "teach") teach.stop();
  trouble(null);
}

function listen() {
  tabs.forEach((one, place) => {
    one.onclick = () => choose(one.getAttribute("aria-controls"));
    one.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) choose(tabs[(place + step + tabs.length) % tabs.length].getAttribute("aria-controls"), true);
    };
  });
  const receive = (files) => { if (files.length) (tab === "teach" ? teach : (choose("look"), look)).take(files); };
  let depth = 0;
  const dragged = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => { if (dragged(event)) { depth += 1; at("drop").hidden = tab === "teach"; } });
  addEventListener("dragleave", (event) => { if (dragged(event) && --depth <= 0) { depth = 0; at("drop").hidden = true; } });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    depth = 0;
    at("drop").hidden = true;
    if (event.defaultPrevented) return;
    event.preventDefault();
    receive(filesIn(event.dataTransfer));
  });
  addEventListener("paste", (event) => receive(filesIn(event.clipboardData)));
}

async function examples() {
  const { examples: names } = await told("/page/examples");
  at("strip").replaceChildren(...names.map((name) => {
    const address = `/page/examples/${name}.jpg`;
    const button = make("button", { title: name }, make("img", { src: address, alt: name, width: 96, height: 96 }));
    button.setAttribute("aria-pressed", "false");
    button.onclick = async () => {
      trouble(null);
      for (const one of at("strip").querySelectorAll("button")) one.setAttribute("aria-pressed", String(one === button));
      const file = await (await fetch(address)).blob();
      look.open({ file, name: `${name}.jpg`, url: URL.createObjectURL(file) });
    };
    return make("li", {}, button);
  }));
  at("strip-box").hidden = !names.length;
}

function describe(model) {
  const measured = (model.errors || [])[0], one = (model.errors || []).find((error) => error.views === 1) || measured;
  const facts = [
    ["Net", `${model.net}, ${model.layers.length - 1} layers`],
    ["Knows", `${model.classes.length.toLocaleString("en")} classes`],
    ["Sees", `${model.size} × ${model.size} pixels`],
    ["Errs", one && `${percent(one.top1_error)} at the first guess, ${percent(one.top5_error)} in five, on ${one.images.toLocaleString("en")} held-out pictures`],
    ["Runs on", model.engine],
    ["Index", model.index && `${model.index.pictures.toLocaleString("en")} pictures`],
  ];
  at("facts").replaceChildren(...facts.filter(([, said]) => said).flatMap(([name, said]) => [make("dt", { textContent: name }), make("dd", { textContent: said })]));
  at("foot").textContent = [model.note && model.note.replace(/\.?$/, "."), model.licence && `Licence of the data: ${model.licence}.`].filter(Boolean).join(" ");
}

async function begin() {
  listen();
  camera.start();
  teach.start();
  at("frame").classList.add("waiting");
  at("try-frame").classList.add("waiting");
  try {
    const model = await told("/v1/model");
    describe(model);
    look.start(model);
    await examples();
    Object.assign(at("kernels"), { src: await shown("/v1/kernels.png"), hidden: false });
  } catch (error) {
    if (at("strip").children.length) document.querySelector(".kernels").hidden = true;  // a first layer without kernels
    else trouble(error);
  }
  document.documentElement.dataset.ready = "yes";
}

begin();
