/** Live over reference, small enough for a list. */

import { html, useMemo } from "../html.js";
import { stepsPath } from "./paths.js";

/** @param {{mini: ColumnRow["mini"], width?: number, height?: number}} props */
export function MiniOverlay({ mini, width = 150, height = 30 }) {
  return useMemo(() => mini && draw(mini, width, height), [mini, width, height]);
}

function draw({ ref, live }, width, height) {
  const highest = Math.max(...ref, ...live, 1e-12);
  const base = height - 1;
  const path = (shares, closed = false) => {
    const edges = [...shares, 0].map((_, index) => 1 + (index / shares.length) * (width - 2));
    return stepsPath(edges, shares.map((share) => base - (share / highest) * (height - 3)), base, closed);
  };
  return html`<svg class="mini" width=${width} height=${height} viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">
    <path class="ground ref" d=${path(ref, true)} />
    <path class="shape ref" d=${path(ref)} />
    <path class="shape live" d=${path(live)} />
  </svg>`;
}
