/** Stretches without data: named and hatched, never interpolated, never zero. */

import { samplingStep } from "./scales.js";

/**
 * The gaps of one chart: every run of samples without a value, and those that the server names, unless this chart has
 * values there.
 * @param {number[]} times @param {Value[]} values
 * @param {number} from the window @param {number} to
 * @param {Gap[]} named
 * @returns {Gap[]} in order, merged, within the window
 */
export function findGaps(times, values, from, to, named) {
  const half = samplingStep(times) / 2;
  const isEmpty = (gap) => !values.some((value, index) => value != null && times[index] > gap.from && times[index] < gap.to);
  const gaps = named.filter((gap) => gap.to > from && gap.from < to && isEmpty(gap)).map((gap) => ({ ...gap }));
  for (let start = 0; start < values.length; start += 1) {
    if (values[start] != null) continue;
    let end = start;
    while (end + 1 < values.length && values[end + 1] == null) end += 1;
    const run = { from: times[start] - half, to: times[end] + half };
    const isNamed = gaps.some((gap) => gap.from - 2 * half <= run.from && run.to <= gap.to + 2 * half);
    if (!isNamed) gaps.push(run);
    start = end;
  }
  if (times.length && half) {
    if (times[0] - from > 4 * half) gaps.push({ from, to: times[0] - half });
    if (to - times[times.length - 1] > 4 * half) gaps.push({ from: times[times.length - 1] + half, to });
  }
  return merged(gaps, half).map((gap) => ({ ...gap, from: Math.max(from, gap.from), to: Math.min(to, gap.to) }));
}

/** @param {Gap[]} gaps @param {number} slack seconds apart that still count as one @returns {Gap[]} */
function merged(gaps, slack) {
  /** @type {Gap[]} */
  const found = [];
  for (const gap of gaps.sort((a, b) => a.from - b.from)) {
    const last = found[found.length - 1];
    if (last && gap.from <= last.to + slack) {
      last.to = Math.max(last.to, gap.to);
      last.text = last.text ?? gap.text;
    } else {
      found.push(gap);
    }
  }
  return found;
}
