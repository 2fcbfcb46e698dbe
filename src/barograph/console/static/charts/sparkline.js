/** A line in a table cell: the key output, its usual band, and a ribbon of states under it. */

import { html, useMemo } from "../html.js";
import { isRaised, tone } from "../status.js";
import { linePath, round } from "./paths.js";
import { linearScale } from "./scales.js";


const RIBBON = 7;

/**
 * The last state of the ribbon that lasts to its end, and where it began.
 * @param {Status[]} ribbon @returns {number} index, or -1 when the end is not past a limit
 */
function onset(ribbon) {
  const last = ribbon[ribbon.length - 1];
  if (!isRaised(last)) return -1;
  let index = ribbon.length - 1;
  while (index > 0 && isRaised(ribbon[index - 1])) index -= 1;
  return index > 0 ? index : -1;
}

/** Runs of equal states. @param {Status[]} ribbon */
function runs(ribbon) {
  /** @type {{status: Status, from: number, to: number}[]} */
  const found = [];
  ribbon.forEach((status, index) => {
    const last = found[found.length - 1];
    if (last?.status === status) last.to = index + 1;
    else found.push({ status, from: index, to: index + 1 });
  });
  return found;
}

/** @param {{spark: Spark, status: Status, name: string, width?: number, height?: number}} props */
export function Sparkline({ spark, status, name, width = 150, height = 34 }) {
  return useMemo(() => draw(spark, status, name, width, height), [spark, status, name, width, height]);
}

function draw({ t, y, usual, ribbon }, status, name, width, height) {
  const values = y.filter((value) => value != null);
  if (!values.length) return html`<span class="muted">–</span>`;
  const all = [...values, ...(usual ?? [])];
  let [low, high] = [Math.min(...all), Math.max(...all)];
  const widest = usual ? 1.5 * (usual[1] - usual[0]) - (high - low) : 0;
  if (widest > 0) [low, high] = [low - widest / 2, high + widest / 2];
  const pad = (high - low) * 0.1 || 1;
  const x = linearScale([t[0], t[t.length - 1]], [2, width - 4]).px;
  const py = linearScale([low - pad, high + pad], [height - RIBBON - 2, 2]).px;
  const colour = isRaised(status) ? `var(--${tone(status)}-mark)` : "var(--ink-2)";
  const start = onset(ribbon);
  const end = y.length - 1;
  const slot = (width - 6) / Math.max(1, ribbon.length);
  return html`<svg class="spark" width=${width} height=${height} role="img" aria-label=${name}>
    ${usual && html`<rect x="2" y=${round(py(usual[1]))} width=${width - 6} height=${round(Math.max(1, py(usual[0]) - py(usual[1])))} fill="var(--usual)" />`}
    ${start > 0 && html`<path d="M${round(x(t[start]))} 1V${height - RIBBON - 1}" stroke="var(--event)" stroke-dasharray="2 2" stroke-opacity=".8" />`}
    <path d=${linePath(t.map(x), y.map((value) => (value == null ? null : py(value))))} fill="none" stroke=${colour} stroke-width="1.5" stroke-linejoin="round" />
    ${y[end] != null && html`<circle cx=${round(x(t[end]))} cy=${round(py(y[end]))} r="2.4" fill=${colour} />`}
    ${runs(ribbon).map(({ status: state, from, to }) => {
      const fill = isRaised(state) ? `var(--${tone(state)}-mark)` : state === "ok" ? "var(--line-2)" : "var(--none-mark)";
      const faint = state === "no_data" || state === "learning";
      return html`<rect x=${round(2 + from * slot)} y=${height - 3.5} width=${round(Math.max(0.8, (to - from) * slot - 0.8))} height="3" rx="1" fill=${fill} opacity=${faint ? 0.45 : 1} />`;
    })}
  </svg>`;
}
