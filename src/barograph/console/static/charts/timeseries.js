/** A chart over time: usual band, limits that are near, gaps, events, lines with direct labels, shared crosshair. */

import { compact, displayUnit, moment, timeSpan } from "../format.js";
import { html, useContext, useMemo } from "../html.js";
import { ChartPage, pushApart, textWidth, useId, useWidth } from "./layout.js";
import { cursorHandlers, useCursor } from "./cursor.js";
import { describePanel } from "./describe.js";
import { drawnValues, nearLimits, valueScale } from "./domain.js";
import { findGaps } from "./gaps.js";
import { areaPath, linePath, round } from "./paths.js";
import { readings, seriesColour, shown } from "./readings.js";
import { linearScale, nearestIndex, samplingStep, spaced, timeTicks } from "./scales.js";
import { Tooltip } from "./tooltip.js";

/** @typedef {ReturnType<typeof layoutOf>} Layout */

const TOP = 8;
const BOTTOM = 20;
const EVENT_COLOUR = { deployment: "var(--event)", change: "var(--event)", incident: "var(--crit-mark)", label: "var(--est)" };
const NAMED_EVENTS = 2;
const HALO = { "paint-order": "stroke", stroke: "var(--surface)", "stroke-width": 4 };

/** The unit in which a panel's values are shown, on its axis and everywhere else. @param {Panel} panel */
export function panelDisplay(panel) {
  return displayUnit(panel.unit, Math.max(0, ...drawnValues(panel).map(Math.abs), Math.abs(panel.value ?? 0)));
}

/**
 * Where everything goes: pure geometry.
 * @param {Panel} panel @param {ChartPage} page @param {number} width @param {number} height
 */
function layoutOf(panel, page, width, height) {
  const display = panelDisplay(panel);
  const limits = nearLimits(panel);
  const bottom = height - BOTTOM;
  const marks = Math.max(2, Math.round((height - 28) / 42));
  const scale = valueScale(panel, [bottom, TOP], marks, limits.map((limit) => limit.value), display.factor);
  const y = (value) => (value == null ? null : scale.px(value * display.factor));
  const ticks = spaced(scale.ticks(marks), scale.px, () => 14).map((value) => ({ y: round(scale.px(value)), text: compact(value) }));
  const names = rightNames(panel);
  const left = Math.max(22, ...ticks.map((tick) => textWidth(tick.text) + 10));
  const right = width - (names.length ? Math.min(width * 0.3, 14 + Math.max(...names.map((name) => textWidth(name, 11.5) * 1.06))) : 10);
  const time = linearScale([page.from, page.to], [left, right]);
  return {
    panel, display, limits, ticks, width, height, left, right, bottom, y,
    x: time.px,
    timeAt: time.value,
    xs: panel.t.map(time.px),
    times: timeTicks(page.from, page.to, right - left),
    gaps: findGaps(panel.t, anyValue(panel), page.from, page.to, page.gaps),
    events: page.events.filter((event) => event.label && within(Date.parse(event.t) / 1000, page)),
  };
}

const within = (t, page) => t >= page.from && t <= page.to;

/** A value where any series has one: only where all are missing is there no data. @param {Panel} panel */
const anyValue = (panel) => panel.t.map((_, index) => panel.series.find((series) => series.y[index] != null)?.y[index] ?? null);

/** Names written at the right end: only where there is more than one thing to tell apart. @param {Panel} panel */
function rightNames(panel) {
  const several = panel.series.length > 1 || panel.bands?.length || panel.reference;
  if (!several) return [];
  const names = panel.series.map((series) => series.name || panel.name);
  if (panel.bands?.length) names.push(panel.bands[0].name);
  if (panel.reference) names.push("reference");
  return names;
}

