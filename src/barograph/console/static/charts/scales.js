/** From values to pixels: linear, logarithmic, and logarithmic on both sides of zero. Pure functions. */

import { clock, day } from "../format.js";

/** The step of a readable axis: 1, 2 or 5 times a power of ten. @param {number} span @param {number} count */
export function niceStep(span, count) {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return (lead >= 7.1 ? 10 : lead >= 3.2 ? 5 : lead >= 1.5 ? 2 : 1) * power;
}

/** Readable values between two bounds. @param {number} low @param {number} high @param {number} count */
export function niceTicks(low, high, count) {
  if (!(high > low)) return [low];
  const step = niceStep(high - low, count);
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-6; index += 1) {
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
}

/**
 * @param {number[]} domain @param {number[]} range pixels
 * @param {(value: number) => number} to @param {(value: number) => number} from
 * @param {(count: number) => number[]} ticks
 * @returns {Scale}
 */
function scaleOf(domain, range, to, from, ticks) {
  const start = to(domain[0]);
  const span = to(domain[1]) - start || 1;
  const width = range[1] - range[0];
  return {
    px: (value) => range[0] + ((to(value) - start) / span) * width,
    value: (px) => from(start + ((px - range[0]) / width) * span),
    ticks,
  };
}

/** @param {number[]} domain @param {number[]} range @param {number} [step] between marks */
export function linearScale(domain, range, step) {
  const same = (value) => value;
  return scaleOf(domain, range, same, same, (count) => niceTicks(domain[0], domain[1], step ? (domain[1] - domain[0]) / step : count));
}

/** Powers of ten within bounds, thinned to about `count`. @param {number} low @param {number} high @param {number} count */
function powers(low, high, count) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, count)));
  const found = [];
  for (let power = first; power <= last; power += step) found.push(Number((10 ** power).toPrecision(12)));
  return found;
}

/** Values must be positive. @param {number[]} domain @param {number[]} range */
export function logScale(domain, range) {
  return scaleOf(domain, range, Math.log10, (value) => 10 ** value, (count) => {
    const decades = powers(domain[0], domain[1], count);
    return decades.length >= 2 ? decades : niceTicks(domain[0], domain[1], count);
  });
}

/**
 * Linear within `knee` of zero, logarithmic beyond it on both sides.
 * @param {number[]} domain @param {number[]} range @param {number} knee
 */
export function symlogScale(domain, range, knee) {
  const to = (value) => Math.asinh(value / knee);
  const from = (value) => Math.sinh(value) * knee;
  return scaleOf(domain, range, to, from, () => {
    const [low, high] = domain;
    const up = high > knee ? powers(knee, high, 99) : [];
    const down = low < -knee ? powers(knee, -low, 99).map((value) => -value) : [];
    return [...down.reverse(), ...(low <= 0 && high >= 0 ? [0] : []), ...up];
  });
}

/**
 * Leaves out marks that would touch others: zero stays first, then the outer ones.
 * @param {number[]} values @param {(value: number) => number} px @param {(value: number) => number} room pixels that a mark needs
 */
export function spaced(values, px, room) {
  /** @type {number[]} */
  const kept = [];
  const byRank = [...values].sort((a, b) => (a === 0 ? -1 : b === 0 ? 1 : Math.abs(b) - Math.abs(a)));
  for (const value of byRank) {
    if (kept.every((other) => Math.abs(px(other) - px(value)) >= (room(other) + room(value)) / 2)) kept.push(value);
  }
  return kept.sort((a, b) => a - b);
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const TIME_STEPS = [
  5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 8 * HOUR, 12 * HOUR,
  DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY,
];

/**
 * Marks of a time axis: clock times, and the date where a day begins.
 * @param {number} from epoch seconds @param {number} to @param {number} width pixels
 * @returns {{t: number, text: string}[]}
 */
export function timeTicks(from, to, width) {
  const count = Math.max(3.2, width / 86);
  const step = TIME_STEPS.find((size) => (to - from) / size <= count) ?? 28 * DAY;
  const ticks = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) ticks.push({ t, text: t % DAY ? clock(t) : day(t) });
  return ticks;
}

/** Index of the sample nearest to a time, in ascending times. @param {number[]} times @param {number} time */
export function nearestIndex(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle;
  }
  return Math.abs(times[low] - time) <= Math.abs(times[high] - time) ? low : high;
}

/** The usual distance between samples. @param {number[]} times */
export function samplingStep(times) {
  if (times.length < 2) return 0;
  const steps = times.slice(1).map((time, index) => time - times[index]).sort((a, b) => a - b);
  return steps[steps.length >> 1];
}
