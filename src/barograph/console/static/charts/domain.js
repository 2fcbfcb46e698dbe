/** What a time chart shows: which limits, which range of values, on which scale. Pure functions. */

import { linearScale, logScale, niceStep, symlogScale } from "./scales.js";

/** How far from the usual level towards a limit the data must come before the limit is drawn. */
const NEAR = 0.6;
/** A narrow usual band must not be zoomed into noise. */
const USUAL_SPANS = 3;

/** @param {Value[]} values @returns {number[]} */
const known = (values) => values.filter(Number.isFinite);

/** @param {Panel} panel */
export function limitsOf(panel) {
  return [panel.limits ?? []].flat();
}

/** All values that a panel draws, without its limits. @param {Panel} panel */
export function drawnValues(panel) {
  const { series, bands, usual, reference } = panel;
  return known([
    ...series.flatMap((one) => one.y),
    ...(bands ?? []).flatMap((band) => [...band.lo, ...band.hi]),
    ...(usual ? [...usual.lo, ...usual.hi] : []),
    ...(reference ? [reference.lo, reference.mid, reference.hi] : []),
  ]);
}

/**
 * Limits that the data comes near: the others are said in words only.
 * @param {Panel} panel
 * @returns {{value: number, tone: string, worse: "high" | "low"}[]} tones "warn" and "crit"
 */
export function nearLimits(panel) {
  const data = known(panel.series.filter((one) => one.role !== "reference").flatMap((one) => one.y));
  if (!data.length) return [];
  const extreme = { high: Math.max(...data), low: Math.min(...data) };
  const usual = {
    high: panel.usual ? Math.max(...known(panel.usual.hi), -Infinity) : -Infinity,
    low: panel.usual ? Math.min(...known(panel.usual.lo), Infinity) : Infinity,
  };
  const near = [];
  for (const { watch, act, worse } of limitsOf(panel)) {
    const sign = worse === "low" ? -1 : 1;
    const opposite = worse === "low" ? extreme.high : panel.zero ? 0 : extreme.low;
    const level = Number.isFinite(usual[worse]) ? usual[worse] : opposite;
    for (const tone of ["warn", "crit"]) {
      const value = tone === "crit" ? act : watch;
      if (value == null) continue;
      const reach = sign * (extreme[worse] - level);
      if (reach >= NEAR * sign * (value - level) || value <= (panel.top ?? -Infinity)) near.push({ value, tone, worse });
    }
  }
  return near;
}

/** The scale that data asks for: logarithmic where it spans orders of magnitude. @param {number[]} values */
export function scaleKind(values) {
  const sizes = values.filter((value) => value !== 0).map(Math.abs).sort((a, b) => a - b);
  if (sizes.length < 2) return "linear";
  const middle = sizes[sizes.length >> 1];
  const largest = sizes[sizes.length - 1];
  if (values.every((value) => value > 0)) return largest / sizes[0] > 60 ? "log" : "linear";
  return largest / middle > 60 ? "symlog" : "linear";
}

/** Where a symmetric log axis turns linear: a power of ten near the usual size of values. @param {number[]} values */
export function kneeOf(values) {
  const sizes = values.filter((value) => value !== 0).map(Math.abs).sort((a, b) => a - b);
  return 10 ** Math.round(Math.log10(sizes[sizes.length >> 1] ?? 1));
}

/** The scale of a panel: the one that it asks for, or the one that its values ask for. @param {Panel} panel */
export function axisKind(panel) {
  return panel.scale === "auto" ? scaleKind(drawnValues(panel)) : panel.scale ?? "linear";
}

/**
 * The value scale of a panel.
 * @param {Panel} panel @param {number[]} range pixels, bottom first @param {number} marks about how many
 * @param {number[]} limits that are drawn
 * @param {number} factor from the API's unit to the one shown, so that marks are round in the latter
 * @returns {Scale}
 */
export function valueScale(panel, range, marks, limits, factor) {
  const values = [...drawnValues(panel), ...limits].map((value) => value * factor);
  const kind = axisKind(panel);
  const reference = known(panel.reference ? Object.values(panel.reference) : []).map((value) => value * factor);
  if (kind === "log") {
    const positive = values.filter((value) => value > 0);
    const low = positive.length ? Math.min(...positive) : 1;
    const high = positive.length ? Math.max(...positive) : 10;
    return logScale([low / 2, high * 2], range);
  }
  let low = values.length ? Math.min(...values) : 0;
  let high = values.length ? Math.max(...values) : 1;
  if (kind === "symlog") return symlogScale([low * (low > 0 ? 0.5 : 2), high * (high < 0 ? 0.5 : 2)], range, kneeOf(reference.length ? reference : values));

  const pad = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  const whole = panel.unit === "share" ? 100 : panel.unit === "" ? 1 : Infinity;
  const ceiling = high <= whole && high > whole / 2 ? whole : Infinity;
  const floor = panel.zero || (panel.unit === "share" && low >= 0) ? 0 : -Infinity;
  low = panel.zero ? Math.min(0, low) : Math.max(floor, low - pad);
  high = Math.min(ceiling, high + pad);
  if (panel.usual) {
    const widths = panel.usual.hi.map((hi, index) => (hi ?? 0) - (panel.usual?.lo[index] ?? hi ?? 0));
    const missing = USUAL_SPANS * Math.max(...widths, 0) * factor - (high - low);
    if (missing > 0) {
      high = Math.min(ceiling, high + (panel.zero ? missing : missing / 2));
      low = panel.zero ? low : Math.max(floor, low - missing / 2);
    }
  }
  if (!(high > low)) high = low + 1;
  if (panel.top != null) high = Math.max(high, panel.top * factor * 1.05);
  const step = niceStep(high - low, marks);
  return linearScale([Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step], range, step);
}
