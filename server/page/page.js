// The page for people: which view is shown, the token, and what went wrong.

import { Failed, token } from "/api.js";
import { find, put, visible } from "/dom.js";
import { showFleet } from "/fleet.js";
import { showStation } from "/station.js";

const STATION = "#/charge-points/";
const WRONG = "This is not the token.";
let view = new AbortController();
const troubles = new Map();

/** Say what part does not work, or (null) that it does again. */
function trouble(part, error) {
  if (error) troubles.set(part, error);
  else troubles.delete(part);
  const [first] = troubles.values();
  const isDown = first instanceof Failed && first.status === 0;
  find("trouble").hidden = !first;
  put(find("trouble"), !first ? "" : isDown ? "The central system does not answer. Trying again …" : `${first.message}`);
  put(find("state"), !first ? "Live" : "Not up to date");
  find("state").className = first ? "state bad" : "state good";
}

/** Do a part of a view's work; whatever becomes of it is said. */
async function attempt(part, work) {
  const { signal } = view;
  try {
    const result = await work();
    if (!signal.aborted) trouble(part, null);
    return result;
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof Failed && error.status === 401) askForToken(token.get() ? WRONG : "");
    else trouble(part, error);
    return undefined;
  }
}

function open(template) {
  view.abort();
  view = new AbortController();
  troubles.clear();
  trouble("", null);
  put(find("state"), "");
  find("main").replaceChildren(find(template).content.cloneNode(true));
  find("log-out").hidden = !token.get();
  return view.signal;
}

function askForToken(why) {
  token.forget();
  open("login-view");
  put(find("login-error"), why);
  find("token").focus();
  find("login").addEventListener("submit", (event) => {
    event.preventDefault();
    const given = find("token").value.trim();
    if (!/^[!-~]+$/.test(given)) {
      put(find("login-error"), WRONG);
      find("token").value = "";
      return;
    }
    token.set(given);
    route();
  });
}

function identityOf(hash) {
  try {
    return decodeURIComponent(hash.slice(STATION.length));
  } catch {
    return "";
  }
}

function route() {
  const { hash } = location;
  const identity = hash.startsWith(STATION) ? identityOf(hash) : "";
  window.scrollTo(0, 0);
  if (identity) {
    document.title = `${visible(identity)} – Ampswarm`;
    showStation(open("station-view"), attempt, identity);
  } else {
    document.title = "Ampswarm central system";
    showFleet(open("fleet-view"), attempt);
  }
}

find("log-out").addEventListener("click", () => askForToken(""));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  find("main").focus();
});
window.addEventListener("hashchange", route);
route();
