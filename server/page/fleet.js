// The fleet at a glance, and the list of charge points.

import { every, get } from "/api.js";
import { ago, badge, dateTime, energy, find, keep, linkOf, make, number, pairs, put, set } from "/dom.js";

const REFRESH = 2000;
const PAGE = 50;
const REGISTRATIONS = { accepted: "good", pending: "fair", rejected: "bad", unknown: "dim" };
const STATES = {
  Available: "good", Preparing: "busy", Charging: "busy", SuspendedEVSE: "busy", SuspendedEV: "busy",
  Finishing: "busy", Reserved: "fair", Unavailable: "dim", Faulted: "bad",
};

export const registrationState = (registration) => REGISTRATIONS[registration] ?? "dim";
export const connectorState = (status) => (Object.hasOwn(STATES, status) ? STATES[status] : "dim");

const LEDGER = [
  ["Started", "started"], ["Stopped", "stopped"], ["Open", "open"], ["Superseded", "superseded", "fair"],
  ["Meter values", "meter_values"], ["Anomalies", "anomalies", "bad"],
];
const FAULTS = [
  ["Repeated starts", "repeated_starts"], ["Concurrent starts", "concurrent_starts"],
  ["Repeated stops", "repeated_stops"], ["Unknown stops", "unknown_stops"], ["Late stops", "late_stops"],
  ["Stops without an id", "without_transaction_id"], ["Backward meters", "backward_meters"],
  ["Meter values out of order", "meter_values_out_of_order"],
  ["Meter values of no transaction", "meter_values_unknown_transaction"],
  ["Repeated meter values", "repeated_meter_values"], ["Meter values before the start", "early_meter_values"],
  ["Meter values of another connector", "meter_values_of_another_connector"],
  ["Transaction data out of order", "transaction_data_out_of_order"], ["Stops before the start", "early_stops"],
  ["Unreadable timestamps", "unreadable_timestamps"], ["Implausible energy", "implausible_energy"],
];

function showGlance(fleet) {
  put(find("connected"), number(fleet.connected));
  put(find("known"), number(fleet.known));
  put(find("transactions-open"), number(fleet.transactions_open));
  const counts = Object.keys(REGISTRATIONS).map((name) => [name, fleet.registrations[name] ?? 0]);
  keep(find("registration-bar"), counts, ([name]) => name, ([name]) => make("span", REGISTRATIONS[name]), (part, [, count]) => {
    if (part.style.flexGrow !== String(count)) part.style.flexGrow = String(count);
  });
  keep(find("registrations"), counts, ([name]) => name, ([name]) => {
    const item = make("li", REGISTRATIONS[name]);
    item.append(make("b"), ` ${name}`);
    return item;
  }, (item, [, count]) => put(item.firstChild, number(count)));
  const nodes = Object.entries(fleet.nodes).sort();
  put(find("processes"), number(nodes.length));
  keep(find("nodes"), nodes.length > 1 ? nodes.slice(0, 8) : [], ([name]) => name, () => make("li"), (item, [name, count]) =>
    put(item, `${name}: ${number(count)}`));
}

function showReadiness({ ready, failing }) {
  put(find("ready"), ready ? "✓ Ready" : "✗ Not ready");
  set(find("ready"), "className", `figure small ${ready ? "good" : "bad"}`);
  keep(find("failing"), Object.entries(failing), ([name]) => name, () => make("li", "bad"), (item, [name, why]) =>
    put(item, `${name}: ${why}`));
}

function showLedger(ledger) {
  put(find("energy"), `${energy(ledger.energy_wh)} delivered`);
  const main = LEDGER.map(([label, name, state]) => [label, number(ledger[name]), ledger[name] ? state : ""]);
  const faults = FAULTS.filter(([, name]) => ledger[name]).map(([label, name]) => [label, number(ledger[name]), "fair"]);
  pairs(find("ledger"), [...main, ["Energy", energy(ledger.energy_wh)], ...faults]);
}

