// The live page: asks for what is new, keeps it, and draws a chart a frame.
import { clock, conditionLines, generatorLines, latencyLines, rateLines, recolor, recoveryLines, short, show, timeChart } from "./charts.js";

const EVERY = 2000;
/** Milliseconds for an answer; a master that hangs gives none. */
const PATIENCE = 8000;
const CHAOS = {
  slow: { delays: [{ seconds: 0.5 }] },
  errors: { call_errors: [{ code: "InternalError", rate: 0.1 }] },
  withheld: { withheld_answers: [{ rate: 0.1 }] },
  refusals: { refusals: [{ status: 503, retry_after: 5, rate: 0.5 }] },
  pending: { boots: [{ status: "Pending", interval: 10, rate: 0.5 }] },
};
const COLUMNS = [
  ["generator", "Generator"], ["charge_points", "Charge points"], ["offline", "Offline"], ["connecting", "Connecting"], ["booting", "Booting"],
  ["online", "Online"], ["charging", "Charging"], ["faulted", "Faulted"], ["off", "Off"], ["connected_per_second", "Connects/s"], ["reconnected_per_second", "Reconnects/s"],
  ["refused_per_second", "Refusals/s"], ["outstanding", "Outstanding"], ["outbox", "Outbox"], ["commands", "Commands"],
  ["loop_lag_p99_ms", "Loop lag p99, ms"], ["cpu_percent", "CPU, %"], ["state", "State"],
];
const find = id => document.getElementById(id);
const state = { generation: -1, width: 1, series: new Map(), history: [], conditions: [], storms: [], test: {}, rows: [], sort: ["generator", 1] };
const charts = {
  fleet: timeChart(find("chart-fleet"), { isStacked: true }),
  latency: timeChart(find("chart-latency"), { unit: "ms" }),
  rate: timeChart(find("chart-rate"), { unit: "/s" }),
  storm: timeChart(find("chart-storm"), { percent: true, unit: "%", ticks: seconds => `${short(seconds)} s` }),
  generators: timeChart(find("chart-generators"), { unit: "ms", right: "%" }),
};

function put(id, text) {
  const node = find(id);
  if (node.textContent !== text) node.textContent = text;
}

/** Take what is new. */
function take(news) {
  if (news.generation !== state.generation) {
    state.series = new Map();
    state.history = [];
  }
  Object.assign(state, { generation: news.generation, width: news.width, storms: news.storms, recovery: news.recovery, events: news.events, test: news.test, chaos: news.chaos, conditions: news.fleet.conditions });
  for (const [key, rows] of Object.entries(news.series)) {
    const known = state.series.get(key) ?? [];
    const first = rows[0][0];
    while (known.length && known.at(-1)[0] >= first) known.pop();
    known.push(...rows);
    state.series.set(key, known);
  }
  state.history.push(...news.fleet.history);
  state.rows = news.fleet.rows;
  state.slos = news.slos;
}

/** Windows of the last seconds may still grow: reports of workers come every 3 s. */
function after() {
  const last = Math.max(...[...state.series.values()].map(rows => rows.at(-1)[0]), 0);
  return last - Math.max(10, 2 * state.width);
}

