/** The values of a panel at one sample: the same rows in the tooltip and in the table. */

import { NOTHING, inUnit, number } from "../format.js";

/** @param {Panel} panel @param {Series} series */
export function seriesColour(panel, series) {
  if (series.role === "estimate") return "var(--est)";
  if (series.role === "reference") return "var(--ref)";
  if (series.role === "live") return "var(--live)";
  const alone = panel.series.length === 1 && !panel.bands?.length;
  return alone ? "var(--ink-2)" : "var(--live)";
}

/** @param {Display} display */
const suffix = (display) => display.unit && `\u00a0${display.unit}`;

/** @param {Value} low @param {Value} high @param {Display} display */
function span(low, high, display) {
  return low == null || high == null ? NOTHING : `${inUnit(low, display)}–${inUnit(high, display)}${suffix(display)}`;
}

/** A value with the unit that the panel shows. @param {Value} value @param {Display} display */
export function shown(value, display) {
  return value == null ? "no data" : inUnit(value, display) + suffix(display);
}

/**
 * @param {Panel} panel @param {number} index @param {Display} display
 * @returns {{name: string, text: string, colour: string | null}[]}
 */
export function readings(panel, index, display) {
  const rows = panel.series.map((series) => ({
    name: series.name || panel.name,
    text: shown(series.y[index], display),
    colour: seriesColour(panel, series),
  }));
  for (const band of panel.bands ?? []) rows.push({ name: band.name, text: span(band.lo[index], band.hi[index], display), colour: null });
  if (panel.usual) rows.push({ name: "usual", text: span(panel.usual.lo[index], panel.usual.hi[index], display), colour: null });
  if (panel.n) rows.push({ name: "rows", text: number(panel.n[index]), colour: null });
  return rows;
}
