// Whether a message sent now could be answered, and what the engine does meanwhile.

import { json } from "../page/account.js";

const SLOW_MS = 15_000;
const FAST_MS = 2_000;

/** Calls `tell(null)` while all is well, else `tell({stage, seconds})`; both may be null. Returns how to end it. */
export function watchReadiness(tell) {
  let timer = 0;
  let ended = false;
  async function look() {
    const problem = document.hidden ? undefined : await lookOnce();
    if (ended) return;
    if (problem !== undefined) tell(problem);
    timer = setTimeout(look, problem ? FAST_MS : SLOW_MS);
  }
  look();
  return {
    /** Look now, as something has just failed. */
    soon() {
      clearTimeout(timer);
      look();
    },
    end() {
      ended = true;
      clearTimeout(timer);
    },
  };
}

async function lookOnce() {
  try {
    if ((await fetch("/health/ready", { cache: "no-store" })).ok) return null;
    const { loading } = await json("/health/detailed");
    return { stage: loading?.stage ?? null, seconds: loading?.seconds ?? null };
  } catch {
    return { stage: null, seconds: null };
  }
}