/** @param {{panel: Panel, height?: number, named?: boolean | "all", lead?: boolean}} props `named`: gaps and changes carry names */
export function TimeSeries({ panel, height = 104, named = false, lead = false }) {
  const page = useContext(ChartPage);
  const [ref, width] = useWidth();
  const id = useId();
  const layout = useMemo(() => (width ? layoutOf(panel, page, width, height) : null), [panel, page, width, height]);
  const still = useMemo(() => layout && html`<${Still} layout=${layout} id=${id} named=${named} />`, [layout, named]);
  return html`<div class="chart" ref=${ref} style=${{ height: `${height}px` }}>
    ${layout && html`<${Live} layout=${layout} page=${page} id=${id} lead=${lead}>${still}<//>`}
  </div>`;
}

/** The svg with its crosshair: the only part that moves with the pointer. */
function Live({ layout, page, id, lead, children }) {
  const { panel, left, right, bottom, display, y } = layout;
  const cursor = useCursor();
  const index = cursor.t === null || !panel.t.length ? -1 : nearestIndex(panel.t, cursor.t);
  const near = index >= 0 && Math.abs(panel.t[index] - (cursor.t ?? 0)) <= Math.max(samplingStep(panel.t), 1);
  const x = cursor.t === null ? null : round(layout.x(near ? panel.t[index] : cursor.t));
  const inside = x !== null && x >= left - 1 && x <= right + 1;
  const indexAt = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    return nearestIndex(panel.t, layout.timeAt(event.clientX - box.left));
  };
  const dots = inside && near ? panel.series.filter((series) => series.y[index] != null) : [];
  const withTip = inside && (cursor.source === id || (lead && cursor.source === null));
  const firstY = dots.length ? y(dots[0].y[index]) : null;
  return html`<svg
      role="img"
      tabindex="0"
      width=${layout.width}
      height=${layout.height}
      aria-label=${describePanel(panel, page, layout.gaps)}
      ...${cursorHandlers({ id, times: panel.t, indexAt })}
    >
      ${children}
      ${inside &&
      html`<g class="crosshair">
        <path d="M${x} ${TOP}V${bottom}" stroke="var(--ink-3)" />
        ${dots.map(
          (series) => html`<circle cx=${x} cy=${round(y(series.y[index]) ?? 0)} r="3.6" fill=${seriesColour(panel, series)} stroke="var(--surface)" stroke-width="1.6" />`,
        )}
      </g>`}
    </svg>
    ${withTip &&
    html`<${Tooltip}
      x=${x}
      width=${layout.width}
      top=${firstY !== null && firstY < layout.height * 0.45 ? layout.height * 0.5 : 0}
      title=${`${moment(near ? panel.t[index] : cursor.t, page.now)} UTC`}
      rows=${near ? readings(panel, index, display) : [{ name: panel.name, text: "no data", colour: null }]}
    />`}`;
}

/** Everything that stays still until new data comes. @param {{layout: Layout, id: string, named: boolean | "all"}} props */
function Still({ layout, id, named }) {
  return html`<${Limits} layout=${layout} id=${id} />
    <${Usual} layout=${layout} />
    <${Gaps} layout=${layout} id=${id} named=${named} />
    <${Axes} layout=${layout} />
    <${LimitLines} layout=${layout} />
    <${Bands} layout=${layout} />
    <${Lines} layout=${layout} id=${id} />
    <${Events} layout=${layout} named=${named} />
    <${RightLabels} layout=${layout} />`;
}

/** Bands that fade away from the limit. */
function Limits({ layout, id }) {
  const { limits, left, right, bottom, y } = layout;
  return limits.map((limit, index) => {
    const up = limit.worse === "high";
    const at = clamp(y(limit.value) ?? bottom, bottom);
    const act = limits.find((other) => other.tone === "crit" && other.worse === limit.worse);
    const end = limit.tone === "warn" && act ? clamp(y(act.value) ?? bottom, bottom) : up ? TOP : bottom;
    const height = Math.abs(at - end);
    if (height < 0.5) return null;
    const soft = `var(--${limit.tone}-soft)`;
    return html`<defs>
        <linearGradient id=${`${id}l${index}`} x1="0" x2="0" y1=${up ? 1 : 0} y2=${up ? 0 : 1}>
          <stop offset="0" stop-color=${soft} />
          <stop offset="1" stop-color=${soft} stop-opacity=${limit.tone === "crit" ? 0.12 : 0.55} />
        </linearGradient>
      </defs>
      <rect class="zone" x=${left} y=${round(Math.min(at, end))} width=${right - left} height=${round(height)} fill="url(#${id}l${index})" />`;
  });
}

const clamp = (px, bottom) => Math.max(TOP, Math.min(bottom, px));

/** Whether no line runs through a box of pixels. @param {Layout} layout */
function isFree({ panel, xs, y }, left, right, top, bottom) {
  const crosses = (value, index) => {
    const at = y(value);
    return at !== null && xs[index] > left && xs[index] < right && at > top && at < bottom;
  };
  return !panel.series.some((series) => series.y.some(crosses));
}

/** The limits' lines, each named where the data leaves room for it. */
function LimitLines({ layout }) {
  const { limits, left, right, bottom, y, display } = layout;
  return limits.map((limit) => {
    const at = round(y(limit.value) ?? 0);
    if (at < TOP || at > bottom) return null;
    const crowded = limits.some((other) => other !== limit && Math.abs((y(other.value) ?? 0) - at) < 14);
    const above = (limit.worse === "high") !== (crowded && limit.tone === "warn");
    const side = limit.worse === "high" ? "above" : "below";
    const text = `${limit.tone === "crit" ? "act" : "watch"} ${side} ${shown(limit.value, display)}`;
    const size = textWidth(text) + 8;
    const [top, base] = above ? [at - 15, at - 1] : [at + 1, at + 15];
    const places = [{ x: left + 5, anchor: "start" }, { x: right - 5, anchor: "end" }];
    const place = places.find(({ anchor }) => (anchor === "start" ? isFree(layout, left, left + size, top, base) : isFree(layout, right - size, right, top, base)));
    return html`<path d="M${left} ${at}H${right}" stroke="var(--${limit.tone}-mark)" stroke-opacity=".55" stroke-dasharray=${limit.tone === "crit" ? "none" : "3 3"} />
      ${place && size < right - left - 12 &&
      html`<text class="axis halo-thin" x=${place.x} y=${at + (above ? -4 : 11)} text-anchor=${place.anchor} style=${{ fill: `var(--${limit.tone})` }}>${text}</text>`}`;
  });
}

function Usual({ layout }) {
  const { panel, xs, y, left, right } = layout;
  const { usual, reference } = panel;
  return html`${usual && html`<path d=${areaPath(xs, usual.lo.map(y), usual.hi.map(y))} fill="var(--usual)" />`}
  ${reference &&
  html`<rect x=${left} y=${round(y(reference.hi) ?? 0)} width=${right - left} height=${round(Math.max(1, (y(reference.lo) ?? 0) - (y(reference.hi) ?? 0)))} fill="var(--usual)" />`}`;
}

function Gaps({ layout, id, named }) {
  const { gaps, x, bottom } = layout;
  if (!gaps.length) return null;
  return html`<defs>
      <pattern id=${`${id}h`} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <path d="M0 0V6" stroke="var(--line-2)" />
      </pattern>
    </defs>
    ${gaps.map((gap) => {
      const [a, b] = [x(gap.from), x(gap.to)];
      const text = gap.text ?? "no data";
      return html`<rect x=${round(a)} y=${TOP} width=${round(Math.max(1, b - a))} height=${bottom - TOP} fill="url(#${id}h)" opacity=".75"
          ><title>${text}, ${timeSpan(gap.from, gap.to)} UTC</title></rect
        >${named && b - a > textWidth(text) * 0.75 && html`<text class="axis" x=${round((a + b) / 2)} y=${TOP + 10} text-anchor="middle" ...${HALO}>${text}</text>`}`;
    })}`;
}

function Axes({ layout }) {
  const { ticks, times, left, right, bottom, height, x } = layout;
  return html`${ticks.map(
      (tick) => html`<path d="M${left} ${tick.y}H${right}" stroke="var(--grid)" /><text class="axis" x=${left - 7} y=${tick.y + 3.5} text-anchor="end">${tick.text}</text>`,
    )}
    ${times.map(({ t, text }) => html`<${TimeMark} px=${round(x(t))} left=${left} right=${right} y=${height - 4} text=${text} />`)}
    <path d="M${left} ${bottom + 0.5}H${right}" stroke="var(--line-2)" />`;
}

/** A mark of the time axis, kept within the plot. */
export function TimeMark({ px, left, right, y, text }) {
  const half = textWidth(text) / 2;
  const anchor = px > right - half + 4 ? "end" : px < left + half - 4 ? "start" : "middle";
  return html`<text class="axis" x=${anchor === "end" ? Math.min(px, right) : px} y=${y} text-anchor=${anchor}>${text}</text>`;
}

function Bands({ layout }) {
  const { panel, xs, y } = layout;
  return (panel.bands ?? []).map((band) => html`<path d=${areaPath(xs, band.lo.map(y), band.hi.map(y))} fill="var(--live-soft)" />`);
}

/** Lines; a line alone turns red only where it is past the limit. */
function Lines({ layout, id }) {
  const { panel, xs, y, limits, width, height } = layout;
  const alone = panel.series.length === 1;
  return panel.series.map((series) => {
    const path = linePath(xs, series.y.map(y));
    const stroke = seriesColour(panel, series);
    const thick = height > 120 ? 2 : 1.75;
    const line = html`<path d=${path} fill="none" stroke=${stroke} stroke-width=${thick} stroke-linejoin="round" stroke-linecap="round" stroke-dasharray=${series.role === "estimate" ? "4 3" : null} />`;
    if (!alone) return line;
    return html`${line}${limits.map((limit, index) => {
      const at = y(limit.value) ?? 0;
      const [top, size] = limit.worse === "high" ? [0, at] : [at, height - at];
      return html`<defs><clipPath id=${`${id}k${index}`}><rect x="0" y=${round(top)} width=${width} height=${round(Math.max(0, size))} /></clipPath></defs>
        <path d=${path} clip-path="url(#${id}k${index})" fill="none" stroke="var(--${limit.tone}-mark)" stroke-width=${thick} stroke-linejoin="round" stroke-linecap="round" />`;
    })}`;
  });
}

/**
 * The few events that a chart names: suspects first, then the latest.
 * @param {TimelineEvent[]} events @param {boolean | "all"} named "all": incidents too
 */
function namedEvents(events, named) {
  if (!named) return new Set();
  const candidates = events.filter((event) => event.kind !== "label" && (event.kind !== "incident" || named === "all"));
  const hot = (event) => Number(event.status === "act");
  return new Set(candidates.sort((a, b) => hot(b) - hot(a) || b.t.localeCompare(a.t)).slice(0, NAMED_EVENTS));
}

function Events({ layout, named }) {
  const { events, x, left, right, bottom } = layout;
  const names = namedEvents(events, named);
  /** @type {{from: number, to: number, row: number}[]} */
  const taken = [];
  return events.map((event) => {
    const px = round(x(Date.parse(event.t) / 1000));
    const colour = EVENT_COLOUR[event.kind];
    if (event.kind === "label") return html`<path d="M${px} ${bottom - 7}V${bottom}" stroke=${colour} stroke-width="2" />`;
    const line = html`<path d="M${px} ${TOP}V${bottom}" stroke=${colour} stroke-dasharray=${event.kind === "incident" ? "none" : "2 3"} stroke-opacity=".7" />`;
    if (!names.has(event)) return line;
    const size = textWidth(event.label) * 1.08;
    const prefersLeft = event.kind === "incident" ? px + size + 8 > right : px > (left + right) / 2 || px + size > right;
    const toLeft = prefersLeft && px - size - 8 > left;
    const from = toLeft ? px - 5 - size : px + 5;
    if (!toLeft && from + size > right + 8) return line;
    const row = taken.filter((other) => other.from < from + size + 6 && other.to > from - 6).length;
    taken.push({ from, to: from + size, row });
    const y = event.kind === "incident" ? bottom - 8 - row * 13 : TOP + 9 + row * 13;
    const fill = event.kind === "incident" ? "var(--crit)" : colour;
    return html`${line}<text class="axis strong" x=${px + (toLeft ? -5 : 5)} y=${y} text-anchor=${toLeft ? "end" : "start"} style=${{ fill }} ...${HALO}>${event.label}</text>`;
  });
}

/** Direct labels at the right end, pushed apart. */
function RightLabels({ layout }) {
  const { panel, y, right, bottom } = layout;
  if (!rightNames(panel).length) return null;
  const last = (values) => values.findLast((value) => value != null) ?? null;
  const labels = panel.series.map((series) => ({ text: series.name || panel.name, y: y(last(series.y)), fill: labelInk(series) }));
  const main = labels[0]?.y ?? null;
  if (panel.bands?.length) {
    const edge = y(last(panel.bands[0].hi));
    labels.push({ text: panel.bands[0].name, y: edge === null || main === null ? edge : (edge * 2 + main) / 3, fill: "var(--ink-3)" });
  }
  const { reference } = panel;
  if (reference) labels.push({ text: "reference", y: ((y(reference.lo) ?? 0) + (y(reference.hi) ?? 0)) / 2, fill: "var(--ref-ink)" });
  const placed = labels.filter((label) => label.y !== null).map((label) => ({ ...label, y: label.y ?? 0 }));
  return pushApart(placed, TOP + 4, bottom - 2).map(
    (label) => html`<text class="direct" x=${right + 6} y=${round(label.y + 4)} style=${{ fill: label.fill }}>${label.text}</text>`,
  );
}

/** @param {Series} series */
const labelInk = (series) => ({ reference: "var(--ref-ink)", estimate: "var(--est)", live: "var(--live)", main: "var(--live)" })[series.role];
