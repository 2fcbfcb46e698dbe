/** The values under the crosshair. */

import { html } from "../html.js";

/**
 * @param {{x: number, width: number, top: number, title: string,
 *   rows: {name: string, text: string, colour: string | null}[]}} props pixels within the chart
 */
export function Tooltip({ x, width, top, title, rows }) {
  const side = x > width / 2 ? { right: `${width - x + 12}px` } : { left: `${x + 12}px` };
  return html`<div class="tooltip" role="status" style=${{ ...side, top: `${top}px` }}>
    <div class="tooltip-title">${title}</div>
    ${rows.map(
      (row) => html`<div class=${row.colour ? "" : "tooltip-minor"}>
        ${row.colour && html`<i style=${{ background: row.colour }}></i>`}${row.name} <b>${row.text}</b>
      </div>`,
    )}
  </div>`;
}
