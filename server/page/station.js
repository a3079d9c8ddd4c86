// One charge point: what is known of it, its last messages as they come, and Calls to it.

import { Failed, call, every, get } from "/api.js";
import { QUICK, TEMPLATES } from "/calls.js";
import { ago, badge, clock, dateTime, energy, find, keep, make, number, pairs, pathOf, pretty, put, set, visible } from "/dom.js";
import { connectorState, registrationState } from "/fleet.js";

const REFRESH = 2000;
const LIVE = 1000;
const MOST_MESSAGES = 200;
const MOST_RESULTS = 20;
const PREVIEW = 200;
const KINDS = { 2: "Call", 3: "Result", 4: "Error" };
// The text itself is shown, not what a parser makes of it.
const HEAD = /^\s*\[\s*([234])\s*,\s*"((?:[^"\\]|\\.)*)"\s*,\s*/s;
const ACTION = /^"((?:[^"\\]|\\.)*)"\s*,\s*/s;
const STATES = { open: "busy", stopped: "good", superseded: "fair" };

// -- messages --------------------------------------------------------------------------------

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What kind of message it is, and of what action: an answer is looked up by the Call that it answers. */
function describe({ text, is_cut: isCut, direction }, asked) {
  const head = isCut || isJson(text) ? HEAD.exec(text) : null;
  const action = head?.[1] === "2" ? ACTION.exec(text.slice(head[0].length)) : null;
  if (!head || (head[1] === "2" && !action)) return { kind: "?", action: "not OCPP-J", body: text };
  const [, type, id] = head;
  const body = text.slice(head[0].length + (action?.[0].length ?? 0), isCut ? undefined : text.lastIndexOf("]"));
  if (action) {
    asked.set(`${direction} ${id}`, action[1]);
    return { kind: KINDS[type], action: action[1], body };
  }
  const key = `${direction === "in" ? "out" : "in"} ${id}`;
  const answered = asked.get(key) ?? "";
  asked.delete(key);
  return { kind: KINDS[type], action: answered, body };
}

function newMessage(message, asked) {
  const { kind, action, body } = describe(message, asked);
  const row = make("details", `message ${message.direction} ${kind === "Error" || kind === "?" ? "error" : ""}`);
  const summary = make("summary");
  const time = make("time", "", clock(message.at));
  time.title = dateTime(message.at);
  const way = make("span", "way", message.direction === "in" ? "→" : "←");
  way.title = message.direction === "in" ? "from the charge point" : "to the charge point";
  way.setAttribute("aria-label", way.title);
  way.setAttribute("role", "img");
  summary.append(time, way, make("span", "kind", kind), make("b", "", action), make("code", "", body.slice(0, PREVIEW)));
  row.append(summary);
  row.addEventListener("toggle", () => {
    if (!row.open || row.children.length > 1) return;
    row.append(make("pre"));
    // With its line breaks, which are ours: those of the message are escaped.
    row.lastChild.textContent = kind === "?" ? visible(message.text) : pretty(message.text);
    if (message.is_cut) row.append(make("p", "note", `Cut: the message has ${number(message.size)} bytes.`));
  });
  return row;
}

function showMessages({ messages, are_kept: areKept }, asked) {
  const list = find("messages");
  // Whoever has scrolled up reads: nothing is moved under their eyes.
  const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  list.append(...messages.map((message) => newMessage(message, asked)));
  while (list.children.length > MOST_MESSAGES) list.firstChild.remove();
  while (asked.size > MOST_MESSAGES) asked.delete(asked.keys().next().value);
  if (follows && messages.length) list.scrollTop = list.scrollHeight;
  set(list, "hidden", list.children.length === 0);
  set(find("no-messages"), "hidden", list.children.length > 0);
  if (!areKept) put(find("no-messages"), "None are kept: the central system runs with --keep-messages 0.");
}

// -- what is known ---------------------------------------------------------------------------

