/** The values under the crosshair, beside it. */

import { html } from "../html.js";

/** @param {{x: number, width: number, top: number, title: string, rows: {name: string, text: string, colour?: string}[]}} props */
export function Tooltip({ x, width, top, title, rows }) {
  const side = x > width / 2 ? { right: `${width - x + 12}px` } : { left: `${x + 12}px` };
  return html`<div class="tooltip" role="status" style=${{ ...side, top: `${top}px` }}>
    <div class="tooltip-minor">${title}</div>
    ${rows.map(
      ({ name, text, colour }) => html`<div class=${colour ? "" : "tooltip-minor"}>
        ${colour && html`<i style=${{ background: colour }}></i>`}${name} <b>${text}</b>
      </div>`,
    )}
  </div>`;
}
