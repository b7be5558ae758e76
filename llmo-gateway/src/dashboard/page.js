"use strict";
// Fetches the gateway's state once a second and shows it. Names and reasons come from upstreams, so text is only ever
// set as text, never as markup.

const PAUSE_MS = 1000;
const place = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");
let before = null;

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

const badge = (text, kind) => element("span", `badge ${kind}`, text);
const cell = (...children) => element("td", "", ...children);
const number = (...children) => element("td", "n", ...children);

function fill(id, rows, columns, empty) {
  const none = element("td", "empty", empty);
  none.colSpan = columns;
  place(id).replaceChildren(...(rows.length ? rows : [element("tr", "", none)]));
}

function figure(id, value, note) {
  place(`${id}-figure`).textContent = value;
  place(`${id}-note`).textContent = note;
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit += 1) n /= 1024;
  return `${n.toFixed(unit && n < 10 ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const [name, size] = units.find(([, size]) => seconds >= size) ?? units[3];
  return `${Math.floor(seconds / size)} ${name}`;
}

function percent(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(part && part !== whole ? 1 : 0)} %` : "–";
}

function showOverview(now) {
  const state = place("state");
  state.textContent = now.ready ? "ready" : "not ready";
  state.className = `badge ${now.ready ? "good" : "bad"}`;
  place("about").textContent = `version ${now.version} · up ${duration(now.uptime_seconds)} · policy ${now.policy}`;
  place("trouble").hidden = now.ready;
  place("reasons").replaceChildren(...now.reasons.map((reason) => element("li", "", reason)));

  const at = performance.now();
  const seconds = before ? (at - before.at) / 1000 : 0;
  const rate = before ? Math.max(0, now.requests.total - before.total) / seconds : null;
  before = { at, total: now.requests.total };
  figure("replicas", `${now.replicas.usable} / ${now.replicas.total}`, "can be used");
  figure("requests", count(now.requests.total), rate === null ? "" : `${rate.toFixed(rate > 0 && rate < 10 ? 1 : 0)} a second`);
  figure("errors", percent(now.requests.failed, now.requests.total), `${count(now.requests.failed)} failed`);
  figure("flight", count(now.requests.in_flight), `${count(now.requests.retries)} retries so far`);
  if (now.cache) {
    const { hits, misses, bypasses, entries, tier } = now.cache;
    const size = entries === null ? "does not answer" : `${count(entries)} entries, ${bytes(now.cache.bytes)}`;
    figure("cache", percent(hits, hits + misses + bypasses), `${count(hits)} hits · ${tier}: ${size}`);
  } else {
    figure("cache", "off", "");
  }

  fill("models", now.models.map((model) => element("tr", "",
    cell(model.id),
    cell([model.generate && "generate", model.embed && "embed"].filter(Boolean).join(", ")),
    cell(model.quantisation),
    number(model.context_length ? count(model.context_length) : "–"),
    number(model.replicas),
    number(model.slots ? `${model.slots_free} / ${model.slots}` : "–"),
    number(model.queued))), 7, "No model is known yet.");

  fill("events", now.events.slice(0, 20).map((event) => element("tr", "",
    cell(new Date(event.at_ms).toLocaleTimeString()),
    cell(event.replica),
    cell(badge(event.what, { up: "good", released: "good", down: "bad", ejected: "bad" }[event.what] ?? "")),
    cell(event.reason))), 4, "Nothing happened yet.");
}

function showReplicas(replicas) {
  fill("replicas", replicas.map((replica) => {
    const ejected = replica.ejected_seconds !== null;
    const kind = replica.usable ? "good" : replica.phase === "down" || ejected ? "bad" : "";
    const why = replica.reasons.map((reason) => element("small", "", reason));
    // What a replica reported before it went away says nothing of now.
    const slots = (model) => (replica.usable && model.slots ? ` (${model.slots_free} of ${model.slots} free)` : "");
    const latencies = replica.models.map((model) => model.latency_ms).filter((ms) => replica.usable && ms > 0);
    return element("tr", "",
      cell(replica.id),
      cell(badge(ejected ? `ejected, ${replica.ejected_seconds} s` : replica.phase, kind), ...why),
      cell(...replica.models.map((model) => element("small", "", model.id + slots(model)))),
      number(replica.in_flight),
      number(replica.occupied),
      number(latencies.length ? `${Math.min(...latencies)} ms` : "–"),
      number(count(replica.requests)),
      number(count(replica.failed)));
  }), 8, "No upstreams are configured.");
}

async function get(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh() {
  try {
    const [overview, replicas] = await Promise.all([get("api/overview"), get("api/replicas")]);
    showOverview(overview);
    showReplicas(replicas);
  } catch {
    const state = place("state");
    state.textContent = "no answer";
    state.className = "badge bad";
    before = null;
  }
  setTimeout(refresh, PAUSE_MS);
}

refresh();
