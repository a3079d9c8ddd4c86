// Charts over the time of a test, on Chart.js: of the live page, and of the report.

const DASH = [5, 4];
/** Names of colors, as colors.css has them in light and in dark. */
const HUES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(number => `--hue-${number}`);
const CONDITION_HUES = {
  offline: "--hue-6", connecting: "--hue-8", booting: "--hue-1", online: "--hue-0", charging: "--hue-2", faulted: "--hue-5", off: "--hue-10",
};
const MOST_POINTS = 300;
/** Rows of areas: of 400, a frame took 30 ms, of 100 it takes 5 (python -m benchmarks.live_page). */
const MOST_ROWS = 100;
/** What each is called, its column in a row of a series, and its color. */
const PERCENTILES = [["p50", 3, HUES[0]], ["p95", 4, HUES[2]], ["p99", 5, HUES[5]]];
/** Rows of the labels of marks, which would lie one over another in one. */
const MARK_ROWS = 4;

/** Seconds as m:ss or h:mm:ss. */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const two = number => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A number with three significant digits. */
export function short(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

const colorsNow = new Map();

/** What a color is now: "#rrggbb". */
function color(name) {
  if (!colorsNow.has(name)) {
    // Only of a property that is no custom one does the browser tell which of light and dark it is.
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = `var(${name})`;
    const parts = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3);
    probe.remove();
    colorsNow.set(name, `#${parts.map(part => Number(part).toString(16).padStart(2, "0")).join("")}`);
  }
  return colorsNow.get(name);
}

/** Vertical lines where something happened: `chart.$marks`, a list of {at, label}. */
const marks = {
  id: "marks",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales: { x } } = chart;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = color("--bad");
    ctx.setLineDash([4, 3]);
    ctx.font = "11px Roboto, Helvetica, Arial, system-ui, sans-serif";
    /** How far each row of labels is taken. */
    const taken = Array(MARK_ROWS).fill(-Infinity);
    for (const { at, label } of [...chart.$marks ?? []].sort((one, other) => one.at - other.at)) {
      const place = x.getPixelForValue(at);
      if (place < area.left || place > area.right) continue;
      ctx.beginPath();
      ctx.moveTo(place, area.top);
      ctx.lineTo(place, area.bottom);
      ctx.stroke();
      const { width } = ctx.measureText(label);
      const left = place + 4 + width > area.right ? place - 4 - width : place + 4;
      const row = taken.findIndex(until => until < left);
      if (row < 0) continue;
      taken[row] = left + width + 6;
      // On areas, too, it can be read.
      ctx.save();
      ctx.setLineDash([]);
      ctx.lineWidth = 4;
      ctx.lineJoin = "round";
      ctx.strokeStyle = color("--card");
      ctx.strokeText(label, left, area.top + 11 + 13 * row);
      ctx.restore();
      ctx.fillText(label, left, area.top + 11 + 13 * row);
    }
    ctx.restore();
  },
};

/**
 * Return a chart over time.
 * @param canvas where.
 * @param options isStacked; unit of the values; unit of a second axis, `right`; `percent` for 0 to 100;
 *   `ticks` of the time axis; how far it goes, `until`; and the highest value of any chart beside it, `top`, and on the second axis, `topRight`.
 */
