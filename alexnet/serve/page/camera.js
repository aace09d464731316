// The live camera, as the source's webcam demo had it: one picture after the other, its bars a running mean.
import { at, bars, capital, closeCamera, openCamera, short, still, trouble } from "./draw.js";
import { told } from "./ask.js";

const KEEP = 0.6;  // of the mean, a picture later
let running = false;

export function start() {
  at("camera-start").onclick = begin;
  at("camera-stop").onclick = stop;
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); });
}

async function begin() {
  trouble(null);
  try {
    await openCamera(at("video"));
  } catch (error) {
    return trouble(error);
  }
  running = true;
  show();
  loop();
}

export function stop() {
  if (!running) return;
  running = false;
  closeCamera(at("video"));
  at("camera-rate").textContent = "Live";
  show();
}

function show() {
  at("video").hidden = !running;
  at("camera-empty").hidden = running;
  at("camera-start").hidden = running;
  at("camera-stop").hidden = !running;
}

async function loop() {
  const mean = new Map();
  let failed = 0, rate = 0, last = performance.now();
  while (running) {
    try {
      const picture = await still(at("video"));
      const { top } = (await told("/v1/predict?top=20", { body: picture })).predictions[0];
      for (const [name, value] of mean) mean.set(name, value * KEEP);
      for (const one of top) mean.set(one.name, (mean.get(one.name) || 0) + (1 - KEEP) * one.probability);
      const now = performance.now();
      rate = 0.8 * rate + 0.2 * (1000 / (now - last));
      last = now;
      const five = [...mean].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([name, probability]) => ({ name, probability }));
      bars(at("camera-bars"), five);
      at("camera-verdict").textContent = capital(short(five[0].name));
      at("camera-rate").textContent = `Live, ${rate.toFixed(0)} pictures a second`;
      failed = 0;
      await new Promise(requestAnimationFrame);
    } catch (error) {
      if (++failed > 3) { trouble(error); stop(); }
      else await new Promise((go) => setTimeout(go, 300));
    }
  }
}