const BOOT_NAMES = {
  chargePointVendor: "Vendor", chargePointModel: "Model", chargePointSerialNumber: "Serial number",
  chargeBoxSerialNumber: "Charge box serial number", firmwareVersion: "Firmware", iccid: "ICCID", imsi: "IMSI",
  meterType: "Meter", meterSerialNumber: "Meter serial number",
};

function showBadges(known) {
  const badges = [
    ["connection", known.connected ? "connected" : "offline", known.connected ? "good" : "dim"],
    ["registration", known.registration, registrationState(known.registration)],
  ];
  if (known.calls_waiting) badges.push(["waiting", `${known.calls_waiting} Calls wait`, "fair"]);
  keep(find("badges"), badges, ([name]) => name, () => make("li"), (item, [, text, state]) => badge(item, text, state));
}

function showKnown(known) {
  showBadges(known);
  const trip = known.round_trip_seconds;
  const boot = Object.entries(BOOT_NAMES).filter(([name]) => known.boot?.[name]).map(([name, label]) => [label, known.boot[name]]);
  pairs(find("about"), [
    ...boot,
    ["Booted", known.booted_at ? dateTime(known.booted_at) : "not yet"],
    [known.connected ? "Connected since" : "Last connected", known.connected_at ? dateTime(known.connected_at) : "–"],
    ["Last seen", ago(known.last_seen)],
    ["Round trip of PING", trip === null ? "–" : `${(trip * 1000).toFixed(1)} ms`],
    ["Process", known.node ?? "–"],
  ]);
  const connectors = Object.entries(known.connectors);
  set(find("no-connectors"), "hidden", connectors.length > 0);
  keep(find("connectors"), connectors, ([connector]) => connector, () => {
    const item = make("li");
    item.append(make("b"), make("span"), make("span", "note"));
    return item;
  }, (item, [connector, { status, errorCode, info, vendorErrorCode, timestamp }]) => {
    const [name, state, note] = item.children;
    put(name, connector === "0" ? "Main controller" : `Connector ${connector}`);
    badge(state, status, connectorState(status));
    const more = [errorCode === "NoError" ? "" : errorCode, vendorErrorCode, info, timestamp && dateTime(timestamp)];
    put(note, more.filter(Boolean).join(" · "));
  });
  const keys = Object.entries(known.configuration).sort(([one], [other]) => (one < other ? -1 : 1));
  put(find("configuration-count"), keys.length ? `${keys.length} keys` : "");
  set(find("no-configuration"), "hidden", keys.length > 0);
  pairs(find("configuration"), keys.map(([key, { value, readonly }]) => [key, value ?? "–", readonly ? "readonly" : ""]));
}

function showTransactions({ transactions }) {
  set(find("no-transactions"), "hidden", transactions.length > 0);
  keep(find("transactions"), transactions, (each) => each.transaction_id, () => {
    const row = make("tr");
    row.append(...["number", "number", "", "", "", "number", ""].map((name) => make("td", name)));
    row.children[3].append(make("span"));
    return row;
  }, (row, each) => {
    const [id, connector, idTag, state, started, used, reason] = row.children;
    put(id, each.transaction_id);
    put(connector, each.connector_id);
    put(idTag, each.id_tag);
    badge(state.firstChild, each.state, STATES[each.state] ?? "dim");
    put(started, dateTime(each.started_at));
    const last = each.meter_stop_wh ?? each.meter_last_wh;
    put(used, last === null ? "–" : energy(last - each.meter_start_wh));
    put(reason, each.reason ?? (each.state === "stopped" ? "Local" : "–"));
  });
}

// -- Calls -----------------------------------------------------------------------------------

function newResult(action) {
  const item = make("li", "waiting");
  const head = make("p");
  head.append(make("time", "note", clock(new Date().toISOString())), make("b", "", action), make("span", "note", "waits for the answer …"));
  item.append(head);
  find("results").prepend(item);
  while (find("results").children.length > MOST_RESULTS) find("results").lastChild.remove();
  return item;
}

function endResult(item, state, note, text) {
  item.className = state;
  put(item.firstChild.lastChild, note);
  if (text) {
    item.append(make("pre"));
    item.lastChild.textContent = pretty(text);
  }
}

