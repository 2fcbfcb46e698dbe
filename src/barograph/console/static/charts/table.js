/** The table view of a chart: everything that its tooltips say, in rows. */

import { html } from "../html.js";

/**
 * @param {{name: string, head: string[], rows: string[][], height: number}} props the first column is text, the rest numbers
 */
export function ChartTable({ name, head, rows, height }) {
  return html`<div class="chart-table" role="region" tabindex="0" aria-label="${name}, table" style=${{ maxHeight: `${Math.max(140, height)}px` }}>
    <table>
      <thead>
        <tr>${head.map((title, index) => html`<th scope="col" class=${index ? "num" : ""}>${title}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr>${row.map((cell, index) => html`<td class=${index ? "num" : ""}>${cell}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}
