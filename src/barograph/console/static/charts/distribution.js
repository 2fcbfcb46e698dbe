/** Live against reference: a histogram whose areas are shares. Categories are drawn by categories.js. */

import { compact, number, quantity } from "../format.js";
import { html, useContext, useMemo, useState } from "../html.js";
import { CategoryBars, Counts } from "./categories.js";
import { kneeOf } from "./domain.js";
import { ChartContext, label, textWidth, useWidth } from "./layout.js";
import { round, stepsPath } from "./paths.js";
import { linearScale, logScale, spaced, symlogScale } from "./scales.js";
import { ChartTable } from "./table.js";
import { Tooltip } from "./tooltip.js";

const SIDE = 12;
const TOP = 44;
const BOTTOM = 24;
const HEIGHT = 268;
/** Bins thinner than so many pixels are drawn as one: a density over no width has no height. */
const THINNEST = 4;
/** The share of values that may lie beyond the axis; how many do is said below it. */
const BEYOND = 0.002;
/** A shape narrower than this part of the axis asks for a logarithmic one. */
const NARROW = 1 / 12;
/** A median that has moved by such a factor is marked by an arrow. */
const SHIFTED = 1.8;

const sum = (values) => values.reduce((total, value) => total + value, 0);
const share = (value) => quantity(value, "share");

/** @param {{distribution: Distribution, n: Feature["n"], comparison: ComparisonRow[], status: Status, unit: string | null, name: string}} props */
export function DistributionChart(props) {
  const page = useContext(ChartContext);
  if (page.table) return html`<${DistributionTable} ...${props} />`;
  return props.distribution.kind === "categorical" ? html`<${CategoryBars} ...${props} />` : html`<${Histogram} ...${props} />`;
}

function Histogram({ distribution, n, comparison, status, unit, name }) {
  const [ref, width] = useWidth();
  const [chosen, setChosen] = useState(-1);
  const layout = useMemo(() => width && layoutOf(distribution, comparison, status, width), [distribution, comparison, status, width]);
  const shapes = useMemo(() => layout && html`<${Shapes} layout=${layout} />`, [layout]);
  if (!layout) return html`<div class="chart" ref=${ref} style=${{ height: `${HEIGHT}px` }}></div>`;

  const { px, edges, rows, beyond } = layout;
  const last = rows[0].length - 1;
  const index = Math.min(chosen, last);
  const choose = (bin) => setChosen(Math.max(0, Math.min(last, bin)));
  const leave = () => setChosen(-1);
  const onPointerMove = (event) => {
    const offset = event.clientX - event.currentTarget.getBoundingClientRect().left;
    choose(px.findLastIndex((edge) => edge <= offset));
  };
  const onKeyDown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") leave();
    else if (step) choose(Math.max(index, 0) + step * (event.shiftKey ? 10 : 1));
    else return;
    event.preventDefault();
  };
  const axis = { linear: "", log: ", log scale", symlog: ", log scale on both sides of zero" }[layout.kind];
  return html`<div class="chart" ref=${ref} style=${{ height: `${HEIGHT}px` }}>
      <svg width=${width} height=${HEIGHT} role="img" tabindex="0" aria-label=${describe(distribution, comparison, name, unit)}
        onPointerMove=${onPointerMove} onPointerLeave=${leave} onBlur=${leave} onKeyDown=${onKeyDown}>
        ${index >= 0 && html`<rect class="usual" x=${round(px[index])} y=${TOP} width=${round(Math.max(1, px[index + 1] - px[index]))} height=${HEIGHT - BOTTOM - TOP} />`}
        ${shapes}
      </svg>
      ${index >= 0 &&
      html`<${Tooltip}
        x=${(px[index] + px[index + 1]) / 2}
        width=${width}
        top=${TOP}
        title="${number(edges[index])} to ${number(edges[index + 1])} ${unit ?? ""}"
        rows=${namesOf(distribution).map((row, at) => ({ name: row, text: share(rows[at][index]), colour: at ? "var(--live)" : "var(--ref)" }))}
      />`}
    </div>
    <p class="note chart-note">
      <span>Areas are shares of values${axis}</span>
      <${Counts} n=${n} />
      ${Math.max(...beyond) > 0 && html`<span>Beyond the axis: ${share(beyond[1])} of live, ${share(beyond[0])} of reference</span>`}
    </p>`;
}