/** The rules are against it; but this is for trying things out. */
function offerForce(item, again) {
  const button = make("button", "quiet", "Send it all the same");
  button.type = "button";
  button.addEventListener("click", () => {
    button.disabled = true;
    again();
  });
  item.append(button);
}

async function send(identity, action, payload, force = false) {
  const item = newResult(action);
  const began = performance.now();
  const time = () => `${number(Math.round(performance.now() - began))} ms`;
  try {
    const answer = await call(`${pathOf(identity)}/calls/${action}${force ? "?force=true" : ""}`, payload);
    // {"result": …}: what is inside, as it was sent.
    endResult(item, "good", `answered after ${time()}`, answer.slice(answer.indexOf(":") + 1, -1));
  } catch (error) {
    const details = error instanceof Failed && Object.keys(error.details).length ? JSON.stringify(error.details) : "";
    endResult(item, "bad", `${error.message} after ${time()}`, details);
    if (error.code === "NotAccepted") offerForce(item, () => send(identity, action, payload, true));
  }
}

function showCalls(identity, last, refresh) {
  const select = find("action");
  const field = find("payload");
  for (const action of Object.keys(TEMPLATES)) select.append(make("option", "", action));
  const fill = () => {
    field.value = JSON.stringify(TEMPLATES[select.value](last), null, 2);
    field.rows = Math.min(16, field.value.split("\n").length + 1);
    put(find("payload-error"), "");
  };
  const sendThen = async (action, payload) => {
    await send(identity, action, payload);
    refresh();
  };
  select.value = "TriggerMessage";
  fill();
  select.addEventListener("change", fill);
  find("call").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim() || "{}";
    try {
      JSON.parse(text);
    } catch (error) {
      put(find("payload-error"), `This is not JSON: ${error.message}`);
      field.focus();
      return;
    }
    put(find("payload-error"), "");
    sendThen(select.value, text);
  });
  for (const [label, action, payload] of QUICK) {
    const button = make("button", "quiet", label);
    button.type = "button";
    button.title = label.startsWith(action) ? action : `${action} ${label}`;
    button.addEventListener("click", () => sendThen(action, JSON.stringify((payload ?? TEMPLATES[action])(last))));
    find("quick").append(button);
  }
}

// -- all of it -------------------------------------------------------------------------------

export function showStation(signal, attempt, identity) {
  put(find("identity"), identity);
  const last = { transactionId: 1, idTag: "TAG-0001" };
  const asked = new Map();
  const path = pathOf(identity);
  let cursor = "";

  async function ask(part, url) {
    const said = await attempt(part, async () => {
      try {
        return await get(url, signal);
      } catch (error) {
        if (error instanceof Failed && error.status === 404) return null;
        throw error;
      }
    });
    return signal.aborted ? undefined : said;
  }

  async function refresh() {
    const [known, book] = await Promise.all([
      ask("charge point", path),
      ask("transactions", `/api/v1/transactions?${new URLSearchParams({ identity, limit: 10 })}`),
    ]);
    if (known !== undefined) {
      set(find("unknown"), "hidden", known !== null);
      set(find("known-part"), "hidden", known === null);
      if (known) showKnown(known);
      else put(find("unknown"), "No charge point with this identity has ever connected.");
    }
    if (book) {
      showTransactions(book);
      const [latest] = book.transactions;
      if (latest) Object.assign(last, { idTag: latest.id_tag, transactionId: latest.transaction_id });
      const open = book.transactions.find((each) => each.state === "open");
      if (open) last.transactionId = open.transaction_id;
    }
  }

  async function refreshMessages() {
    const said = await ask("messages", `${path}/messages?${new URLSearchParams({ after: cursor, limit: MOST_MESSAGES })}`);
    if (!said) return;
    cursor = said.cursor;
    showMessages(said, asked);
  }

  const refreshNow = every(REFRESH, signal, refresh);
  const readNow = every(LIVE, signal, refreshMessages);
  showCalls(identity, last, () => {
    refreshNow();
    readNow();
  });
}
