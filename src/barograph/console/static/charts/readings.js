/** The values of a panel at one sample: the same rows in the tooltip and in the table. */

import { NOTHING, inUnit, number } from "../format.js";

/** @typedef {import("../types.js").Panel} Panel */
/** @typedef {{factor: number, unit: string}} Display */

/** @param {Panel} panel @param {import("../types.js").Series} series */
export function seriesColour(panel, series) {
  if (series.role === "estimate") return "var(--est)";
  if (series.role === "reference") return "var(--ref)";
  if (series.role === "live") return "var(--live)";
  const alone = panel.series.length === 1 && !panel.bands?.length;
  return alone ? "var(--ink-2)" : "var(--live)";
}

/** @param {number | null | undefined} low @param {number | null | undefined} high @param {Display} display */
export function span(low, high, display) {
  return low == null || high == null ? NOTHING : `${inUnit(low, display)}–${inUnit(high, display)}`;
}

/** A value with the unit that the panel shows. @param {number | null | undefined} value @param {Display} display */
export function shown(value, display) {
  return value == null ? "no data" : inUnit(value, display) + (display.unit && `\u00a0${display.unit}`);
}

/**
 * @param {Panel} panel @param {number} index @param {Display} display
 * @returns {{name: string, text: string, colour: string | null}[]}
 */
export function readings(panel, index, display) {
  const rows = panel.series.map((series) => ({
    name: series.name || panel.name,
    text: shown(series.y[index], display),
    colour: /** @type {string | null} */ (seriesColour(panel, series)),
  }));
  for (const band of panel.bands ?? []) rows.push({ name: band.name, text: span(band.lo[index], band.hi[index], display), colour: null });
  if (panel.usual) rows.push({ name: "usual", text: span(panel.usual.lo[index], panel.usual.hi[index], display), colour: null });
  if (panel.n) rows.push({ name: "rows", text: number(panel.n[index]), colour: null });
  return rows;
}