async function look() {
  try {
    const more = state.generation < 0 ? "" : `&after=${after()}&fleet_after=${state.history.at(-1)?.at ?? -1}`;
    const answer = await fetch(`live.json?generation=${state.generation}${more}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok || !answer.headers.get("Content-Type").includes("json")) throw new Error(answer.redirected ? "log in again" : `it answers ${answer.status}`);
    take(await answer.json());
    tell("");
    draw();
  } catch (error) {
    tell(`Locust does not answer, what is shown is old: ${error.name === "TimeoutError" ? `nothing for ${PATIENCE / 1000} s` : error.message}`);
  }
  setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
}

function tell(trouble) {
  const words = trouble || (state.test.invalid?.length ? `the run is invalid: ${state.test.invalid.join("; ")}` : "");
  find("notice").hidden = !words;
  put("notice", words);
}

function drawTest() {
  const { state: phase, at, host, verdict, charge_points: there } = state.test;
  put("test", `${phase}${verdict && verdict !== "none" ? `: ${verdict}` : ""}, ${clock(at)}, ${host}`);
  const total = state.rows.find(row => row.generator === "all") ?? state.rows[0] ?? {};
  put("figure-all", short(total.charge_points ?? there ?? 0));
  put("figure-online", short((total.online ?? 0) + (total.charging ?? 0) + (total.faulted ?? 0)));
  put("figure-lag", `${short(Math.max(0, ...state.rows.map(row => Number(row.loop_lag_p99_ms) || 0)))} ms`);
  let [rate, failures] = [0, 0];
  // The last windows are not complete yet.
  const from = Math.max(0, at - 8 - state.width), until = at - 4;
  for (const [key, rows] of state.series) {
    if (key.startsWith("DUE/") || ["WS/tcp", "WS/tls", "WS/upgrade"].includes(key)) continue;
    for (const row of rows) {
      failures += row[2];
      if (key.startsWith("OCPP/") && row[0] >= from && row[0] < until) rate += row[1];
    }
  }
  put("figure-rate", phase === "running" || phase === "spawning" ? short(rate / Math.max(1, until - from)) : "0");
  put("figure-failed", short(failures));
}

function drawSlos() {
  find("slos").hidden = !state.slos.length;
  const body = find("slos").querySelector("tbody");
  fill(body, state.slos.map(each => [each.slo, each.outcome, each.shown + (each.few_samples ? " (few)" : ""), each.worst, each.samples]), (cell, index, row) => {
    if (index === 1) cell.className = row[1].replace(" ", "-");
    if (index === 4) cell.className = "number";
  });
}

/** What can be done now: without a test there is nobody whom a storm could hit. */
function drawForms() {
  const isRunning = ["running", "spawning"].includes(state.test.state);
  for (const button of find("storm").querySelectorAll("button")) button.disabled = !isRunning;
  if (!isRunning) put("storm-said", "no test runs");
  else if (find("storm-said").textContent === "no test runs") put("storm-said", "");
  const kinds = Object.entries(state.chaos ?? {}).filter(([name, rules]) => name !== "seed" && rules?.length).map(([name]) => name.replace("_", " "));
  put("chaos-now", state.chaos ? `In force, until it is ended or replaced: ${kinds.join(", ") || "nothing"}` : "");
}

/** Write cells in place: what is selected or focused stays so. */
function fill(body, rows, style = () => {}) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, number) => {
    const line = body.rows[number] ?? body.insertRow();
    row.forEach((value, index) => {
      const cell = line.cells[index] ?? line.insertCell();
      const text = typeof value === "number" ? short(value) : String(value);
      if (cell.textContent !== text) cell.textContent = text;
      style(cell, index, row);
    });
  });
}

function drawTable() {
  const table = find("fleet");
  if (!table.tHead.rows.length) {
    const line = table.tHead.insertRow();
    for (const [key, title] of COLUMNS) {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      button.textContent = title;
      button.addEventListener("click", () => {
        state.sort = [key, state.sort[0] === key ? -state.sort[1] : key === "generator" ? 1 : -1];
        drawTable();
      });
      cell.scope = "col";
      cell.append(button);
      line.append(cell);
    }
  }
  const [by, direction] = state.sort;
  COLUMNS.forEach(([key], index) => table.tHead.rows[0].cells[index].setAttribute("aria-sort", key === by ? (direction > 0 ? "ascending" : "descending") : "none"));
  const sum = state.rows.filter(row => row.generator === "all");
  const rows = state.rows.filter(row => row.generator !== "all").sort((one, other) => {
    const [a, b] = [one[by], other[by]];
    return direction * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  });
  fill(table.tBodies[0], [...rows, ...sum].map(row => COLUMNS.map(([key]) => row[key] ?? "")), (cell, index) => {
    if (index > 0 && index < COLUMNS.length - 1) cell.className = "number";
  });
  [...table.tBodies[0].rows].forEach((line, index) => line.classList.toggle("sum", index >= rows.length));
}

/** The rows that have latencies, the most frequent first; what was chosen stays. */
function drawChoice() {
  const names = new Map();
  for (const [key, rows] of state.series) {
    if (!key.startsWith("OCPP/") && !key.startsWith("FLOW/") && key !== "WS/connect") continue;
    const name = key.startsWith("OCPP/") ? key.slice(5) : key;
    names.set(name, rows.reduce((sum, row) => sum + row[1], 0));
  }
  const select = find("row");
  const wanted = [...names.keys()].sort();
  if (wanted.join() === [...select.options].map(each => each.value).join()) return;
  const chosen = select.value || [...names].sort((a, b) => b[1] - a[1])[0]?.[0];
  select.replaceChildren(...wanted.map(name => new Option(name, name, false, name === chosen)));
}

const happened = () => [
  ...state.storms.map((storm, index) => ({ at: storm.began, label: `storm ${index + 1}` })),
  ...(state.events ?? []).map(event => ({ at: event.at, label: event.what })),
];

const tasks = [
  () => { drawTest(); drawSlos(); drawForms(); drawTable(); drawChoice(); },
  () => show(charts.fleet, conditionLines(state.conditions, state.history), happened(), state.test.at),
  () => show(charts.latency, latencyLines(state.series, find("row").value, state.width), happened(), state.test.at),
  () => show(charts.rate, rateLines(state.series, state.width, state.test.at - 4), happened(), state.test.at),
  () => {
    const storm = state.storms.at(-1);
    put("storm-title", storm ? `Recovery from ${storm.title}` : "Recovery of the last storm");
    find("recovery").hidden = !storm;
    put("recovery", state.recovery);
    show(charts.storm, recoveryLines(storm));
  },
  () => show(charts.generators, generatorLines(state.history), happened(), state.test.at),
];

/** One thing a frame: none of them takes the time of another. */
function draw() {
  if (document.hidden || state.generation < 0) return;
  const left = [...tasks];
  const next = () => {
    const began = performance.now();
    left.shift()();
    window.ampswarmLongest = Math.max(window.ampswarmLongest ?? 0, performance.now() - began);
    if (left.length) requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}

async function ask(method, where, body, said, done = "it is in force") {
  put(said, "…");
  try {
    const answer = await fetch(where, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    if (!answer.headers.get("Content-Type").includes("json")) throw new Error(answer.redirected ? "log in again" : `${answer.status}`);
    const words = await answer.json();
    put(said, answer.ok ? words.message ?? done : words.message ?? `it answers ${answer.status}`);
  } catch (error) {
    put(said, `Locust does not answer: ${error.message}`);
  }
}

function storm(kind) {
  const of = new FormData(find("storm"));
  const spec = `kind=${kind ?? of.get("kind")} share=${of.get("share")}%${kind ? "" : ` for=${of.get("for")}s over=${of.get("over")}s`}`;
  ask("POST", "storm", { storm: spec }, "storm-said");
}

find("storm").elements.kind.addEventListener("change", event => {
  // A blackhole that ends at once is none.
  const lasts = find("storm").elements.for;
  lasts.min = event.target.value === "blackhole" ? "0.1" : "0";
  if (Number(lasts.value) < Number(lasts.min)) lasts.value = "30";
});
find("storm").addEventListener("submit", event => { event.preventDefault(); storm(); });
find("cut").addEventListener("click", () => { if (find("storm").reportValidity()) storm("network"); });
find("chaos").addEventListener("submit", event => {
  event.preventDefault();
  ask("PUT", "chaos", CHAOS[new FormData(event.target).get("preset")], "chaos-said");
});
find("calm").addEventListener("click", () => ask("DELETE", "chaos", null, "chaos-said", "no chaos any more"));
find("row").addEventListener("change", draw);
document.addEventListener("visibilitychange", draw);
// Light or dark as Locust's own page is: what was chosen there, or else what the system has.
const LIGHTS = matchMedia("(prefers-color-scheme: dark)");
function shine() {
  const { theme } = localStorage;
  if (["light", "dark"].includes(theme)) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  Object.values(charts).forEach(recolor);
  draw();
}
find("theme").addEventListener("click", () => {
  const isDark = localStorage.theme === "dark" || (!("theme" in localStorage) && LIGHTS.matches);
  localStorage.theme = isDark ? "light" : "dark";
  shine();
});
addEventListener("storage", event => { if (event.key === "theme") shine(); });
LIGHTS.addEventListener("change", shine);
shine();
look();
