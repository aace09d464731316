// The OpenAPI document as a page: each address with what it takes, a line to copy, and what it answers.
import { at, make, trouble } from "./draw.js";
import { told } from "./ask.js";

const pretty = (value) => JSON.stringify(value, null, 2);

function line(method, path, route) {
  const address = location.origin + path;
  if (method === "get") return `curl ${address}`;
  const kinds = Object.keys(route.requestBody?.content || {});
  if (kinds.some((kind) => kind !== "application/json"))
    return `curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' ${address}\ncurl -F f=@cat.jpg -F f=@dog.jpg ${address}`;
  return `curl -H 'Content-Type: application/json' -d '${JSON.stringify(route.requestBody?.content["application/json"]?.example)}' ${address}`;
}

function entry(method, path, route) {
  const told = [make("h2", {}, make("span", { className: "method", textContent: method.toUpperCase() }), path),
                make("p", { textContent: (route.description || route.summary).replace(/\s+/g, " ") })];
  for (const one of route.parameters || []) {
    const fall = one.schema?.default === undefined ? "" : ` (${one.schema.default} unless given)`;
    if (one.in === "query") told.push(make("p", { className: "hint", textContent: `?${one.name}=  ${one.description || (one.schema.enum || []).join(" or ")}${fall}` }));
  }
  told.push(make("pre", { textContent: line(method, path, route) }));
  const example = route.responses?.[200]?.content?.["application/json"]?.example;
  if (example) told.push(make("details", {}, make("summary", { textContent: "An answer" }), make("pre", { textContent: pretty(example) })));
  const wrong = Object.entries(route.responses || {}).filter(([status]) => status >= "400");
  if (wrong.length) told.push(make("details", {}, make("summary", { textContent: "What may go wrong" }),
    make("pre", { textContent: wrong.map(([status, why]) => `${status}  ${why.description}`).join("\n") })));
  return make("article", { className: "route" }, ...told);
}

try {
  const whole = await told("/openapi.json");
  at("about").textContent = whole.info.description;
  for (const tag of whole.tags) {
    const routes = Object.entries(whole.paths).flatMap(([path, methods]) => Object.entries(methods)
      .filter(([, route]) => (route.tags || []).includes(tag.name)).map(([method, route]) => entry(method, path, route)));
    at("routes").append(make("h3", { textContent: tag.description }), ...routes);
  }
} catch (error) {
  trouble(error);
}
document.documentElement.dataset.ready = "yes";
