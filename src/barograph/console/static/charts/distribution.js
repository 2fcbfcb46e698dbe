/** Live against reference: a histogram whose areas are shares, or bars for categories. */

import { compact, number, percent } from "../format.js";
import { html, useContext, useMemo, useState } from "../html.js";
import { ChartContext, textWidth, useWidth } from "./layout.js";
import { round, stepsPath } from "./paths.js";
import { kneeOf } from "./domain.js";
import { linearScale, logScale, spaced, symlogScale } from "./scales.js";
import { ChartTable } from "./table.js";
import { Tooltip } from "./tooltip.js";


const SIDE = 12;
const BOTTOM = 24;
/** Bins thinner than this many pixels are drawn as one: a density over no width has no height. */
const THINNEST = 4;
/** The share of values that may lie beyond the drawn axis, said under the chart. */
const BEYOND = 0.002;
const MOST_CATEGORIES = 16;

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Bins from the first to the last that hold more than a trace. @param {number[][]} rows @returns {[number, number]} */
function occupied(rows) {
  const bounds = rows.map((shares) => {
    const total = sum(shares) || 1;
    let [first, last] = [0, shares.length - 1];
    for (let mass = 0; first < last && mass + shares[first] / total <= BEYOND / 2; first += 1) mass += shares[first] / total;
    for (let mass = 0; last > first && mass + shares[last] / total <= BEYOND / 2; last -= 1) mass += shares[last] / total;
    return [first, last];
  });
  return [Math.min(...bounds.map((bound) => bound[0])), Math.max(...bounds.map((bound) => bound[1]))];
}

/** The value below which a share of the mass lies, by whole bins. */
function quantile(edges, shares, at) {
  const total = sum(shares) || 1;
  let mass = 0;
  for (let index = 0; index < shares.length; index += 1) {
    mass += shares[index] / total;
    if (mass >= at) return (edges[index] + edges[index + 1]) / 2;
  }
  return edges[edges.length - 1];
}

/** The scale on which both shapes can be seen. @param {Distribution} distribution @param {number[]} edges */
function kindOf(distribution, edges) {
  const { scale, reference, live } = distribution;
  if (scale !== "auto" && !(scale === "log" && edges[0] <= 0)) return scale;
  const width = (shares) => quantile(edges, shares, 0.98) - quantile(edges, shares, 0.02);
  const [narrow, wide] = [width(reference), width(live)].sort((a, b) => a - b);
  const reach = edges[edges.length - 1] - edges[0];
  if (narrow <= 0 ? wide < reach / 2 : reach / narrow < 12) return "linear";
  return edges[0] > 0 ? "log" : "symlog";
}

/** Draws thin bins together; heights are shares per pixel, so that areas compare whatever the bins. */
function densities(px, rows) {
  const edges = [px[0]];
  /** @type {number[][]} */
  const heights = rows.map(() => []);
  let masses = rows.map(() => 0);
  for (let index = 0; index + 1 < px.length; index += 1) {
    rows.forEach((shares, row) => (masses[row] += shares[index]));
    const start = edges[edges.length - 1];
    const isLast = index + 2 === px.length;
    if (px[index + 1] - start < THINNEST && !isLast) continue;
    const width = Math.max(1, px[index + 1] - start);
    masses.forEach((mass, row) => heights[row].push(mass / width));
    edges.push(px[index + 1]);
    masses = rows.map(() => 0);
  }
  return { edges, heights };
}

/** @param {{distribution: Distribution, comparison: any[], status: string, unit: string | null, name: string}} props */
export function DistributionChart(props) {
  const page = useContext(ChartContext);
  if (page.table) return html`<${DistributionTable} ...${props} />`;
  return props.distribution.kind === "categorical" ? html`<${CategoryBars} ...${props} />` : html`<${Histogram} ...${props} />`;
}

