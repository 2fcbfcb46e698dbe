/** A line in a table cell: the key output, its usual band, and a ribbon of states under it. */

import { html, useMemo } from "../html.js";
import { isRaised, tone } from "../status.js";
import { areaPath, linePath, round } from "./paths.js";
import { linearScale } from "./scales.js";

const RIBBON = 7;
/** The band fills at most two thirds of the height, so that ordinary noise looks small. */
const USUAL_SPANS = 1.5;

/** @param {{spark: Spark, status: Status, name: string, width?: number, height?: number}} props */
export function Sparkline({ spark, status, name, width = 150, height = 34 }) {
  return useMemo(() => draw(spark, status, name, width, height), [spark, status, name, width, height]);
}

/** Where the states past a limit that last until now began, or -1. @param {Status[]} ribbon */
function onset(ribbon) {
  const before = ribbon.findLastIndex((status) => !isRaised(status));
  return before < ribbon.length - 1 ? before + 1 : -1;
}

/** Runs of equal states. @param {Status[]} ribbon */
function runs(ribbon) {
  const found = [];
  ribbon.forEach((status, index) => {
    const last = found[found.length - 1];
    if (last?.status === status) last.to = index + 1;
    else found.push({ status, from: index, to: index + 1 });
  });
  return found;
}

function draw({ t, y, usual, ribbon }, status, name, width, height) {
  const values = y.filter((value) => value != null);
  if (!values.length) return html`<span class="muted">–</span>`;
  let [low, high] = [Math.min(...values, ...(usual ?? [])), Math.max(...values, ...(usual ?? []))];
  const missing = usual ? Math.max(0, USUAL_SPANS * (usual[1] - usual[0]) - (high - low)) : 0;
  const pad = (high - low + missing) * 0.1 || 1;
  [low, high] = [low - missing / 2 - pad, high + missing / 2 + pad];
  const ends = [2, width - 4];
  const x = linearScale([t[0], t[t.length - 1]], ends).px;
  const py = linearScale([low, high], [height - RIBBON - 2, 2]).px;
  const colour = isRaised(status) ? `var(--${tone(status)}-mark)` : "var(--ink-2)";
  const start = onset(ribbon);
  const last = y.length - 1;
  const slot = (ends[1] - ends[0]) / ribbon.length;
  return html`<svg class="spark" width=${width} height=${height} role="img" aria-label=${name}>
    ${usual && html`<path class="usual" d=${areaPath(ends, [py(usual[0]), py(usual[0])], [py(usual[1]), py(usual[1])])} />`}
    ${start > 0 && html`<path class="event" d="M${round(x(t[start]))} 1V${height - RIBBON - 1}" />`}
    <path class="line" d=${linePath(t.map(x), y.map((value) => (value == null ? null : py(value))))} stroke=${colour} stroke-width="1.5" />
    ${y[last] != null && html`<circle cx=${round(x(t[last]))} cy=${round(py(y[last]))} r="2.4" fill=${colour} />`}
    ${runs(ribbon).map(
      (run) => html`<rect class="ribbon ${run.status}" x=${round(2 + run.from * slot)} y=${height - 3.5} width=${round(Math.max(0.8, (run.to - run.from) * slot - 0.8))} height="3" rx="1" />`,
    )}
  </svg>`;
}