export function timeChart(canvas, { isStacked = false, unit = "", right = "", percent = false, ticks = clock, until, top, topRight } = {}) {
  const grid = { color: color("--line") };
  const y = { beginAtZero: true, stacked: isStacked, grid, ticks: { color: color("--dim"), maxTicksLimit: 6, callback: value => `${short(value)}${unit && ` ${unit}`}` } };
  if (percent) y.max = 100;
  if (top) y.suggestedMax = top;
  const x = { type: "linear", grid, ticks: { color: color("--dim"), maxTicksLimit: 8, callback: ticks } };
  if (ticks === clock) x.ticks.precision = 0;
  if (until) Object.assign(x, { min: 0, max: until });
  const scales = { x, y };
  if (right) scales.right = { position: "right", beginAtZero: true, suggestedMax: topRight, grid: { display: false }, ticks: { color: color("--dim"), maxTicksLimit: 6, callback: value => `${short(value)} ${right}` } };
  const chart = new Chart(canvas, {
    type: "line",
    data: { datasets: [] },
    plugins: [marks],
    options: {
      animation: false, parsing: false, normalized: true, responsive: true, maintainAspectRatio: false, spanGaps: false,
      interaction: { mode: "index", axis: "x", intersect: false },
      elements: { point: { radius: 0, hitRadius: 6 }, line: { borderWidth: 2, tension: 0 } },
      scales,
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { title: items => items.length ? ticks(items[0].parsed.x) : "", label: item => `${item.dataset.label}: ${short(item.parsed.y)} ${item.dataset.yAxisID === "right" ? right : unit}` } },
      },
    },
  });
  chart.$legend = canvas.parentElement.parentElement.insertBefore(document.createElement("ul"), canvas.parentElement.nextSibling);
  chart.$legend.className = "legend";
  if (canvas.id) chart.$legend.id = `${canvas.id}-legend`;
  addKeys(chart);
  return chart;
}

/** Let a chart be read with the keyboard: the arrows go from time to time, and what is seen there is said, too. */
function addKeys(chart) {
  const { canvas } = chart;
  const said = canvas.parentElement.appendChild(document.createElement("p"));
  said.className = "unseen";
  said.setAttribute("role", "status");
  canvas.tabIndex = 0;
  canvas.setAttribute("aria-description", "Arrow keys, Home and End read it");
  const times = () => [...new Set(chart.data.datasets.filter(set => !set.hidden).flatMap(set => set.data.map(point => point.x)))].sort((a, b) => a - b);
  const tell = () => {
    const found = chart.data.datasets.flatMap((set, datasetIndex) => {
      const index = set.hidden ? -1 : set.data.findIndex(point => point.x === chart.$read && !Number.isNaN(point.y));
      return index < 0 ? [] : [{ datasetIndex, index }];
    });
    const { top, bottom } = chart.chartArea;
    chart.tooltip.setActiveElements(found, { x: chart.scales.x.getPixelForValue(chart.$read), y: (top + bottom) / 2 });
    chart.draw();
    const { title = [], body = [] } = found.length ? chart.tooltip : {};
    said.textContent = [...title, ...body.flatMap(each => each.lines)].join(", ");
  };
  canvas.addEventListener("keydown", event => {
    const all = times();
    const at = all.indexOf(chart.$read);
    const next = { ArrowLeft: at < 0 ? all.length - 1 : at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined || !all.length) return;
    event.preventDefault();
    chart.$read = all[Math.min(Math.max(next, 0), all.length - 1)];
    tell();
  });
  canvas.addEventListener("blur", () => {
    if (chart.$read === undefined) return;
    chart.$read = undefined;
    said.textContent = "";
    chart.tooltip.setActiveElements([], { x: 0, y: 0 });
    chart.draw();
  });
}

/** A button for each line, which hides it and shows it again; those that are there stay as they are. */
function drawLegend(chart) {
  const list = chart.$legend;
  const sets = chart.data.datasets;
  while (list.children.length > sets.length) list.lastChild.remove();
  sets.forEach((set, index) => {
    const item = list.children[index] ?? list.appendChild(document.createElement("li"));
    const button = item.firstChild ?? item.appendChild(document.createElement("button"));
    if (!button.firstChild) {
      button.type = "button";
      button.append(document.createElement("i"), document.createElement("span"));
      button.addEventListener("click", () => {
        const each = chart.data.datasets[index];
        each.hidden = !each.hidden;
        drawLegend(chart);
        chart.update("none");
      });
    }
    const [line, words] = button.children;
    button.setAttribute("aria-pressed", String(!set.hidden));
    line.className = set.fill ? "filled" : set.borderDash.length ? "dashed" : "";
    line.style.borderColor = set.borderColor;
    line.style.background = set.fill ? set.backgroundColor : "none";
    if (words.textContent !== set.label) words.textContent = set.label;
  });
}

