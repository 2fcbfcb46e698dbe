/** One sentence that says what a chart shows, for people who don't see it. */

import { fullTime, quantity, timeSpan, unbroken } from "../format.js";

/**
 * @param {Panel} panel
 * @param {ChartPage} page
 * @param {Gap[]} gaps
 */
export function describePanel(panel, page, gaps) {
  const main = panel.series[0];
  const values = (main?.y ?? []).filter((value) => value != null);
  const text = panel.text ? `, ${panel.text}` : "";
  const now = `${panel.name}: ${quantity(panel.value, panel.unit)}${text}.`;
  if (!values.length) return unbroken(`${now} No data from ${fullTime(page.from)} to ${fullTime(page.to)}.`);
  const reach = `From ${fullTime(page.from)} to ${fullTime(page.to)} between ${quantity(Math.min(...values), panel.unit)} and ${quantity(Math.max(...values), panel.unit)}.`;
  const missing = gaps.length ? ` No data: ${gaps.slice(0, 3).map((gap) => timeSpan(gap.from, gap.to)).join("; ")}${gaps.length > 3 ? " and more" : ""}.` : "";
  return unbroken(`${now} ${reach}${missing}`);
}