/** What is drawn: reference, live, and live carried back. @param {Distribution} distribution */
const namesOf = ({ transform }) => ["Reference", "Live", ...(transform ? [`Live ${transform.text}`] : [])];

/** Where everything goes, in pixels. @param {Distribution} distribution */
function layoutOf(distribution, comparison, status, width) {
  const { reference, live, transform } = distribution;
  const all = [reference, live, ...(transform ? [transform.shares] : [])];
  const [first, last] = occupied(all);
  const edges = distribution.edges.slice(first, last + 2);
  const rows = all.map((shares) => shares.slice(first, last + 1));
  const kind = kindOf(distribution.scale, edges, rows);
  const domain = [edges[0], edges[edges.length - 1]];
  const range = [SIDE, width - SIDE];
  const middles = edges.slice(1).map((edge, index) => (edge + edges[index]) / 2);
  const held = middles.filter((_, index) => rows[0][index] > BEYOND / 2);
  const scale = kind === "log" ? logScale(domain, range) : kind === "symlog" ? symlogScale(domain, range, kneeOf(held)) : linearScale(domain, range);
  const px = edges.map(scale.px);
  const drawn = densities(px, rows);
  const base = HEIGHT - BOTTOM;
  const highest = Math.max(...drawn.heights.flat(), 1e-12);
  const tops = drawn.heights.map((heights) => heights.map((height) => base - (height / highest) * (base - TOP)));
  return {
    kind, px, edges, rows, width, tops, scale,
    steps: drawn.edges,
    names: namesOf(distribution),
    beyond: [0, 1].map((row) => Math.max(0, sum(all[row]) - sum(rows[row]))),
    shift: shiftOf(comparison, status, domain),
    ticks: spaced(scale.ticks(Math.max(3, Math.floor(width / 110))), scale.px, (value) => textWidth(compact(value)) + 16),
  };
}

/** The first and the last bin that hold more than a trace. @param {number[][]} rows */
function occupied(rows) {
  const trace = (shares) => {
    const most = (sum(shares) * BEYOND) / 2;
    let mass = 0;
    return Math.max(0, shares.findIndex((value) => (mass += value) > most));
  };
  const last = rows[0].length - 1;
  return [Math.min(...rows.map(trace)), Math.max(...rows.map((shares) => last - trace(shares.toReversed())))];
}

/** The scale on which both shapes can be seen. */
function kindOf(scale, edges, rows) {
  const reach = edges[edges.length - 1] - edges[0];
  if (scale !== "auto" && !(scale === "log" && edges[0] <= 0)) return scale;
  const quantile = (shares, at) => {
    let mass = 0;
    return edges[shares.findIndex((value) => (mass += value) >= at * sum(shares)) + 1];
  };
  const widths = rows.slice(0, 2).map((shares) => quantile(shares, 0.98) - quantile(shares, 0.02));
  return Math.min(...widths) >= reach * NARROW ? "linear" : edges[0] > 0 ? "log" : "symlog";
}

/** Thin bins drawn together; heights are shares per pixel, so that areas compare whatever the bins. */
function densities(px, rows) {
  const edges = [px[0]];
  const heights = rows.map(() => []);
  let masses = rows.map(() => 0);
  for (let index = 1; index < px.length; index += 1) {
    masses = masses.map((mass, row) => mass + rows[row][index - 1]);
    const width = px[index] - edges[edges.length - 1];
    if (width < THINNEST && index + 1 < px.length) continue;
    masses.forEach((mass, row) => heights[row].push(mass / Math.max(1, width)));
    masses = rows.map(() => 0);
    edges.push(px[index]);
  }
  return { edges, heights };
}

/** From median to median, where live is another multiple of the reference. @param {ComparisonRow[]} comparison */
function shiftOf(comparison, status, domain) {
  const { reference: from, live: to, ratio } = comparison.find((row) => row.name === "Median") ?? {};
  const factor = Math.abs(ratio);
  if (!(factor >= SHIFTED || factor <= 1 / SHIFTED) || ratio === null || status === "ok") return null;
  return Math.min(from, to) < domain[0] || Math.max(from, to) > domain[1] ? null : { from, to, text: `×\u00a0${number(ratio)}` };
}

