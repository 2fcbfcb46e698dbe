/** The table view of a chart: everything that its tooltips say, in rows. */

import { html } from "../html.js";

/**
 * @param {{name: string, head: string[], rows: string[][], height: number, words?: boolean}} props the first column is
 *   text, the rest numbers, or with `words` text too
 */
export function ChartTable({ name, head, rows, height, words = false }) {
  const align = (index) => (index && !words ? "num" : "");
  return html`<div class="chart-table" role="region" tabindex="0" aria-label="${name}, table" style=${{ maxHeight: `${Math.max(140, height)}px` }}>
    <table>
      <thead>
        <tr>${head.map((title, index) => html`<th scope="col" class=${align(index)}>${title}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr>${row.map((cell, index) => html`<td class=${align(index)}>${cell}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}
