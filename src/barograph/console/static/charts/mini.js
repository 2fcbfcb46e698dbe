/** Live over reference, small enough for a list. */

import { html, useMemo } from "../html.js";
import { stepsPath } from "./paths.js";

/** @param {{mini: {ref: number[], live: number[]} | null, width?: number, height?: number}} props */
export function MiniOverlay({ mini, width = 150, height = 30 }) {
  return useMemo(() => mini && draw(mini, width, height), [mini, width, height]);
}

function draw({ ref, live }, width, height) {
  const highest = Math.max(...ref, ...live, 1e-12);
  const base = height - 1;
  const tops = (shares) => shares.map((share) => base - (share / highest) * (height - 3));
  const edges = (shares) => [...shares, 0].map((_, index) => 1 + (index / shares.length) * (width - 2));
  return html`<svg class="mini" width=${width} height=${height} viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true">
    <path d=${stepsPath(edges(ref), tops(ref), base, true)} fill="var(--ref-soft)" />
    <path d=${stepsPath(edges(ref), tops(ref), base)} fill="none" stroke="var(--ref)" />
    <path d=${stepsPath(edges(live), tops(live), base)} fill="none" stroke="var(--live)" stroke-width="1.4" />
  </svg>`;
}
