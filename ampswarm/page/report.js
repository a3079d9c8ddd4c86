// The report of a run, or of two side by side: the verdict first.

const { runs, differences } = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("report");
const VERDICTS = {
  passed: "Passed: every SLO held", missed: "Missed", invalid: "Invalid: the numbers cannot be trusted", none: "Not judged: there was no SLO",
};
const drawn = [];
const MOST_ACTIONS = 6;

/** An element with attributes and children; texts are texts, whatever is in them. */
function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter(each => each !== null && each !== undefined));
  return node;
}

const words = value => value === null || value === undefined ? "" : typeof value === "number" ? short(value) : typeof value === "object" ? JSON.stringify(value) : String(value);

/** A table; columns are [title, cell of a row, class of it]. */
function table(columns, rows) {
  const isNumber = columns.map(([, cell]) => rows.length > 0 && rows.every(row => typeof cell(row) === "number"));
  const head = make("tr", {}, ...columns.map(([title], index) => make("th", { scope: "col", class: isNumber[index] ? "number" : "" }, title)));
  const body = rows.map(row => make("tr", {}, ...columns.map(([, cell, style], index) => make("td", { class: `${isNumber[index] ? "number" : ""} ${style ? style(row) : ""}` }, words(cell(row))))));
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

const pairs = object => table([["", ([key]) => key], ["", ([, value]) => value]], Object.entries(object));
/** As it was given, to the last digit. */
const exact = object => pairs(Object.fromEntries(Object.entries(object).map(([key, value]) => [key, typeof value === "number" ? String(value) : value])));

/** The same of each run, beside each other. */
function section(title, ofRun) {
  const parts = runs.map(ofRun);
  if (!parts.some(Boolean)) return;
  root.append(make("h2", {}, title));
  root.append(runs.length === 1 ? parts[0] : make("div", { class: "runs" }, ...parts.map((part, index) => make("div", {}, make("p", { class: "dim" }, nameOf(runs[index], index)), part ?? make("p", { class: "dim" }, "nothing")))));
}

const nameOf = (run, index) => `${"AB"[index]}: ${run.name || run.run.began}`;

function verdictOf(run) {
  const { verdict, run: what } = run;
  const heading = verdict.found ? `${VERDICTS[verdict.status].split(":")[0]}: ${verdict.found.text}` : VERDICTS[verdict.status];
  const box = make("div", { class: `verdict ${verdict.status}` }, make("h1", {}, heading));
  const where = what.host ? ` against ${what.host}` : "";
  const processes = what.workers === 1 ? "one process" : `${what.workers} processes`;
  box.append(make("p", {}, `${what.charge_points} charge points of ${what.scenario}${where}, ${clock(what.seconds)} from ${what.began}, ${processes}`));
  if (what.statistics_since) box.append(make("p", {}, `The statistics were reset ${clock(what.statistics_since)} into it: nothing here is of before.`));
  for (const reason of verdict.invalid) box.append(make("p", {}, reason));
  return box;
}

function chart(title, options, lines, happened) {
  if (!lines.length) return options.top ? make("article", { class: "card" }, make("h3", {}, title), make("p", { class: "dim" }, "nothing in this run")) : null;
  const canvas = make("canvas", { role: "img", "aria-label": title });
  const card = make("article", { class: "card" }, make("h3", {}, title), make("div", { class: "chart" }, canvas));
  drawn.push(() => show(timeChart(canvas, options), lines, happened));
  return card;
}

/** What all charts of the report have in common, so that one can be laid beside the other. */
const until = Math.max(...runs.map(run => run.run.seconds));
for (const run of runs) run.lines = new Map(Object.entries(run.series));
/** The actions that most Calls are of, in any run. */
const counts = new Map();
for (const row of runs.flatMap(run => run.statistics)) if (row.type === "OCPP") counts.set(row.name, (counts.get(row.name) ?? 0) + row.count);
// The same colors in both, whatever either has.
for (const name of [...counts.keys()].sort()) hueOf(name);
const actions = [...counts].sort((a, b) => b[1] - a[1]).map(([name]) => name);

/** A chart for which each run has lines: as high as the highest of them. */
function compared(title, options, run, linesOf, happened) {
  if (runs.length === 1) return chart(title, { ...options, until }, linesOf(run), happened);
  const highest = lines => lines.flatMap(line => line.points).reduce((most, [, y]) => (y > most ? y : most), 0);
  const all = runs.flatMap(linesOf);
  const top = options.isStacked ? Math.max(...runs.flatMap(each => (each.fleet_history ?? []).map(row => row.charge_points))) : highest(all.filter(line => !line.isRight));
  return chart(title, { ...options, until, top: all.length ? top || 1 : 0, topRight: highest(all.filter(line => line.isRight)) }, linesOf(run), happened);
}

function chartsOf(run) {
  const happened = (run.storms ?? []).map((storm, index) => ({ at: storm.began, label: `storm ${index + 1}` }));
  for (const event of run.events ?? []) happened.push({ at: event.at, label: event.what });
  const conditions = ["offline", "connecting", "booting", "online", "charging", "faulted", "off"];
  const cards = [
    compared("The fleet by state", { isStacked: true }, run, each => conditionLines(conditions, each.fleet_history ?? []), happened),
    compared("Messages per second", { unit: "/s" }, run, each => rateLines(each.lines, each.width, each.run.seconds), happened),
    ...actions.slice(0, MOST_ACTIONS).map(name => compared(`Latency of ${name}`, { unit: "ms" }, run, each => latencyLines(each.lines, name, each.width), happened)),
    compared("Generators", { unit: "ms", right: "%" }, run, each => generatorLines(each.fleet_history ?? []), happened),
    ...(run.storms ?? []).map(storm => chart(`Recovery from ${storm.title}`, { percent: true, unit: "%", ticks: seconds => `${short(seconds)} s` }, storm.curve ? recoveryLines(storm) : [], [])),
  ];
  const part = make("div", {}, make("div", { class: "charts" }, ...cards.filter(Boolean)));
  if (actions.length > MOST_ACTIONS) part.append(make("p", { class: "dim" }, `Without charts: ${actions.slice(MOST_ACTIONS).join(", ")}`));
  return part;
}

const style = key => row => row[key].replace(" ", "-");

document.title = document.title || "Ampswarm";
const heads = runs.map(verdictOf);
root.append(runs.length === 1 ? heads[0] : make("div", { class: "runs" }, ...heads.map((head, index) => make("div", {}, make("p", { class: "dim" }, nameOf(runs[index], index)), head))));

if (differences) {
  root.append(make("h2", {}, "From A to B"));
  for (const line of differences.other_conditions) root.append(make("p", { class: "dim" }, line));
  const rows = differences.rows;
  root.append(rows.length ? table([
    ["row", row => row.row], ["", row => row.metric], ["A", row => row.before], ["B", row => row.after],
    ["change", row => row.relative === null ? "" : `${row.relative > 0 ? "+" : ""}${short(row.relative * 100)} %`], ["", row => row.change, style("change")],
  ], rows) : make("p", {}, "Nothing changed beyond noise."));
}

section("SLOs", run => run.verdict.slos.length ? table([
  ["SLO", each => each.slo], ["", each => each.outcome, style("outcome")], ["value", each => each.shown + (each.few_samples ? " (few)" : "")],
  ["worst", each => each.worst], ["samples", each => each.samples],
], run.verdict.slos) : null);

section("Over time", chartsOf);

section("Capacity", run => run.capacity ? table([
  ["load", each => each.load], ["why", each => each.purpose], ["achieved", each => each.achieved], ["Calls", each => each.calls], ["p50, ms", each => each.p50], ["p99, ms", each => each.p99],
  ["failed", each => `${short(100 * each.fail_ratio)} %`], ["", each => each.held ? "held" : "missed", each => each.held ? "held" : "missed"], ["", each => each.reason],
], run.capacity.trials) : null);

section("All rows, in milliseconds", run => table([
  ["type", row => row.type], ["name", row => row.name], ["count", row => row.count], ["failures", row => row.failures], ["mean", row => row.mean_ms],
  ["p50", row => row.percentiles_ms["50"]], ["p95", row => row.percentiles_ms["95"]], ["p99", row => row.percentiles_ms["99"]], ["p99.9", row => row.percentiles_ms["99.9"]], ["max", row => row.max_ms],
], run.statistics));

section("Failures", run => {
  const rows = run.statistics.flatMap(row => Object.entries(row.errors).map(([text, count]) => ({ row: `${row.type}/${row.name}`, text, count })));
  return rows.length ? table([["row", each => each.row], ["what", each => each.text], ["count", each => each.count]], rows.sort((a, b) => b.count - a.count)) : null;
});

section("Storms", run => run.storms?.length ? table([
  ["storm", each => each.title], ["began", each => clock(each.began)], ["hit", each => each.hit], ["back", each => each.back],
  ...["50", "90", "99", "100"].map(percent => [`${percent} % back`, each => each.seconds_until[percent] === null ? "never" : `${short(each.seconds_until[percent])} s`]),
  ["attempts, mean", each => each.attempts.mean], ["refused", each => Object.values(each.refused).reduce((sum, count) => sum + count, 0)],
], run.storms) : null);

section("What happened", run => run.events?.length ? table([["at", each => clock(each.at)], ["what", each => each.what], ["", ({ at, what, ...more }) => Object.keys(more).length ? more : ""]], run.events) : null);

section("The central system's ledger", run => {
  if (!run.ledger) return null;
  const { sums, anomalies, anomalies_in_all: inAll, trouble } = run.ledger;
  const told = Object.entries(sums).filter(([, count]) => count);
  const part = make("div", {}, told.length ? pairs(Object.fromEntries(told)) : make("p", {}, "nothing"));
  if (trouble) part.prepend(make("p", { class: "no-sample" }, trouble));
  if (anomalies.length) part.append(make("h3", {}, inAll > anomalies.length ? `The first ${anomalies.length} of ${inAll} anomalies in this run` : "Anomalies in this run"), table([["at", each => each.at], ["kind", each => each.kind], ["charge point", each => each.identity], ["", each => each.detail]], anomalies));
  return part;
});

section("Load generators", run => {
  const { generators, warnings = [] } = run.generators ?? {};
  if (!generators) return null;
  const rows = Object.entries(generators).map(([name, each]) => ({ name, ...each }));
  const part = make("div", {}, table([
    ["generator", each => each.name], ["", each => each.valid ? "valid" : "invalid", each => each.valid ? "held" : "missed"], ["charge points", each => each.worst.charge_points ?? 0],
    ["worst loop lag p99, ms", each => each.worst.loop_lag_p99_ms ?? 0], ["highest CPU, %", each => each.worst.cpu_percent ?? 0], ["memory, MB", each => Math.round((each.worst.resident_bytes ?? 0) / 1e6)],
    ["longest GC pause, ms", each => each.worst.gc_max_ms ?? 0],
  ], rows));
  for (const warning of warnings) part.append(make("p", { class: "dim" }, warning));
  return part;
});

section("How to repeat it", run => {
  const part = make("div", {});
  if (run.run.command) part.append(make("pre", {}, run.run.command));
  if (run.run.worker_command) part.append(make("p", {}, `and ${run.run.workers} workers:`), make("pre", {}, run.run.worker_command));
  part.append(make("p", { class: "dim" }, Object.entries(run.run.versions).map(([name, version]) => `${name} ${version}`).join(", ")));
  part.append(make("details", {}, make("summary", {}, "All options"), exact(run.run.options)));
  return part;
});

drawn.forEach(each => each());

// On paper, charts are as wide as a column there, and light; a canvas keeps what it was drawn as.
const PRINTED = [340, 180];
const closed = new Set();
function print(isPrinting) {
  if (isPrinting) for (const each of document.querySelectorAll("details:not([open])")) closed.add(each);
  for (const each of closed) each.open = isPrinting;
  if (!isPrinting) closed.clear();
  document.documentElement.classList.toggle("printed", isPrinting);
  for (const each of Object.values(Chart.instances)) {
    recolor(each);
    each.options.devicePixelRatio = isPrinting ? 3 : undefined;
    each.resize(...(isPrinting ? PRINTED : []));
    each.update("none");
  }
}
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