/** Give a chart the colors that the page has now. */
export function recolor(chart) {
  colorsNow.clear();
  for (const scale of Object.values(chart.options.scales)) {
    scale.ticks.color = color("--dim");
    if (scale.grid.display !== false) scale.grid.color = color("--line");
  }
  for (const set of chart.data.datasets) paint(set);
  drawLegend(chart);
}

function paint(set) {
  set.borderColor = color(set.hue);
  set.backgroundColor = set.fill ? `${set.borderColor}b3` : set.borderColor;
}

/**
 * Show lines; what is hidden in the legend stays hidden.
 * @param chart of `timeChart`.
 * @param lines each {label, points: [[x, y], …], hue, isDue, isRight, isFilled}.
 * @param happened the marks.
 * @param until how far the time goes at least.
 */
export function show(chart, lines, happened = [], until = undefined) {
  chart.options.scales.x.suggestedMax = until;
  const before = new Map(chart.data.datasets.map(each => [each.label, each]));
  chart.data.datasets = lines.map((line, index) => {
    const set = before.get(line.label) ?? { label: line.label };
    set.data = thin(line.points).map(([x, y]) => ({ x, y }));
    set.hue = line.hue ?? HUES[index % HUES.length];
    set.fill = line.isFilled ? "stack" : false;
    paint(set);
    set.stepped = line.isStepped ? "before" : false;
    // What stands alone between gaps would not be seen as a line.
    set.pointRadius = line.hasGaps && set.data.length < 60 ? 1.5 : 0;
    set.borderDash = line.isDue ? DASH : [];
    set.borderWidth = line.isFilled ? 0.5 : 2;
    set.yAxisID = line.isRight ? "right" : "y";
    return set;
  });
  chart.$marks = happened;
  drawLegend(chart);
  chart.update("none");
}

/** More points than pixels show nothing more: of each group, the lowest and the highest stay, so that neither an outage nor a peak is lost. */
function thin(points) {
  if (points.length <= MOST_POINTS) return points;
  const step = 2 * Math.ceil(points.length / MOST_POINTS);
  const thinned = [];
  for (let index = 0; index < points.length; index += step) {
    const group = points.slice(index, index + step);
    const numbers = group.filter(([, y]) => !Number.isNaN(y));
    if (!numbers.length) {
      thinned.push(group[0]);
      continue;
    }
    const lowest = numbers.reduce((one, other) => (other[1] < one[1] ? other : one));
    const highest = numbers.reduce((one, other) => (other[1] > one[1] ? other : one));
    const kept = new Set([lowest, highest]);
    // A gap stays one.
    const gap = group.find(([, y]) => Number.isNaN(y));
    if (gap) kept.add(gap);
    thinned.push(...group.filter(point => kept.has(point)));
  }
  return thinned;
}

/** Break a line where nothing was seen for long: of its usual distance three times, and five windows. */
function broken(points, width) {
  if (points.length < 3) return points;
  const steps = points.slice(1).map((point, index) => point[0] - points[index][0]).sort((a, b) => a - b);
  const longest = Math.max(5 * width, 3 * steps[(steps.length - 1) >> 1]);
  return points.flatMap((point, index) => index && point[0] - points[index - 1][0] > longest ? [[points[index - 1][0] + width, NaN], point] : [point]);
}