function layoutOf({ distribution, comparison, status }, width, height) {
  const allEdges = distribution.edges ?? [];
  const ghost = distribution.transform?.shares;
  const all = [distribution.reference, distribution.live, ...(ghost ? [ghost] : [])];
  const [first, last] = occupied(all);
  const edges = allEdges.slice(first, last + 2);
  const rows = all.map((shares) => shares.slice(first, last + 1));
  const kind = kindOf({ ...distribution, reference: rows[0], live: rows[1] }, edges);
  const domain = [edges[0], edges[edges.length - 1]];
  const range = [SIDE, width - SIDE];
  const middles = edges.slice(1).map((edge, index) => (edge + edges[index]) / 2);
  const held = middles.filter((_, index) => rows[0][index] > 0.001);
  const scale = kind === "log" ? logScale(domain, range) : kind === "symlog" ? symlogScale(domain, range, kneeOf(held)) : linearScale(domain, range);
  const px = edges.map(scale.px);
  const drawn = densities(px, rows);
  const top = 44;
  const base = height - BOTTOM;
  const highest = Math.max(...drawn.heights.flat(), 1e-12);
  const y = (density) => base - (density / highest) * (base - top);
  const beyond = all.slice(0, 2).map((shares, row) => Math.max(0, sum(shares) - sum(rows[row])));
  return {
    kind, scale, px, rows, edges, first, top, base, width, height, beyond, ghost: !!ghost,
    drawn: { edges: drawn.edges, tops: drawn.heights.map((row) => row.map(y)) },
    shift: shiftOf(comparison, status, domain),
    ticks: spaced(scale.ticks(Math.max(3, Math.floor(width / 110))), scale.px, (value) => textWidth(compact(value)) + 16),
  };
}

/** From median to median, where the live one is another multiple of the reference's. */
function shiftOf(comparison, status, domain) {
  const median = comparison.find((row) => row.name === "Median");
  const { reference: from, live: to, ratio } = median ?? {};
  const apart = ratio != null && Number.isFinite(ratio) && (Math.abs(ratio) >= 1.8 || Math.abs(ratio) <= 0.55);
  if (!apart || status === "ok" || from == null || to == null) return null;
  if (Math.min(from, to) < domain[0] || Math.max(from, to) > domain[1]) return null;
  return { from, to, text: `×\u00a0${number(ratio)}` };
}

function Histogram({ distribution, comparison, status, unit, name, height = 268 }) {
  const [ref, width] = useWidth();
  const [at, setAt] = useState(-1);
  const layout = useMemo(
    () => (width ? layoutOf({ distribution, comparison, status }, width, height) : null),
    [distribution, comparison, status, width, height],
  );
  const still = useMemo(() => layout && html`<${Shapes} layout=${layout} transform=${distribution.transform} />`, [layout]);
  const count = layout?.rows[0].length ?? 0;
  const index = Math.min(at, count - 1);
  const onPointerMove = (event) => {
    const left = event.currentTarget.getBoundingClientRect().left;
    const found = (layout?.px ?? []).findLastIndex((edge) => edge <= event.clientX - left);
    setAt(Math.max(0, Math.min(count - 1, found)));
  };
  const onKeyDown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") setAt(-1);
    else if (step) setAt(Math.max(0, Math.min(count - 1, (index < 0 ? 0 : index) + step * (event.shiftKey ? 10 : 1))));
    else return;
    event.preventDefault();
  };
  const leave = () => setAt(-1);
  return html`<div class="chart" ref=${ref} style=${{ height: `${height}px` }}>
      ${layout &&
      html`<svg width=${width} height=${height} role="img" tabindex="0" aria-label=${describe(distribution, comparison, name, unit)}
          onPointerMove=${onPointerMove} onPointerLeave=${leave} onBlur=${leave} onKeyDown=${onKeyDown}>
          ${index >= 0 && html`<rect x=${round(layout.px[index])} y=${layout.top} width=${round(Math.max(1, layout.px[index + 1] - layout.px[index]))} height=${layout.base - layout.top} fill="var(--usual)" />`}
          ${still}
        </svg>
        ${index >= 0 && html`<${BinTip} layout=${layout} index=${index} unit=${unit} transform=${distribution.transform} />`}`}
    </div>
    ${layout && html`<${Note} layout=${layout} note=${distribution.note} />`}`;
}

function BinTip({ layout, index, unit, transform }) {
  const rows = [
    { name: "reference", text: `${percent(layout.rows[0][index])}\u00a0%`, colour: "var(--ref)" },
    { name: "live", text: `${percent(layout.rows[1][index])}\u00a0%`, colour: "var(--live)" },
  ];
  if (transform) rows.push({ name: `live ${transform.text}`, text: `${percent(layout.rows[2][index])}\u00a0%`, colour: "var(--live)" });
  const title = `${number(layout.edges[index])} to ${number(layout.edges[index + 1])}${unit ? ` ${unit}` : ""}`;
  return html`<${Tooltip} x=${(layout.px[index] + layout.px[index + 1]) / 2} width=${layout.width} top=${layout.top} title=${title} rows=${rows} />`;
}

/** What the axis is, and what lies beyond it. */
function Note({ layout, note }) {
  const axis = { linear: "", log: ", log scale", symlog: ", log scale on both sides of zero" }[layout.kind];
  const [reference, live] = layout.beyond;
  const beyond = Math.max(reference, live) > 0 ? `Beyond the axis: ${percent(live)}\u00a0% of live, ${percent(reference)}\u00a0% of reference` : "";
  return html`<p class="note chart-note"><span>Areas are shares of values${axis}</span>${note && html`<span>${note}</span>`}${beyond && html`<span>${beyond}</span>`}</p>`;
}

