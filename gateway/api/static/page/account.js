// Who is signed in, and every request to the gateway.
//
// The credential lives in this module's memory and nowhere else: not in storage, not in a cookie, not in the address bar.
// Another page of this origin, opened beside this one, may ask for it over a BroadcastChannel, which no other origin hears.

const WARN_BEFORE_SECONDS = 120;
const ASK_OTHERS_MS = 150;

const channel = new BroadcastChannel("gemma-gateway.account");
let token = null;
let timer = 0;

channel.addEventListener("message", ({ data }) => {
  if (data.ask && token) channel.postMessage({ token });
  if (data.left && token) forget();
});

/** An answer of the gateway's that is no success, or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(status, { message, code, type } = {}, headers = null) {
    super(message ?? "");
    this.status = status;
    this.code = code ?? null;
    this.type = type ?? null;
    this.headers = headers;
  }

  /** How long to wait before another try, null where nothing was said. */
  get retryAfterMs() {
    const ms = Number(this.headers?.get("retry-after-ms"));
    return ms > 0 ? ms : Number(this.headers?.get("retry-after")) * 1000 || null;
  }
}

export function signedIn() {
  return token !== null;
}

/** Returns what the token says of its bearer: `{tenant, sub, scope}`; nothing where it is no JWT. */
export function bearer() {
  return claimsOf(token);
}

/** Signs in with an API key or a JWT. Raises ApiError. */
export async function signIn(credential) {
  if (/[^\x21-\x7e]/.test(credential)) throw new ApiError(401);
  const exchanged = await exchange(credential);
  if (exchanged === null) await send("/v1/models", {}, credential);
  take(exchanged ?? credential);
}

/** Signs in with the single-use code of the address bar, if there is one; it is gone from there in any case. */
export async function signInByCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code === null) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const answer = await json("/auth/login", { method: "POST", body: { code } });
  take(answer.access_token);
  return true;
}

/** Takes the credential of another page of this browser, if one answers in time. */
export function signInFromAnotherPage() {
  return new Promise((resolve) => {
    const done = () => {
      channel.removeEventListener("message", heard);
      resolve(token !== null);
    };
    const heard = ({ data }) => {
      if (data.token) {
        take(data.token);
        done();
      }
    };
    channel.addEventListener("message", heard);
    channel.postMessage({ ask: true });
    setTimeout(done, ASK_OTHERS_MS);
  });
}

/** Forgets the credential, here and in the other pages. */
export function signOut() {
  channel.postMessage({ left: true });
  forget();
}

/** Sends a request and returns the response, which is a success. Raises ApiError; AbortError when `signal` says so. */
export async function send(path, options = {}, credential = token) {
  const { method = "GET", body, signal } = options;
  const headers = credential === null ? {} : { authorization: `Bearer ${credential}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: sent, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0);
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: {} }));
  // Whoever still holds the credential that was refused is no longer signed in.
  if (response.status === 401 && token !== null && credential === token) forget();
  throw new ApiError(response.status, error ?? {}, response.headers);
}

/** Likewise, and returns the JSON of the answer. */
export async function json(path, options) {
  return (await send(path, options)).json();
}

/** Returns a short-lived token for `credential`; null where the gateway gives none. */
async function exchange(credential) {
  try {
    const answer = await (await send("/auth/token", { method: "POST" }, credential)).json();
    return answer.access_token;
  } catch (error) {
    // 403: it is a token already, or its bearer may do nothing here, which the next request will tell.
    if ([403, 404, 405].includes(error.status)) return null;
    throw error;
  }
}

function take(given) {
  token = given;
  clearTimeout(timer);
  const { exp } = bearer();
  if (exp) timer = setTimeout(warn, (exp - Date.now() / 1000 - WARN_BEFORE_SECONDS) * 1000, exp);
  dispatchEvent(new Event("account"));
}

/** A token can't be exchanged for a longer one, so that a stolen one ends: whoever goes on signs in again. */
function warn(exp) {
  dispatchEvent(new Event("accountending"));
  timer = setTimeout(forget, exp * 1000 - Date.now());
}

function forget() {
  token = null;
  clearTimeout(timer);
  dispatchEvent(new Event("account"));
}

function claimsOf(credential) {
  const parts = (credential ?? "").split(".");
  if (parts.length !== 3) return {};
  try {
    const bytes = Uint8Array.from(atob(parts[1].replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}