function showAnomalies({ anomalies }) {
  set(find("no-anomalies"), "hidden", anomalies.length > 0);
  put(find("no-anomalies"), "None: everything adds up.");
  keep(find("anomalies"), anomalies, (each) => each.id, (each) => {
    const item = make("li");
    const link = make("a");
    link.href = linkOf(each.identity);
    link.append(make("bdi", "", each.identity));
    const detail = [each.transaction_id === null ? "" : `transaction ${each.transaction_id}`, each.detail];
    item.append(make("time", "note"), make("span", "badge fair", each.kind), link, make("span", "note", detail.filter(Boolean).join(", ")));
    item.firstChild.title = dateTime(each.at);
    return item;
  }, (item, each) => put(item.firstChild, ago(each.at)));
}

function newRow({ identity }) {
  const row = make("tr");
  const head = make("th");
  head.scope = "row";
  const link = make("a");
  link.href = linkOf(identity);
  link.append(make("bdi", "", identity));
  head.append(link);
  const cells = Array.from({ length: 6 }, () => make("td"));
  cells[0].append(make("span", "badge"));
  cells[1].append(make("span", "badge"));
  cells[3].append(make("ul", "badges"));
  cells[5].className = "number";
  row.append(head, ...cells);
  return row;
}

function updateRow(row, each) {
  const [, connection, registration, model, connectors, seen, trip] = row.children;
  badge(connection.firstChild, each.connected ? "connected" : "offline", each.connected ? "good" : "dim");
  badge(registration.firstChild, each.registration, registrationState(each.registration));
  put(model, [each.boot?.chargePointVendor, each.boot?.chargePointModel].filter(Boolean).join(" ") || "–");
  const states = Object.entries(each.connectors).filter(([connector]) => connector !== "0");
  keep(connectors.firstChild, states.slice(0, 6), ([connector]) => connector, () => make("li"), (item, [connector, status]) =>
    badge(item, `${connector} ${status.status}`, connectorState(status.status)));
  put(seen, ago(each.last_seen));
  set(seen, "title", dateTime(each.last_seen));
  put(trip, each.round_trip_seconds === null ? "–" : `${(each.round_trip_seconds * 1000).toFixed(1)} ms`);
}

export function showFleet(signal, attempt) {
  // The identity before each page, up to the one that is shown.
  let pages = [""];
  let next = null;

  async function showList() {
    const asked = pages;
    const query = new URLSearchParams({ limit: PAGE });
    const filters = { prefix: find("prefix").value, connected: find("is-connected").value, registration: find("registration").value, after: pages.at(-1) };
    for (const [name, value] of Object.entries(filters)) if (value) query.set(name, value);
    const found = await attempt("charge points", () => get(`/api/v1/charge-points?${query}`, signal));
    if (!found || asked !== pages || signal.aborted) return;
    next = found.next;
    keep(find("stations"), found.charge_points, (each) => each.identity, newRow, updateRow);
    set(find("no-stations"), "hidden", found.charge_points.length > 0);
    set(find("previous"), "disabled", pages.length === 1);
    set(find("next"), "disabled", next === null);
    put(find("page-number"), `Page ${number(pages.length)}`);
  }

  const parts = [
    ["fleet", "/api/v1/fleet", showGlance],
    ["readiness", "/readyz", showReadiness, 503],
    ["ledger", "/api/v1/ledger", showLedger],
    ["anomalies", "/api/v1/ledger/anomalies?limit=6", showAnomalies],
  ];

  async function refresh() {
    const shown = parts.map(async ([name, path, show, also]) => {
      const said = await attempt(name, () => get(path, signal, also));
      if (said && !signal.aborted) show(said);
    });
    await Promise.all([...shown, showList()]);
  }

  function turn(newPages) {
    pages = newPages;
    showList();
  }

  find("next").addEventListener("click", () => next !== null && turn([...pages, next]));
  find("previous").addEventListener("click", () => pages.length > 1 && turn(pages.slice(0, -1)));
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("input", () => turn([""]));
  every(REFRESH, signal, refresh);
}
