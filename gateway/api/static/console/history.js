// What the gateway said, over the last minutes, and what follows from two of its answers. Pure but for what it keeps.

const KEPT_SECONDS = 300;

export class History {
  #answers = [];

  /** Takes an answer of `/admin/console`. One of a gateway that was started anew forgets those before. */
  add(answer) {
    const last = this.latest;
    if (last && answer.uptime_seconds < last.uptime_seconds) this.#answers = [];
    this.#answers.push(answer);
    while (answer.now - this.#answers[0].now > KEPT_SECONDS) this.#answers.shift();
  }

  get latest() {
    return this.#answers.at(-1) ?? null;
  }

  /** Returns the answer that is `seconds` old, or the oldest there is. */
  before(seconds, at = this.#answers.length - 1) {
    const { now } = this.#answers[at];
    let found = at;
    while (found > 0 && now - this.#answers[found].now < seconds) found -= 1;
    return this.#answers[found];
  }

  /** Returns how much a counter grew a second over the last `seconds`; null where nothing was seen yet. */
  rate(counter, seconds, at = this.#answers.length - 1) {
    const [before, after] = [this.before(seconds, at), this.#answers[at]];
    const passed = after.now - before.now;
    return passed > 0 ? Math.max(0, counter(after) - counter(before)) / passed : null;
  }

  /** Returns the percentile `share` (0 to 1) of what a histogram observed in the last `seconds`; null for none. */
  percentile(histogram, share, seconds, at = this.#answers.length - 1) {
    return percentile(histogram(this.before(seconds, at)), histogram(this.#answers[at]), share);
  }

  /** Returns `value(index)` for every answer, for a plot. */
  series(value) {
    return this.#answers.map((_, index) => value(index));
  }
}

/** Returns a percentile of the observations between two states of a histogram, interpolated within its bucket. */
export function percentile(before, after, share) {
  const counts = after.counts.map((count, index) => count - (before.counts[index] ?? 0));
  const total = counts.at(-1) ?? 0;
  // A page's first answer is compared with itself; a second one may have come in between.
  if (total <= 0) return null;
  const rank = share * total;
  const bucket = counts.findIndex((count) => count >= rank);
  // Above the last bound nothing is known but that.
  if (bucket >= after.bounds.length) return after.bounds.at(-1);
  const [low, below] = bucket === 0 ? [0, 0] : [after.bounds[bucket - 1], counts[bucket - 1]];
  const within = counts[bucket] - below;
  return within > 0 ? low + ((rank - below) / within) * (after.bounds[bucket] - low) : low;
}