/** Lines of p50 and p99 of an action: wire time, and time since due. `series` is by type/name: [begin, count, failures, p50, p95, p99]. */
export function latencyLines(series, name, width) {
  const lines = [];
  const of = (key, column) => broken((series.get(key) ?? []).filter(row => row[1] > 0).map(row => [row[0], row[column]]), width);
  for (const [kind, words, isDue] of [["OCPP", "wire", false], ["DUE", "due", true]]) {
    for (const [percent, column, hue] of PERCENTILES) {
      const points = of(`${kind}/${name}`, column);
      if (points.length) lines.push({ label: `${words} ${percent}`, points, hue, isDue, hasGaps: true });
    }
  }
  if (!lines.length && series.has(name)) {
    for (const [percent, column, hue] of PERCENTILES) lines.push({ label: percent, points: of(name, column), hue, hasGaps: true });
  }
  return lines;
}

const hueByName = new Map();

/** The color of an action: the same one in all charts of a page. */
export function hueOf(name) {
  if (!hueByName.has(name)) hueByName.set(name, HUES[hueByName.size % HUES.length]);
  return hueByName.get(name);
}

/** Answered Calls per second by action, and all failures. */
export function rateLines(series, width, until) {
  const lines = [];
  const failures = new Map();
  // After a reset of the statistics nobody knows what was before.
  const since = Math.min(until, ...[...series.values()].filter(rows => rows.length).map(rows => rows[0][0]));
  for (const [key, rows] of series) {
    const [kind, name] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)];
    if (kind === "DUE" || ["WS/tcp", "WS/tls", "WS/upgrade"].includes(key)) continue;
    for (const row of rows) if (row[2]) failures.set(row[0], (failures.get(row[0]) ?? 0) + row[2]);
    if (kind === "OCPP") lines.push({ label: name, points: filled(rows.map(row => [row[0], row[1] / width]), width, since, until), hue: hueOf(name) });
  }
  if (failures.size) lines.push({ label: "failures", points: filled([...failures].sort((a, b) => a[0] - b[0]).map(([at, count]) => [at, count / width]), width, since, until), hue: "--bad", isDue: true });
  return lines;
}

/** Windows without a sample are nothing, and not a gap. */
function filled(points, width, since, until) {
  const all = [];
  let place = 0;
  for (let at = since; at < until; at += width) {
    while (place < points.length && points[place][0] < at) place++;
    all.push(place < points.length && points[place][0] === at ? points[place] : [at, 0]);
  }
  return all;
}

/** Fewer rows of a fleet's history: of each group the one with the fewest charge points at work, so that no outage is lost. */
function thinRows(history) {
  if (history.length <= MOST_ROWS) return history;
  const away = row => row.offline + row.connecting + row.booting + row.off;
  const step = Math.ceil(history.length / MOST_ROWS);
  const thinned = [];
  for (let index = 0; index < history.length; index += step) {
    thinned.push(history.slice(index, index + step).reduce((most, row) => (away(row) > away(most) ? row : most)));
  }
  return thinned;
}

/** The conditions of a fleet as areas; `history` are rows of the fleet's history. */
export function conditionLines(conditions, history) {
  const rows = thinRows(history);
  return conditions
    .filter(name => history.some(row => row[name] > 0))
    .map(name => ({ label: name, points: rows.map(row => [row.at, row[name]]), hue: CONDITION_HUES[name], isFilled: true }));
}

/** How late the loops of the generators were, and what CPU they used; nothing where it is not told. */
export function generatorLines(history) {
  if (!history.some(row => "loop_lag_p99_ms" in row)) return [];
  return [
    { label: "highest loop lag p99, ms", points: history.map(row => [row.at, row.loop_lag_p99_ms ?? 0]) },
    { label: "highest CPU, % of a core", points: history.map(row => [row.at, row.cpu_percent ?? 0]), isRight: true },
  ];
}

/** How many of those that a storm has hit are back, in percent. */
export function recoveryLines(storm) {
  if (!storm || !storm.hit) return [];
  return [{ label: "back, %", points: [[0, 0], ...storm.curve.map(([at, back]) => [at, 100 * back / storm.hit])], hue: HUES[2], isStepped: true }];
}
