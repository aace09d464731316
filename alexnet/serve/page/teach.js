// Classes of one's own: the features of a handful of pictures each, kept here; a new picture goes to the nearest mean of them.
import { at, bars, closeCamera, filesIn, make, openCamera, still, trouble } from "./draw.js";
import { told } from "./ask.js";

const MOST = 3, SHARP = 12;  // how much nearer means how much likelier, on the scale of cosines
const lessons = [];
let camera = false, live = false;

export function start() {
  addLesson("First thing");
  addLesson("Second thing");
  at("lesson-more").onclick = () => addLesson("Third thing");
  at("lesson-camera").onclick = toggleCamera;
  at("try-file").onchange = (event) => { attempt(event.target.files[0]); event.target.value = ""; };
  at("try-camera").onclick = () => { live = !live; at("try-camera").textContent = live ? "Stop trying" : "Try the camera"; if (live) watch(); };
}

export function stop() {
  live = false;
  at("try-camera").textContent = "Try the camera";
  if (camera) toggleCamera();
}

// A picture that is dropped or pasted anywhere: to the trial once there is something to try
export function take(files) {
  if (ready()) return attempt(files[0]);
  return learn(lessons.find((one) => one.rows.length < 2) || lessons[0], files);
}

function addLesson(name) {
  const item = at("lesson").content.firstElementChild.cloneNode(true);
  const lesson = { item, rows: [], get name() { return item.querySelector(".name").value.trim() || name; } };
  item.querySelector(".name").value = name;
  item.querySelector("input[type=file]").onchange = (event) => { learn(lesson, [...event.target.files]); event.target.value = ""; };
  item.querySelector(".snap").onclick = async () => learn(lesson, [await still(at("lesson-video"))]);
  item.querySelector(".snap").hidden = !camera;
  item.ondragover = () => item.classList.add("over");
  item.ondragleave = () => item.classList.remove("over");
  item.ondrop = (event) => { event.preventDefault(); item.classList.remove("over"); learn(lesson, filesIn(event.dataTransfer)); };
  lessons.push(lesson);
  at("lessons").append(item);
  at("lesson-more").hidden = lessons.length >= MOST;
  count(lesson);
}

async function learn(lesson, files) {
  trouble(null);
  for (const file of files) {
    try {
      const row = await features(file);
      lesson.rows.push(row);
      const url = URL.createObjectURL(file);
      const image = make("img", { src: url, alt: file.name || "a picture of the camera" });
      image.onload = image.onerror = () => URL.revokeObjectURL(url);
      lesson.item.querySelector(".thumbs").append(make("li", {}, image));
    } catch (error) {
      trouble(new Error(`${file.name || "The picture"}: ${error.message}`));
    }
    count(lesson);
  }
  summary();
}

function count(lesson) {
  const shown = lesson.rows.length;
  lesson.item.querySelector(".count").textContent = shown ? `${shown} picture${shown > 1 ? "s" : ""}` : "Drop a few pictures here.";
}

// -> the features at length one, so that their products are cosines
async function features(file) {
  const row = (await told("/v1/features", { body: file })).features[0].features;
  const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)) || 1;
  return row.map((value) => value / length);
}

const ready = () => lessons.filter((one) => one.rows.length).length >= 2;
const mean = (rows) => rows[0].map((_, place) => rows.reduce((sum, row) => sum + row[place], 0) / rows.length);
const cosine = (row, centre) => {
  const length = Math.sqrt(centre.reduce((sum, value) => sum + value * value, 0)) || 1;
  return row.reduce((sum, value, place) => sum + value * centre[place], 0) / length;
};

function judged(row, without = null) {
  const asked = lessons.map((one) => ({ name: one.name, rows: one.rows.filter((other) => other !== without) })).filter((one) => one.rows.length);
  const near = asked.map((one) => ({ name: one.name, cosine: cosine(row, mean(one.rows)) }));
  const whole = near.reduce((sum, one) => sum + Math.exp(SHARP * one.cosine), 0);
  return near.map((one) => ({ name: one.name, probability: Math.exp(SHARP * one.cosine) / whole })).sort((a, b) => b.probability - a.probability);
}

// How it does on its own pictures, each left out in turn
function summary() {
  at("try").hidden = !ready();
  at("try-camera").hidden = !camera;
  if (!lessons.every((one) => one.rows.length !== 1) || !ready()) {
    at("lesson-said").textContent = ready() ? "Two or more of each, and it says how sure that is." : "";
    return;
  }
  let right = 0, all = 0;
  for (const one of lessons) for (const row of one.rows) { right += judged(row, row)[0].name === one.name; all += 1; }
  at("lesson-said").textContent = `Left out in turn, ${right} of ${all} of these pictures go to their own class.`;
  at("said").textContent = at("lesson-said").textContent;
}

async function attempt(file) {
  if (!file || !ready()) return;
  trouble(null);
  try {
    show(judged(await features(file)));
    const url = URL.createObjectURL(file);
    Object.assign(at("try-photo"), { src: url, alt: file.name || "the camera", hidden: false, onload: () => URL.revokeObjectURL(url) });
    at("try-empty").hidden = true;
    at("try-frame").classList.remove("waiting");
  } catch (error) {
    trouble(error);
  }
}

function show(rows) {
  bars(at("try-bars"), rows);
  at("try-verdict").textContent = rows[0].name;
  at("said").textContent = `Closest to ${rows[0].name}.`;
}

async function toggleCamera() {
  trouble(null);
  try {
    if (camera) closeCamera(at("lesson-video")); else await openCamera(at("lesson-video"));
    camera = !camera;
  } catch (error) {
    return trouble(error);
  }
  at("lesson-box").hidden = !camera;
  at("lesson-camera").textContent = camera ? "Stop the camera" : "Use the camera";
  for (const one of lessons) one.item.querySelector(".snap").hidden = !camera;
  summary();
}

async function watch() {
  while (live && camera) {
    await attempt(await still(at("lesson-video")));
    await new Promise((go) => setTimeout(go, 80));
  }
}
