/** What a panel says: its values at one sample, in tooltip and table alike, and the sentence for those who don't see it. */

import { NOTHING, fullTime, inUnit, number, quantity, timeSpan, unbroken } from "../format.js";
import { FEW, absence } from "./gaps.js";

const ROLES = { estimate: "var(--est)", reference: "var(--ref)", live: "var(--live)" };
const SEVERAL = ["var(--live)", "var(--est)", "var(--ink-2)", "var(--ref-ink)"];

/** One healthy line is grey; several of one kind, such as classes, are told apart. @param {Panel} panel @param {Series} series */
export function seriesColour(panel, series) {
  const alone = panel.series.length === 1 && !panel.bands?.length;
  return ROLES[series.role] ?? (alone ? "var(--ink-2)" : SEVERAL[panel.series.indexOf(series) % SEVERAL.length]);
}

const withUnit = (text, display) => text + (display.unit && `\u00a0${display.unit}`);

/** A value with the unit that the panel shows. @param {Value} value @param {Display} display */
export const shown = (value, display) => withUnit(inUnit(value, display), display);

const span = (low, high, display) =>
  low == null || high == null ? NOTHING : withUnit(`${inUnit(low, display)}–${inUnit(high, display)}`, display);

/** Names and values at a sample; lines carry their colour. @param {Panel} panel @param {Display} display @param {Gap[]} gaps */
export function readings(panel, index, display, gaps) {
  const { bands, usual, n } = panel;
  return [
    ...panel.series.map((series) => ({
      name: series.name || panel.name,
      text: series.y[index] == null ? absence(panel.t[index], gaps, panel.few) : shown(series.y[index], display) + (series.open?.[index] ? ", so far" : ""),
      colour: seriesColour(panel, series),
    })),
    ...(bands ?? []).map(({ name, lo, hi }) => ({ name, text: span(lo[index], hi[index], display) })),
    ...(usual ? [{ name: "usual", text: span(usual.lo[index], usual.hi[index], display) }] : []),
    ...(n ? [{ name: "rows", text: number(n[index]) }] : []),
  ];
}

/** @param {Panel} panel @param {ChartPage} page @param {Gap[]} gaps */
export function describe(panel, page, gaps) {
  const values = panel.series[0].y.filter((value) => value != null);
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => quantity(value, panel.unit));
  const reach = values.length ? `between ${low} and ${high}` : gaps.length ? "no data" : panel.few ?? FEW;
  const holes = gaps.slice(0, 3).map((gap) => timeSpan(gap.from, gap.to));
  const missing = values.length && holes.length ? ` No data: ${holes.join("; ")}${gaps.length > 3 ? " and more" : ""}.` : "";
  const now = [`${panel.name}: ${quantity(panel.value, panel.unit)}`, panel.text].filter(Boolean).join(", ");
  return unbroken(`${now}. From ${fullTime(page.from)} to ${fullTime(page.to)} ${reach}.${missing}`);
}
