// Bars, thumbnails and small words: what the parts of the page have in common.
export const at = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

export const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const short = (name) => name.split(",")[0];

// rows: [{name, probability}, ...]; onPick(place) makes each a button
export function bars(list, rows, { onPick, picked } = {}) {
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((row, place) => {
    let item = list.children[place];
    if (!item) {
      const inside = [make("span", { className: "name" }), make("span", { className: "share" }),
                      make("span", { className: "track" }, make("span", { className: "fill" }))];
      item = make("li", {}, make(onPick ? "button" : "div", { className: "bar" }, ...inside));
      list.append(item);
    }
    const bar = item.firstChild;
    bar.querySelector(".name").textContent = row.name;
    bar.querySelector(".name").title = row.name;
    bar.querySelector(".share").textContent = percent(row.probability);
    const fill = bar.querySelector(".fill");
    fill.getBoundingClientRect();  // so that a new bar grows from nothing
    fill.style.width = `${Math.max(0.6, 100 * row.probability)}%`;
    if (onPick) {
      bar.onclick = () => onPick(place);
      bar.setAttribute("aria-pressed", String(place === picked));
      bar.title = `Where it looked for ${short(row.name)}`;
    }
  });
}

export function trouble(error) {
  const box = at("trouble");
  box.hidden = !error;
  box.textContent = error ? error.message || String(error) : "";
  if (error) box.scrollIntoView({ block: "nearest" });
}

// Files in what was dropped or pasted: pictures, or of unknown kind, never folders or text.
export const filesIn = (transfer) => [...(transfer?.files || [])].filter((file) => !/^(text|video|audio)\//.test(file.type));

// The middle square of a video's picture, as a small JPEG
export function still(video, side = 256) {
  const canvas = make("canvas", { width: side, height: side });
  const size = Math.min(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, (video.videoWidth - size) / 2, (video.videoHeight - size) / 2, size, size, 0, 0, side, side);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

export async function openCamera(video) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("This page gets no camera: browsers give one to https and localhost only.");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } }, audio: false });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "The camera was not allowed: allow it for this page and try again."
                                                     : "There is no camera that this page can use.");
  }
  const [track] = video.srcObject.getVideoTracks();
  video.classList.toggle("mirror", track.getSettings().facingMode !== "environment");  // one's own face, as in a mirror
  await video.play();
}

export function closeCamera(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
}
