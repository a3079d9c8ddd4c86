// Requests to the operator API, with the token when there is one.

const TOKEN = "token";
const PATIENCE = 15_000;

/** The API, or the network, said no. */
export class Failed extends Error {
  constructor(status, { code = "", description = "", details = {} } = {}) {
    super(description ? `${code}: ${description}` : code);
    Object.assign(this, { status, code, description, details });
  }
}

// For this tab only, and never in a URL, which histories and logs keep.
export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (value) => sessionStorage.setItem(TOKEN, value),
  forget: () => sessionStorage.removeItem(TOKEN),
};

async function request(path, options) {
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let response;
  let text;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store", redirect: "error" });
    text = await response.text();
  } catch (error) {
    if (options.signal?.aborted && options.signal.reason?.name !== "TimeoutError") throw error;
    throw new Failed(0, { code: "NoAnswer", description: "the central system does not answer" });
  }
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Failed(response.status, { code: `HTTP ${response.status}`, description: "the answer is not JSON" });
  }
  return { status: response.status, ok: response.ok, body, text };
}

/** Return what the API says; raise Failed for anything but 200, and `also`. */
export async function get(path, signal, also = 0) {
  const { ok, status, body } = await request(path, { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]) });
  if (!ok && status !== also) throw new Failed(status, body.error);
  return body;
}

/** Send a Call; return the text of the whole answer. */
export async function call(path, payload) {
  const headers = { "Content-Type": "application/json" };
  const { ok, status, body, text } = await request(path, { method: "POST", body: payload, headers });
  if (!ok) throw new Failed(status, body.error);
  return text;
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", end);
      resolve();
    };
    let isDue = false;
    const look = () => {
      if (isDue && !document.hidden) end();
    };
    const timer = setTimeout(() => {
      isDue = true;
      look();
    }, milliseconds);
    // Nobody looks at a hidden page: it asks again once somebody does.
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", end);
  });
}

/** Do some work again and again until the signal; return a function that has it done at once. */
export function every(milliseconds, signal, work) {
  let hurry = new AbortController();
  const run = async () => {
    while (!signal.aborted) {
      hurry = new AbortController();
      await work();
      await pause(milliseconds, AbortSignal.any([signal, hurry.signal]));
    }
  };
  run();
  return () => hurry.abort();
}
