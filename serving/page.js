"use strict";
// Shows what /status answers, every two seconds. Text is set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 420, HEIGHT = 130, LEFT = 44, BOTTOM = 20;
const COLOURS = ["var(--c1)", "var(--c2)", "var(--c3)"];

const byId = (id) => document.getElementById(id);

function number(value) {
  if (value === null || value === undefined) return "-";
  const digits = Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

// In UTC, as the logs, the request log and what is monitored have it.
function moment(seconds) {
  return `${new Date(1e3 * seconds).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function showFacts(id, facts) {
  byId(id).replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A gap where there was no request: a line through it would claim a latency.
function path(points, of, x, y) {
  let d = "", down = false;
  for (const point of points) {
    const value = point[of];
    if (value === null) { down = false; continue; }
    d += `${down ? "L" : "M"}${x(point.at).toFixed(1)},${y(value).toFixed(1)}`;
    // A single second is a dot, by a line of no length with round ends.
    if (!down) d += "l0,0";
    down = true;
  }
  return d;
}

function plot(id, points, names, title) {
  const values = points.flatMap((p) => names.map((n) => p[n])).filter((v) => v !== null);
  const highest = Math.max(...values, 0) || 1;
  const end = points.length ? points[points.length - 1].at : 0;
  const x = (at) => LEFT + (WIDTH - LEFT) * (1 - (end - at) / 600);
  const y = (value) => 8 + (HEIGHT - BOTTOM - 8) * (1 - value / highest);
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  for (const value of [0, highest / 2, highest]) {
    svg.append(
      drawn("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value), stroke: "var(--line)" }),
      drawn("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end", "font-size": 11, fill: "var(--soft)" }, number(value)),
    );
  }
  for (const minutes of [10, 5, 0]) {
    const anchor = minutes === 10 ? "start" : minutes ? "middle" : "end";
    const label = minutes ? `${minutes} min ago` : "now";
    svg.append(drawn("text", { x: x(end - 60 * minutes), y: HEIGHT - 4, "text-anchor": anchor, "font-size": 11, fill: "var(--soft)" }, label));
  }
  names.forEach((name, i) => svg.append(drawn("path", {
    d: path(points, name, x, y), fill: "none", stroke: COLOURS[i], "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round",
  })));
  byId(id).replaceChildren(svg);
}

function state(found) {
  if (!found.ready) return ["bad", "No version is loaded: requests are answered with 503."];
  const failed = found.versions.find((v) => v.state === "END");
  if (failed) return ["bad", `Version ${failed.version} can't be loaded; version ${found.version} answers instead.`];
  if (!found.storage) return ["warn", `The versions' directory can't be read; version ${found.version} goes on answering.`];
  if (found.log && found.log.dropped) return ["warn", `${number(found.log.dropped)} rows could not be logged; requests are answered.`];
  return ["good", `Version ${found.version} answers.`];
}

function shadow(found) {
  if (!found) return {};
  const counts = Object.entries(found.requests).map(([name, count]) => `${number(count)} ${name}`);
  const share = `${number(100 * found.share)} % of the requests until ${moment(found.until)}`;
  return { "shadow answers": `version ${found.version}, ${[share, ...counts].join(", ")}` };
}

function show(found) {
  const [tone, text] = state(found);
  byId("state").className = `note ${tone}`;
  if (byId("state").textContent !== text) byId("state").textContent = text;
  byId("model").textContent = found.model;
  const log = found.log ? `${number(found.log.written)} written, ${number(found.log.dropped)} dropped` : "off";
  showFacts("facts", {
    // Of a demo: its hours are not the viewer's.
    ...(found.simulated ? { "simulated time": found.simulated } : {}),
    "live version": found.version === null ? "none" : String(found.version),
    "live since": found.since ? moment(found.since) : "-",
    "loaded in": found.seconds === null ? "-" : `${number(found.seconds)} s`,
    "threshold": number(found.threshold),
    "requests waiting": String(found.waiting),
    "log rows": log,
    ...shadow(found.shadow),
  });
  const counts = found.whole.versions || {};
  byId("versions").replaceChildren(...found.versions.map((version) => {
    const row = document.createElement("tr");
    const name = element("th", version.version);
    name.scope = "row";
    const count = element("td", number(counts[version.version] || 0));
    count.className = "number";
    row.append(name, element("td", version.state), count, element("td", version.problem));
    return row;
  }));
  const statuses = Object.entries(found.whole.requests || {});
  showFacts("summary", {
    "answered per second": number(found.whole.ok_per_second),
    "failed or rejected per second": number(found.whole.failed_per_second),
    "half of them below": `${number(found.whole.p50_ms)} ms`,
    "95 % below": `${number(found.whole.p95_ms)} ms`,
    "99 % below": `${number(found.whole.p99_ms)} ms`,
    "since the start": statuses.map(([name, count]) => `${name} ${number(count)}`).join(", ") || "no request",
  });
  plot("rates", found.points, ["ok_per_second", "failed_per_second"], "Requests per second");
  showMonitored(found.monitored);
  plot("latency", found.points, ["p50_ms", "p95_ms", "p99_ms"], "Latency in milliseconds");
}

let monitored = 0;

// As high as what it shows, which it opens and closes: a page within the page would
// have to be scrolled within.
function fit() {
  const frame = byId("monitoring");
  const shown = frame.contentDocument && frame.contentDocument.documentElement;
  if (shown) frame.height = shown.scrollHeight;
}

function showMonitored(changed) {
  if (changed === monitored) return;
  monitored = changed;
  byId("unmonitored").hidden = Boolean(changed);
  byId("monitoring").hidden = !changed;
  if (changed) byId("monitoring").src = `/monitoring?${changed}`;
}

byId("monitoring").addEventListener("load", () => {
  fit();
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(byId("monitoring").contentDocument.body);
});

async function refresh() {
  try {
    const answer = await fetch("/status", { cache: "no-store" });
    show(await answer.json());
  } catch {
    byId("state").className = "note bad";
    byId("state").textContent = "The server doesn't answer; what is shown is the last that it said.";
  }
  setTimeout(refresh, 2000);
}

refresh();
