/** SVG path data. A null breaks a line: gaps are never bridged. */

/** One decimal is a tenth of a pixel. @param {number} value */
export const round = (value) => Math.round(value * 10) / 10;

/** Half the length of a sample that stands alone, in pixels. */
const LONE = 3;

/**
 * @param {number[]} xs pixels @param {Value[]} ys pixels or null
 */
export function linePath(xs, ys) {
  let path = "";
  let drawing = false;
  ys.forEach((y, index) => {
    if (y == null) {
      drawing = false;
      return;
    }
    path += `${drawing ? "L" : "M"}${round(xs[index])} ${round(y)}`;
    // A sample alone between two gaps would be invisible as a line of no length: it becomes a short dash.
    if (!drawing && ys[index + 1] == null) path = `${path.slice(0, path.lastIndexOf("M"))}M${round(xs[index] - LONE)} ${round(y)}h${2 * LONE}`;
    drawing = true;
  });
  return path;
}

/** @param {number[]} xs @param {Value[]} lows pixels @param {Value[]} highs pixels */
export function areaPath(xs, lows, highs) {
  let path = "";
  /** @type {number[]} */
  let run = [];
  const close = () => {
    if (run.length > 1) {
      const top = run.map((index) => `${round(xs[index])} ${round(highs[index] ?? 0)}`);
      const bottom = run.map((index) => `${round(xs[index])} ${round(lows[index] ?? 0)}`).reverse();
      path += `M${top.join("L")}L${bottom.join("L")}Z`;
    }
    run = [];
  };
  xs.forEach((_, index) => (lows[index] == null || highs[index] == null ? close() : run.push(index)));
  close();
  return path;
}

/**
 * The outline of a histogram.
 * @param {number[]} edges pixels, one more than tops @param {number[]} tops pixels @param {number} base pixels
 */
export function stepsPath(edges, tops, base, closed = false) {
  let path = `M${round(edges[0])} ${round(base)}`;
  tops.forEach((top, index) => {
    path += `V${round(top)}H${round(edges[index + 1])}`;
  });
  return `${path}V${round(base)}${closed ? "Z" : ""}`;
}