function Shapes({ layout }) {
  const { steps, tops, ticks, scale, shift, width } = layout;
  const base = HEIGHT - BOTTOM;
  return html`${ticks.map((value) => {
      const x = round(scale.px(value));
      return html`<path class="grid-line" d="M${x} ${TOP}V${base}" />${label(x, HEIGHT - 6, compact(value), { anchor: "middle" })}`;
    })}
    ${["ref", "live", "carried"].slice(0, tops.length).map(
      (kind, row) => html`${kind !== "carried" && html`<path class="ground ${kind}" d=${stepsPath(steps, tops[row], base, true)} />`}
        <path class="shape ${kind}" d=${stepsPath(steps, tops[row], base)} />`,
    )}
    <path class="base-line" d="M${SIDE} ${base + 0.5}H${width - SIDE}" />
    <${ShapeNames} layout=${layout} />
    ${shift && html`<${ShiftArrow} shift=${shift} px=${scale.px} />`}`;
}

/** A name on the flank of each shape, on the side away from the other; above the peak where there is no room. */
function ShapeNames({ layout }) {
  const { steps, tops, names, width } = layout;
  const peaks = tops.map((row) => row.indexOf(Math.min(...row)));
  const liveSide = peaks[1] >= peaks[0] ? 1 : -1;
  return tops.map((row, which) => {
    const side = which ? liveSide : -liveSide;
    const half = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - row[peaks[which]]) * 0.55;
    let at = peaks[which];
    while (row[at + side] !== undefined && row[at] < half) at += side;
    const x = (side > 0 ? steps[at] : steps[at + 1]) + 8 * side;
    const end = x + side * textWidth(names[which], 11.5) * 1.08;
    const style = { kind: "direct halo", fill: which ? "var(--live)" : "var(--ref-ink)" };
    if (end > 0 && end < width) return label(x, half - 4, names[which], { ...style, anchor: side > 0 ? "start" : "end" });
    return label((steps[peaks[which]] + steps[peaks[which] + 1]) / 2, row[peaks[which]] - 7, names[which], { ...style, anchor: "middle" });
  });
}

function ShiftArrow({ shift, px }) {
  const y = 20;
  const [from, to] = [round(px(shift.from)), round(px(shift.to))];
  const way = to > from ? 1 : -1;
  const size = textWidth(shift.text, 13) + 24;
  const isShort = Math.abs(to - from) < size + 28;
  const middle = isShort ? Math.max(from, to) + size / 2 + 8 : (from + to) / 2;
  return html`<path class="shift-arrow" d="M${from} ${y - 5}v10M${from} ${y}H${to - 2 * way}m${-6 * way} -4.5l${7 * way} 4.5l${-7 * way} 4.5" />
    <rect x=${round(middle - size / 2)} y=${y - 11} width=${round(size)} height="22" rx="11" fill="var(--crit-soft)" />
    ${label(middle, y + 4.5, shift.text, { kind: "shift", anchor: "middle" })}`;
}

/** One sentence for people who don't see the chart. */
function describe({ transform }, comparison, name, unit) {
  const median = comparison.find((row) => row.name === "Median");
  const of = (value) => quantity(value, unit ?? "");
  const middle = median ? `: the median is ${of(median.reference)} in the reference and ${of(median.live)} live` : "";
  return `Distribution of ${name}, live against reference${middle}${transform ? `; live ${transform.text} is drawn dashed` : ""}.`;
}

function DistributionTable({ distribution, name, unit }) {
  const { edges, labels, reference, live, transform } = distribution;
  const bins = reference.map((_, index) => labels?.[index] ?? `${number(edges[index])} to ${number(edges[index + 1])}`);
  const rows = bins.map((bin, index) => [bin, ...[reference, live, transform?.shares].flatMap((shares) => (shares ? [share(shares[index])] : []))]);
  const held = rows.filter((_, index) => reference[index] > 0 || live[index] > 0);
  return html`<${ChartTable} name="Distribution of ${name}" head=${[unit ?? "Value", ...namesOf(distribution)]} rows=${held} height=${320} />`;
}