function Shapes({ layout, transform }) {
  const { drawn, base, top, height, ticks, scale, shift, ghost, width } = layout;
  const [reference, live, carried] = drawn.tops;
  return html`${ticks.map((value) => {
      const x = round(scale.px(value));
      return html`<path d="M${x} ${top}V${base}" stroke="var(--grid)" /><text class="axis" x=${x} y=${height - 6} text-anchor="middle">${compact(value)}</text>`;
    })}
    <path d=${stepsPath(drawn.edges, reference, base, true)} fill="var(--ref-soft)" />
    <path d=${stepsPath(drawn.edges, reference, base)} fill="none" stroke="var(--ref)" stroke-width="1.2" />
    <path d=${stepsPath(drawn.edges, live, base, true)} fill="var(--live-soft)" />
    <path d=${stepsPath(drawn.edges, live, base)} fill="none" stroke="var(--live)" stroke-width="1.6" />
    ${ghost && html`<path d=${stepsPath(drawn.edges, carried, base)} fill="none" stroke="var(--live)" stroke-width="1.5" stroke-dasharray="4 3" />`}
    <path d="M${SIDE} ${base + 0.5}H${width - SIDE}" stroke="var(--line-2)" />
    <${ShapeLabels} layout=${layout} transform=${transform} />
    ${shift && html`<${ShiftArrow} shift=${shift} scale=${scale} />`}`;
}

/** A name on the flank of each shape, on the side away from the other. */
function ShapeLabels({ layout, transform }) {
  const { drawn, base, width } = layout;
  const [reference, live, carried] = drawn.tops;
  const peak = (tops) => tops.indexOf(Math.min(...tops));
  const liveRight = peak(live) >= peak(reference);
  const labels = [
    { text: "Reference", ...flank(drawn.edges, reference, base, liveRight ? -1 : 1), fill: "var(--ref-ink)" },
    { text: "Live", ...flank(drawn.edges, live, base, liveRight ? 1 : -1), fill: "var(--live)" },
  ];
  if (carried) labels.push({ text: `Live ${transform.text}`, ...flank(drawn.edges, carried, base, liveRight ? 1 : -1), fill: "var(--live)" });
  return labels.map(({ text, x, y, side, middle, top, fill }) => {
    const size = textWidth(text, 11.5) * 1.08;
    const fits = side > 0 ? x + 8 + size < width : x - 8 - size > 0;
    const [at, height, anchor] = fits ? [x + 8 * side, y, side > 0 ? "start" : "end"] : [middle, top - 7, "middle"];
    return html`<text class="direct halo" x=${round(at)} y=${round(height)} text-anchor=${anchor} style=${{ fill }}>${text}</text>`;
  });
}

/** Where a shape has fallen to half of its peak, going to one side; and the peak, for names that don't fit there. */
function flank(edges, tops, base, side) {
  const peak = tops.indexOf(Math.min(...tops));
  const half = base - (base - tops[peak]) * 0.55;
  let index = peak;
  while (index + side >= 0 && index + side < tops.length && tops[index] < half) index += side;
  return { x: side > 0 ? edges[index] : edges[index + 1], y: half - 4, side, middle: (edges[peak] + edges[peak + 1]) / 2, top: tops[peak] };
}

function ShiftArrow({ shift, scale }) {
  const y = 20;
  const [x1, x2] = [scale.px(shift.from), scale.px(shift.to)];
  const way = x2 > x1 ? 1 : -1;
  const size = textWidth(shift.text, 13) + 24;
  const beside = Math.abs(x2 - x1) < size + 28;
  const middle = beside ? Math.max(x1, x2) + size / 2 + 8 : (x1 + x2) / 2;
  return html`<path
      d="M${round(x1)} ${y - 5}V${y + 5}M${round(x1)} ${y}H${round(x2 - 2 * way)}M${round(x2 - 8 * way)} ${y - 4.5}L${round(x2 - way)} ${y}L${round(x2 - 8 * way)} ${y + 4.5}"
      fill="none" stroke="var(--crit-mark)" stroke-width="1.6"
    />
    <rect x=${round(middle - size / 2)} y=${y - 11} width=${round(size)} height="22" rx="11" fill="var(--crit-soft)" />
    <text class="shift" x=${round(middle)} y=${y + 4.5} text-anchor="middle">${shift.text}</text>`;
}

