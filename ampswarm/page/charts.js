// Charts over the time of a test, on Chart.js: of the live page, and of the report.

const DASH = { due: [5, 4] };
/** So that neighbours differ, also for eyes that see red and green alike. */
export const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#b8a500", "#7a5fb0", "#444444"];
export const CONDITION_COLORS = {
  offline: "#999999", connecting: "#56b4e9", booting: "#e69f00", online: "#0072b2",
  charging: "#009e73", faulted: "#d55e00", off: "#8c6239",
};
const MOST_POINTS = 300;
/** Rows of areas: of 400, a frame took 30 ms, of 100 it takes 5 (python -m benchmarks.live_page). */
const MOST_ROWS = 100;
/** What each is called, its column in a row of a series, and its color. */
const PERCENTILES = [["p50", 3, PALETTE[0]], ["p95", 4, PALETTE[2]], ["p99", 5, PALETTE[5]]];

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

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Vertical lines where something happened: `chart.$marks`, a list of {at, label}. */
const marks = {
  id: "marks",
  afterDatasetsDraw(chart) {
    const { ctx, chartArea: area, scales: { x } } = chart;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = color("--bad");
    ctx.setLineDash([4, 3]);
    ctx.font = "11px system-ui, sans-serif";
    for (const { at, label } of chart.$marks ?? []) {
      const place = x.getPixelForValue(at);
      if (place < area.left || place > area.right) continue;
      ctx.beginPath();
      ctx.moveTo(place, area.top);
      ctx.lineTo(place, area.bottom);
      ctx.stroke();
      const isLate = place > (area.left + area.right) / 2;
      ctx.textAlign = isLate ? "right" : "left";
      ctx.fillText(label, place + (isLate ? -4 : 4), area.top + 11);
    }
    ctx.restore();
  },
};

/**
 * Return a chart over time.
 * @param canvas where.
 * @param options isStacked; unit of the values; unit of a second axis, `right`; `percent` for 0 to 100;
 *   `ticks` of the time axis; how far it goes, `until`; and the highest value of any chart beside it, `top`.
 */
export function timeChart(canvas, { isStacked = false, unit = "", right = "", percent = false, ticks = clock, until, top } = {}) {
  const grid = { color: color("--line") };
  const y = { beginAtZero: true, stacked: isStacked, grid, ticks: { color: color("--dim"), maxTicksLimit: 6, callback: value => `${short(value)}${unit && ` ${unit}`}` } };
  if (percent) y.max = 100;
  if (top) y.suggestedMax = top;
  const x = { type: "linear", grid, ticks: { color: color("--dim"), maxTicksLimit: 8, callback: ticks } };
  if (ticks === clock) x.ticks.precision = 0;
  if (until) Object.assign(x, { min: 0, max: until });
  const scales = { x, y };
  if (right) scales.right = { position: "right", beginAtZero: true, grid: { display: false }, ticks: { color: color("--dim"), maxTicksLimit: 6, callback: value => `${short(value)} ${right}` } };
  return new Chart(canvas, {
    type: "line",
    data: { datasets: [] },
    plugins: [marks],
    options: {
      animation: false, parsing: false, normalized: true, responsive: true, maintainAspectRatio: false, spanGaps: false,
      interaction: { mode: "index", axis: "x", intersect: false },
      elements: { point: { radius: 0, hitRadius: 6 }, line: { borderWidth: 1.5, tension: 0 } },
      scales,
      plugins: {
        legend: { position: "bottom", labels: { color: color("--text"), boxWidth: 10, boxHeight: 10, usePointStyle: false } },
        tooltip: { callbacks: { title: items => items.length ? ticks(items[0].parsed.x) : "", label: item => `${item.dataset.label}: ${short(item.parsed.y)} ${item.dataset.yAxisID === "right" ? right : unit}` } },
      },
    },
  });
}

/** Give a chart the colors that the page has now. */
export function recolor(chart) {
  const { scales, plugins } = chart.options;
  for (const scale of Object.values(scales)) {
    scale.ticks.color = color("--dim");
    if (scale.grid.display !== false) scale.grid.color = color("--line");
  }
  plugins.legend.labels.color = color("--text");
}

/**
 * Show lines; what is hidden by a click on the legend stays hidden.
 * @param chart of `timeChart`.
 * @param lines each {label, points: [[x, y], …], color, isDue, isRight, isFilled}.
 * @param happened the marks.
 */
export function show(chart, lines, happened = []) {
  const known = new Map(chart.data.datasets.map(each => [each.label, each]));
  chart.data.datasets = lines.map((line, index) => {
    const stroke = line.color ?? PALETTE[index % PALETTE.length];
    const set = known.get(line.label) ?? { label: line.label };
    set.data = thin(line.points).map(([x, y]) => ({ x, y }));
    set.borderColor = stroke;
    set.backgroundColor = line.isFilled ? `${stroke}b3` : stroke;
    set.fill = line.isFilled ? "stack" : false;
    set.stepped = line.isStepped ? "before" : false;
    // What stands alone between gaps would not be seen as a line.
    set.pointRadius = line.hasGaps && set.data.length < 60 ? 1.5 : 0;
    set.borderDash = line.isDue ? DASH.due : [];
    set.borderWidth = line.isFilled ? 0.5 : 1.5;
    set.yAxisID = line.isRight ? "right" : "y";
    return set;
  });
  chart.$marks = happened;
  chart.update("none");
}

/** More points than pixels show nothing more: of each group that is one pixel, the highest stays. */
function thin(points) {
  if (points.length <= MOST_POINTS) return points;
  const step = Math.ceil(points.length / MOST_POINTS);
  const thinned = [];
  for (let index = 0; index < points.length; index += step) {
    let highest = points[index];
    for (let next = index + 1; next < Math.min(index + step, points.length); next++) if (points[next][1] > highest[1] || Number.isNaN(highest[1])) highest = points[next];
    thinned.push([points[index][0], highest[1]]);
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
      if (points.length) lines.push({ label: `${words} ${percent}`, points, color: hue, isDue, hasGaps: true });
    }
  }
  if (!lines.length && series.has(name)) {
    for (const [percent, column, hue] of PERCENTILES) lines.push({ label: percent, points: of(name, column), color: hue, hasGaps: true });
  }
  return lines;
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
    if (kind === "OCPP") lines.push({ label: name, points: filled(rows.map(row => [row[0], row[1] / width]), width, since, until) });
  }
  if (failures.size) lines.push({ label: "failures", points: filled([...failures].sort((a, b) => a[0] - b[0]).map(([at, count]) => [at, count / width]), width, since, until), color: "#d00000", isDue: true });
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
    .map(name => ({ label: name, points: rows.map(row => [row.at, row[name]]), color: CONDITION_COLORS[name], isFilled: true }));
}

/** How many of those that a storm has hit are back, in percent. */
export function recoveryLines(storm) {
  if (!storm || !storm.hit) return [];
  return [{ label: "back, %", points: [[0, 0], ...storm.curve.map(([at, back]) => [at, 100 * back / storm.hit])], color: PALETTE[2], isStepped: true }];
}
