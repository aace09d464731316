// Asks the service, and says in one sentence why it does not answer. A key is kept in this page alone.
import { capital } from "./draw.js";

let key = "";

export async function ask(address, { body, type, again = true } = {}) {
  const headers = key ? { "X-API-Key": key } : {};
  if (body) headers["Content-Type"] = type || "application/octet-stream";
  let reply;
  try {
    reply = await fetch(address, { method: body ? "POST" : "GET", headers, body });
  } catch {
    throw new Error("The service does not answer: is it still running?");
  }
  if (reply.status === 401 && await newKey()) return ask(address, { body, type, again });
  if ((reply.status === 429 || reply.status === 503) && again) {
    await new Promise((go) => setTimeout(go, 1000 * (Number(reply.headers.get("Retry-After")) || 1)));
    return ask(address, { body, type, again: false });
  }
  if (!reply.ok) throw new Error(await reason(reply));
  return reply;
}

export const told = async (address, options) => (await ask(address, options)).json();
export const shown = async (address) => URL.createObjectURL(await (await ask(address)).blob());

async function reason(reply) {
  try {
    return capital((await reply.json()).detail);
  } catch {
    return `The service answers ${reply.status}.`;
  }
}

let asking = null;
function newKey() {
  asking = asking || new Promise((done) => {
    const dialog = document.getElementById("ask-key"), field = document.getElementById("key");
    field.value = "";
    dialog.addEventListener("close", () => {
      asking = null;
      key = dialog.returnValue === "ok" ? field.value : "";
      done(Boolean(key));
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
