/** Stretches without values: where no service reported they are named and hatched, where rows are few the line breaks. */

import { samplingStep } from "./scales.js";

/** Why a line breaks where a service did report, if its panel does not say otherwise. */
export const FEW = "too few rows";

/**
 * The gaps of one chart: those that the server names, unless this chart has values there.
 * @param {number[]} times @param {Value[]} values
 * @param {number} from the window @param {number} to
 * @param {Gap[]} named
 * @returns {Gap[]} in order, merged, within the window
 */
export function findGaps(times, values, from, to, named) {
  const isEmpty = (gap) => !values.some((value, index) => value != null && times[index] > gap.from && times[index] < gap.to);
  const gaps = named.filter((gap) => gap.to > from && gap.from < to && isEmpty(gap)).map((gap) => ({ ...gap }));
  return merged(gaps, samplingStep(times) / 2).map((gap) => ({ ...gap, from: Math.max(from, gap.from), to: Math.min(to, gap.to) }));
}

/**
 * Runs of samples without a value where a service did report: from the value before to the value after.
 * @param {number[]} times @param {Value[]} values @param {Gap[]} gaps of findGaps
 * @returns {Gap[]}
 */
export function findThin(times, values, gaps) {
  const found = [];
  for (let start = 0; start < values.length; start += 1) {
    if (values[start] != null) continue;
    let end = start;
    while (end + 1 < values.length && values[end + 1] == null) end += 1;
    const run = { from: times[Math.max(0, start - 1)], to: times[Math.min(times.length - 1, end + 1)] };
    if (!gaps.some((gap) => gap.from < run.to && gap.to > run.from)) found.push(run);
    start = end;
  }
  return found;
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

/** What a sample without a value means: `few`, unless it lies in a gap. @param {number} t @param {Gap[]} gaps */
export const absence = (t, gaps, few = FEW) => (gaps.some((gap) => t > gap.from && t <= gap.to) ? "no data" : few);