/** One sentence for people who don't see the chart. */
function describe(distribution, comparison, name, unit) {
  const median = comparison.find((row) => row.name === "Median");
  const of = (value) => `${number(value)}${unit ? ` ${unit}` : ""}`;
  const middle = median ? `: the median is ${of(median.reference)} in the reference and ${of(median.live)} live` : "";
  const carried = distribution.transform ? `; live ${distribution.transform.text} is drawn dashed` : "";
  return `Distribution of ${name}, live against reference${middle}${carried}.`;
}

/** Categories by what changed most, then by size; the rest as one row. */
function categoryRows({ labels, reference, live }) {
  const rows = (labels ?? []).map((label, index) => ({ label, reference: reference[index], live: live[index] }));
  const ordered = rows.sort((a, b) => Math.max(b.reference, b.live) - Math.max(a.reference, a.live));
  if (ordered.length <= MOST_CATEGORIES) return ordered;
  const changed = [...ordered].sort((a, b) => Math.abs(b.live - b.reference) - Math.abs(a.live - a.reference)).slice(0, 4);
  const shown = ordered.filter((row, index) => index < MOST_CATEGORIES - 4 || changed.includes(row));
  const rest = ordered.filter((row) => !shown.includes(row));
  return [...shown, { label: `${rest.length} more`, rest: true, reference: sum(rest.map((row) => row.reference)), live: sum(rest.map((row) => row.live)) }];
}

function CategoryBars({ distribution, name }) {
  const [ref, width] = useWidth();
  const chart = useMemo(() => width && drawBars(distribution, width, name), [distribution, width, name]);
  return html`<div class="chart" ref=${ref}>${chart}</div>
    <p class="note chart-note"><span>Share of values: grey the reference, blue outline live</span>${distribution.note && html`<span>${distribution.note}</span>`}</p>`;
}

function drawBars(distribution, width, name) {
  const rows = categoryRows(distribution);
  const size = 25;
  const left = Math.min(width * 0.34, 14 + Math.max(...rows.map((row) => textWidth(row.label, 12))));
  const right = width - 108;
  const highest = Math.max(...rows.flatMap((row) => (row.rest ? [] : [row.reference, row.live])), 1e-12);
  const x = linearScale([0, highest], [left, right]).px;
  const most = [...rows].sort((a, b) => Math.abs(b.live - b.reference) - Math.abs(a.live - a.reference))[0];
  const sentence = most ? ` The largest change is ${most.label}, from ${percent(most.reference)} % to ${percent(most.live)} %.` : "";
  return html`<svg width=${width} height=${rows.length * size + 6} role="img" aria-label=${`Shares of the categories of ${name}, live against reference.${sentence}`}>
    ${rows.map((row, index) => {
      const y = index * size + 4;
      const changed = Math.abs(row.live - row.reference) >= 0.01;
      return html`<text class="axis category" x=${left - 10} y=${y + 13} text-anchor="end">${clipped(row.label, left - 12)}<title>${row.label}</title></text>
        ${!row.rest &&
        html`<rect x=${left} y=${y + 1} width=${round(Math.max(0.5, x(row.reference) - left))} height="16" fill="var(--ref-soft)" stroke="var(--ref)" stroke-width=".8" />
          <rect x=${left} y=${y + 4} width=${round(Math.max(0.5, x(row.live) - left))} height="10" fill="var(--live-soft)" stroke="var(--live)" stroke-width="1.5" />`}
        <text class="axis ${changed ? "event-name" : ""}" x=${right + 10} y=${y + 13}>${percent(row.reference)} → ${percent(row.live)}\u00a0%</text>`;
    })}
  </svg>`;
}

/** @param {string} text @param {number} room pixels */
function clipped(text, room) {
  if (textWidth(text, 12) <= room) return text;
  const letters = Math.max(3, Math.floor((text.length * room) / textWidth(text, 12)) - 1);
  return `${text.slice(0, letters)}…`;
}

function DistributionTable({ distribution, name, unit }) {
  const { edges, labels, reference, live, transform } = distribution;
  const share = (value) => `${percent(value)}\u00a0%`;
  const names = labels ?? reference.map((_, index) => `${number(edges[index])} to ${number(edges[index + 1])}`);
  const rows = names.map((label, index) => [label, share(reference[index]), share(live[index]), ...(transform ? [share(transform.shares[index])] : [])]);
  const held = rows.filter((_, index) => reference[index] > 0 || live[index] > 0);
  const head = [unit ?? "Value", "Reference", "Live", ...(transform ? [`Live ${transform.text}`] : [])];
  return html`<${ChartTable} name=${`Distribution of ${name}`} head=${head} rows=${held} height=${320} />`;
}
