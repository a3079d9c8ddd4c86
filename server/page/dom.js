// What the views share. Whatever comes from the API is put in as text, never as markup: charge points wrote it.

const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const ESCAPE = (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Text whose control characters and changes of direction are seen instead of obeyed. */
export const visible = (text) => String(text).replace(INVISIBLE, ESCAPE);

export const find = (id) => document.getElementById(id);

/** Set a text, and touch nothing when it is there already: what is selected stays selected. */
export function put(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Set an attribute or a property that decides how something looks, when it changes. */
export function set(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== "") put(element, text);
  return element;
}

/** Let `parent` have one child for each item, in their order; those that stay are updated where they are. */
export function keep(parent, items, keyOf, create, update) {
  const old = new Map([...parent.children].map((child) => [child.itemKey, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = old.get(key);
    old.delete(key);
    if (!child) {
      child = create(item);
      child.itemKey = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}

/** Show pairs of a name and a text, or a name and a child element. */
export function pairs(list, entries) {
  const create = () => {
    const row = make("div");
    row.append(make("dt"), make("dd"));
    return row;
  };
  keep(list, entries, ([name]) => name, create, (row, [name, value, state = ""]) => {
    put(row.firstChild, name);
    put(row.lastChild, value);
    set(row, "className", state);
  });
}

export function badge(element, text, state) {
  put(element, text);
  set(element, "className", `badge ${state}`);
}

const NUMBER = new Intl.NumberFormat("en");
export const number = (value) => NUMBER.format(value);
export const energy = (wh) => `${NUMBER.format(Math.round(wh / 10) / 100)} kWh`;

const DATE_TIME = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });

/** A time of a charge point is any text; one that is no time is shown as it is. */
export function dateTime(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : DATE_TIME.format(date);
}

export function clock(text) {
  const date = new Date(text);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export function ago(text) {
  const seconds = Math.max(0, Math.round((Date.now() - new Date(text)) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 100) return `${seconds} s ago`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h ago`;
  return dateTime(text);
}

export const pathOf = (identity) => `/api/v1/charge-points/${encodeURIComponent(identity)}`;
export const linkOf = (identity) => `#/charge-points/${encodeURIComponent(identity)}`;

/** JSON on many lines. The text itself is kept, not what a parser makes of it: numbers keep their digits. */
export function pretty(text) {
  const out = [];
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  for (const token of text.match(/"(?:[^"\\]|\\.)*"?|[[\]{},:]|[^\s"[\]{},:]+/gs) ?? []) {
    const last = out.at(-1);
    if (token === "{" || token === "[") {
      depth += 1;
      out.push(token, line());
    } else if (token === "}" || token === "]") {
      depth = Math.max(0, depth - 1);
      const opener = out.at(-2);
      if (last?.startsWith("\n") && (opener === "{" || opener === "[")) out.pop();
      else out.push(line());
      out.push(token);
    } else if (token === ",") out.push(token, line());
    else if (token === ":") out.push(": ");
    else out.push(token.replace(INVISIBLE, ESCAPE));
  }
  return out.join("");
}
