/** Live against reference by category: grey bars, blue outlines, both numbers. */

import { number, percent } from "../format.js";
import { html, useMemo } from "../html.js";
import { label, textWidth, useWidth } from "./layout.js";
import { round } from "./paths.js";

const ROW = 25;
const RIGHT = 108;
const LARGEST = 12;
const MOST_CHANGED = 4;
/** A change of so many points is set in bold. */
const CHANGED = 0.01;

export function CategoryBars({ distribution, n, name }) {
  const [ref, width] = useWidth();
  const chart = useMemo(() => width && draw(distribution, width, name), [distribution, width, name]);
  return html`<div class="chart" ref=${ref}>${chart}</div>
    <p class="note chart-note"><span>Shares of values: grey the reference, blue outline live</span><${Counts} n=${n} /></p>`;
}

/** The rows behind each side. @param {{n: Feature["n"]}} props */
export const Counts = ({ n }) => html`<span>Reference: ${number(n.reference)} rows</span><span>Live: ${number(n.live)} rows</span>`;

const change = (row) => Math.abs(row.live - row.reference);

/** The largest categories and the most changed ones; the others as one row. @param {Distribution} distribution */
function rowsOf({ labels, reference, live }) {
  const rows = labels.map((text, index) => ({ text, reference: reference[index], live: live[index] }));
  rows.sort((a, b) => Math.max(b.reference, b.live) - Math.max(a.reference, a.live));
  const changed = [...rows].sort((a, b) => change(b) - change(a)).slice(0, MOST_CHANGED);
  const shown = rows.filter((row, index) => index < LARGEST || changed.includes(row));
  const rest = rows.filter((row) => !shown.includes(row));
  const total = (key) => rest.reduce((sum, row) => sum + row[key], 0);
  return { shown, rest: rest.length ? [{ text: `${rest.length} more`, reference: total("reference"), live: total("live") }] : [], most: changed[0] };
}

function draw(distribution, width, name) {
  const { shown, rest, most } = rowsOf(distribution);
  const rows = [...shown, ...rest];
  const left = Math.min(width * 0.34, 14 + Math.max(...rows.map((row) => textWidth(row.text, 12))));
  const right = width - RIGHT;
  const highest = Math.max(...shown.flatMap((row) => [row.reference, row.live]), 1e-12);
  const size = (value) => round(Math.max(0.5, (value / highest) * (right - left)));
  const sentence = most ? ` The largest change is ${most.text}, from ${percent(most.reference)} % to ${percent(most.live)} %.` : "";
  return html`<svg width=${width} height=${rows.length * ROW + 6} role="img" aria-label="Shares of the categories of ${name}, live against reference.${sentence}">
    ${rows.map((row, index) => {
      const y = index * ROW + 4;
      return html`${label(left - 10, y + 13, clipped(row.text, left - 12), { kind: "category", anchor: "end" })}
        ${index < shown.length &&
        html`<path class="ground ref" d="M${left} ${y + 1}h${size(row.reference)}v16H${left}" />
          <path class="shape ref" d="M${left} ${y + 1}h${size(row.reference)}v16H${left}Z" />
          <path class="ground live" d="M${left} ${y + 4}h${size(row.live)}v10H${left}" />
          <path class="shape live" d="M${left} ${y + 4}h${size(row.live)}v10H${left}Z" />`}
        ${label(right + 10, y + 13, `${percent(row.reference)} → ${percent(row.live)}\u00a0%`, { kind: change(row) >= CHANGED ? "strong name" : "" })}`;
    })}
  </svg>`;
}

/** As much of a text as fits. */
function clipped(text, room) {
  const size = textWidth(text, 12);
  return size <= room ? text : `${text.slice(0, Math.max(3, Math.floor((text.length * room) / size) - 1))}…`;
}
