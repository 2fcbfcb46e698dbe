/** Numbers, units and times as people read them. Pure functions; times are epoch seconds, shown in UTC. */

export const NBSP = "\u00a0";
export const NOTHING = "–";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const minus = (text) => text.replace("-", "−");

/** A number with some significant digits, thousands separated, integers exact: 0.0213, 7.1, 412,300. @param {Value} value */
export function number(value, digits = 3) {
  if (!Number.isFinite(value)) return NOTHING;
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-6)) return minus(value.toExponential(digits - 1));
  const rounded = size >= 10 ** digits ? Math.round(value) : Number.isInteger(value) ? value : Number(value.toPrecision(digits));
  return minus(rounded.toLocaleString("en-US", { maximumFractionDigits: 12 }));
}

/** A number short enough for an axis: 10 k, 1.5 M. @param {number} value */
export function compact(value) {
  const size = Math.abs(value);
  for (const [power, name] of Object.entries({ 12: "T", 9: "G", 6: "M", 3: "k" }).reverse()) {
    const unit = 10 ** Number(power);
    if (size >= unit) return `${number(Number((value / unit).toPrecision(3)))}${NBSP}${name}`;
  }
  return number(Number(value.toPrecision(6)), 6);
}

/** The unit in which values up to a magnitude are shown. @param {string} unit the API's @param {number} magnitude @returns {Display} */
export function displayUnit(unit, magnitude) {
  if (unit === "share") return { factor: 100, unit: "%" };
  if (unit === "count" || !unit) return { factor: 1, unit: "" };
  if (unit !== "seconds") return { factor: 1, unit };
  if (magnitude < 1) return { factor: 1000, unit: "ms" };
  if (magnitude < 2 * MINUTE) return { factor: 1, unit: "s" };
  if (magnitude < 2 * HOUR) return { factor: 1 / MINUTE, unit: "min" };
  return { factor: 1 / HOUR, unit: "h" };
}

/** Requests per second, minute or hour, whichever reads best: 2,140 /s, 3.4 /min. @param {Value} rate */
export function requestRate(rate) {
  if (!rate) return number(rate);
  const [factor, unit] = rate >= 1 ? [1, "s"] : rate * MINUTE >= 1 ? [MINUTE, "min"] : [HOUR, "h"];
  return `${number(rate * factor, 2)}${NBSP}/${unit}`;
}

/** A figure of so many digits at most: 12,300, 0.213. Below `least` it means nothing more. @param {Value} value */
export function figure(value, digits = 3, least = 0) {
  if (!Number.isFinite(value)) return NOTHING;
  if (value > 0 && value < least) return `under ${least}`;
  return number(Number(value.toPrecision(digits)), digits);
}

/** How many times its limit: 7.9 ×. @param {Value} ratio */
export function times(ratio) {
  if (!Number.isFinite(ratio)) return NOTHING;
  return `${ratio > 0 && ratio < 0.05 ? "under 0.1" : number(Number(ratio.toFixed(1)), 2)}${NBSP}×`;
}

/** Percent without its sign: 6.9, 31.4, 0.02, under 0.01. @param {number} value a share, 0 to 1 */
export function percent(value, digits = 3) {
  const size = Math.abs(value * 100);
  if (size > 0 && size < 0.01) return value < 0 ? "above −0.01" : "under 0.01";
  return minus(String(Number((value * 100).toFixed(size < 1 ? 2 : size < 10 || digits > 2 ? 1 : 0))));
}

/** A value of the API in display units, without the unit. @param {Value} value @param {Display} display */
export function inUnit(value, display, digits = 3) {
  if (!Number.isFinite(value)) return NOTHING;
  return display.unit === "%" ? percent(value, digits) : number(value * display.factor, digits);
}

/** A value with its unit: 6.9 %, 38 ms, 7.1 requests/s. @param {Value} value */
export function quantity(value, unit = "", digits = 3) {
  if (!Number.isFinite(value)) return NOTHING;
  const display = displayUnit(unit, Math.abs(value));
  return inUnit(value, display, digits) + (display.unit && NBSP + display.unit);
}

/** A sentence whose percent signs stay with their numbers, and whose times are written as everywhere. */
export function unbroken(text) {
  const readable = (text ?? "").replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, (iso) => fullTime(seconds(iso)));
  return readable.replace(/(\d) ?%/g, `$1${NBSP}%`);
}

/** A sentence without the marks of names. */
export const plain = (text) => unbroken(text).replaceAll("`", "");

/** Epoch seconds of an ISO time, or null. @returns {Value} */
export function seconds(iso) {
  const time = iso ? Date.parse(iso) / 1000 : NaN;
  return Number.isFinite(time) ? time : null;
}

const date = (time) => new Date(time * 1000);
const two = (value) => String(value).padStart(2, "0");

/** 09:47 */
export const clock = (time) => `${two(date(time).getUTCHours())}:${two(date(time).getUTCMinutes())}`;

/** 20 Nov */
export const day = (time) => `${date(time).getUTCDate()}${NBSP}${MONTHS[date(time).getUTCMonth()]}`;

/** 20 Nov 2026, 11:00 UTC */
export const fullTime = (time) => `${day(time)} ${date(time).getUTCFullYear()}, ${clock(time)}${NBSP}UTC`;

const sameDay = (a, b) => Math.floor(a / DAY) === Math.floor(b / DAY);

/** 09:47 on the day of `now`, else 19 Nov, 09:47. */
export const moment = (time, now) => (sameDay(time, now) ? clock(time) : `${day(time)}, ${clock(time)}`);

/** 09:47–10:12, or 19 Nov, 22:10 – 20 Nov, 01:00. */
export function timeSpan(from, to) {
  return sameDay(from, to) ? `${clock(from)}–${clock(to)}` : `${day(from)}, ${clock(from)} – ${day(to)}, ${clock(to)}`;
}

/** 48 min, 1 h 13 min, 3 days. @param {number} span seconds */
export function duration(span) {
  const minutes = Math.round(span / MINUTE);
  if (span < MINUTE) return `${Math.max(0, Math.round(span))}${NBSP}s`;
  if (minutes < 60) return `${minutes}${NBSP}min`;
  if (span < DAY) return `${Math.floor(minutes / 60)}${NBSP}h` + (minutes % 60 ? ` ${minutes % 60}${NBSP}min` : "");
  const days = Math.floor(span / DAY);
  return `${days}${NBSP}${days === 1 ? "day" : "days"}`;
}

/** One word for a count and its noun: 1 model, 10 models. */
export const plural = (count, noun) => `${number(count)}${NBSP}${noun}${count === 1 ? "" : "s"}`;

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Versions are written as v7.2, also where the version is a bare number. */
export const versionName = (version) => (/^\d/.test(version) ? `v${version}` : version);
