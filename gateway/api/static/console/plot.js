// A small plot of one number over the last minutes.

import { svg } from "../page/dom.js";

const WIDTH = 240;
const HEIGHT = 44;
const EDGE = 2;

/** Returns the plot of `values`, in which null is a gap; it says nothing to a screen reader that its card does not. */
export function plot(values) {
  const highest = Math.max(...values.filter((value) => value !== null), 0) || 1;
  const step = WIDTH / Math.max(1, values.length - 1);
  const point = (value, index) => [index * step, HEIGHT - EDGE - (value / highest) * (HEIGHT - 2 * EDGE)];
  const drawing = svg("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const run of runsOf(values)) {
    const points = run.map(([index, value]) => point(value, index).map((number) => number.toFixed(1)).join(","));
    const [first, last] = [run[0][0] * step, run.at(-1)[0] * step];
    drawing.append(
      svg("polygon", { points: `${first.toFixed(1)},${HEIGHT} ${points.join(" ")} ${last.toFixed(1)},${HEIGHT}` }),
      svg("polyline", { points: points.join(" ") }));
  }
  return drawing;
}

function runsOf(values) {
  const runs = [[]];
  values.forEach((value, index) => {
    if (value === null) runs.push([]);
    else runs.at(-1).push([index, value]);
  });
  return runs.filter((run) => run.length > 1);
}
