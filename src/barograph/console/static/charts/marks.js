/** What a chart over time draws and leaves alone: limits, usual band, gaps, axes, lines, events, names. */

import { clock, seconds, timeSpan } from "../format.js";
import { html } from "../html.js";
import { FEW } from "./gaps.js";
import { axisLabel, label, pushApart, textWidth } from "./layout.js";
import { areaPath, linePath, round } from "./paths.js";
import { isRaised, tone } from "../status.js";
import { seriesColour, shown } from "./readings.js";

/** Room above and below the plot, in pixels. */
export const TOP = 8;
export const BOTTOM = 20;

const MOST_NAMED_EVENTS = 2;

/** A break in a line that is wider than so many pixels says why. */
const WIDE = 60;

export function Marks({ layout, id, named }) {
  const { left, right, height } = layout;
  const draw = (...kinds) => kinds.map((Mark) => html`<${Mark} layout=${layout} id=${id} named=${named} />`);
  return html`<clipPath id="${id}p"><rect x=${left} y="0" width=${right - left + 2} height=${height} /></clipPath>
    ${draw(Zones)}<g clip-path="url(#${id}p)">${draw(Usual)}</g>${draw(Gaps, Axes, LimitLines)}<g clip-path="url(#${id}p)">${draw(Lines)}</g>${draw(OpenCircles, Events, NamesAtRight)}`;
}

/** Bands that fade away from the limit. */
function Zones({ layout, id }) {
  const { limits, left, right, bottom, y } = layout;
  const within = (px) => Math.max(TOP, Math.min(bottom, px));
  return limits.map(({ value, tone, worse }, index) => {
    const up = worse === "high";
    const next = tone === "warn" && limits.find((other) => other.tone === "crit" && other.worse === worse);
    const ends = [within(y(value)), next ? within(y(next.value)) : up ? TOP : bottom];
    const soft = `var(--${tone}-soft)`;
    return html`<linearGradient id="${id}l${index}" x1="0" x2="0" y1=${up ? 1 : 0} y2=${up ? 0 : 1}>
        <stop offset="0" stop-color=${soft} />
        <stop offset="1" stop-color=${soft} stop-opacity=${tone === "crit" ? 0.12 : 0.55} />
      </linearGradient>
      <rect class="zone" x=${left} y=${round(Math.min(...ends))} width=${right - left} height=${round(Math.abs(ends[0] - ends[1]))} fill="url(#${id}l${index})" />`;
  });
}

/** The lines of limits, each named where the data leaves room for it. */
function LimitLines({ layout }) {
  const { limits, left, right, bottom, y, display, panel, xs } = layout;
  const isFree = (from, to, top, base) =>
    !panel.series.some((series) => series.y.some((value, index) => value != null && xs[index] > from && xs[index] < to && y(value) > top && y(value) < base));
  return limits.map(({ value, tone, worse }) => {
    const at = round(y(value));
    if (at < TOP || at > bottom) return null;
    const crowded = limits.some((other) => other.value !== value && Math.abs(y(other.value) - at) < 14);
    const above = (worse === "high") !== (crowded && tone === "warn");
    const text = `${tone === "crit" ? "act" : "watch"} ${worse === "high" ? "above" : "below"} ${shown(value, display)}`;
    const size = textWidth(text) + 8;
    const box = above ? [at - 15, at - 1] : [at + 1, at + 15];
    const anchor = isFree(left, left + size, ...box) ? "start" : isFree(right - size, right, ...box) ? "end" : "";
    return html`<path class="limit ${tone}" d="M${left} ${at}H${right}" />
      ${anchor &&
      size < right - left - 12 &&
      label(anchor === "start" ? left + 5 : right - 5, at + (above ? -4 : 11), text, { anchor, kind: "halo-thin", fill: `var(--${tone})` })}`;
  });
}

/** The usual band, or the reference's. */
function Usual({ layout }) {
  const { panel, xs, y, left, right } = layout;
  const { usual, reference } = panel;
  return html`${usual && html`<path class="usual" d=${areaPath(xs, usual.lo.map(y), usual.hi.map(y))} />`}
  ${reference && html`<path class="usual" d=${areaPath([left, right], [y(reference.lo), y(reference.lo)], [y(reference.hi), y(reference.hi)])} />`}`;
}

/** The name of a gap, where it is written, and whether there is room for it. */
function gapName(gap, x) {
  const text = gap.text ?? "no data";
  const [middle, size] = [(x(gap.from) + x(gap.to)) / 2, textWidth(text)];
  return { text, from: middle - size / 2, to: middle + size / 2, fits: x(gap.to) - x(gap.from) > size * 0.75 };
}

function Gaps({ layout, id, named }) {
  const { gaps, thin, x, bottom, panel } = layout;
  const few = panel.few ?? FEW;
  return html`<pattern id="${id}h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="base-line" d="M0 0V6" /></pattern>
    ${gaps.map((gap) => {
      const [a, b] = [x(gap.from), x(gap.to)];
      const { text, fits } = gapName(gap, x);
      return html`<rect class="gap" x=${round(a)} y=${TOP} width=${round(Math.max(1, b - a))} height=${bottom - TOP} fill="url(#${id}h)">
          <title>${text}, ${timeSpan(gap.from, gap.to)} UTC</title>
        </rect>
        ${named && fits && label((a + b) / 2, TOP + 10, text, { kind: "halo", anchor: "middle" })}`;
    })}
    ${thin.filter((run) => x(run.to) - x(run.from) > Math.max(WIDE, textWidth(few))).map((run) => label((x(run.from) + x(run.to)) / 2, bottom - 6, few, { kind: "halo", anchor: "middle" }))}`;
}

function Axes({ layout }) {
  const { ticks, times, left, right, bottom, height, x } = layout;
  return html`${ticks.map((tick) => html`<path class="grid-line" d="M${left} ${tick.y}H${right}" />${label(left - 7, tick.y + 3.5, tick.text, { anchor: "end" })}`)}
    ${times.map(({ t, text }) => axisLabel(x(t), height - 4, text, left, right))}
    <path class="base-line" d="M${left} ${bottom + 0.5}H${right}" />`;
}

/** Bands and lines; a line alone turns red only where it is past the limit: over it or, without one, since its alert began. */
function Lines({ layout, id }) {
  const { panel, xs, x, y, limits, width, height } = layout;
  const alone = panel.series.length === 1 && !panel.bands?.length;
  const past = panel.series.length === 1 ? limits : [];
  const since = alone && !panel.limits && panel.since != null && isRaised(panel.status) ? round(x(panel.since)) : null;
  return html`${(panel.bands ?? []).map((band) => html`<path class="band ${band.role ?? ""}" d=${areaPath(xs, band.lo.map(y), band.hi.map(y))} />`)}
    ${panel.series.map((series) => {
      const line = { class: `line ${series.role}`, d: linePath(xs, series.y.map(y)), "stroke-width": height > 120 ? 2 : 1.75 };
      return html`<path ...${line} stroke=${seriesColour(panel, series)} />
        ${since !== null &&
        html`<clipPath id="${id}s"><rect x=${since} width=${round(Math.max(0, width - since))} height=${height} /></clipPath>
          <path ...${line} stroke="var(--${tone(panel.status)}-mark)" clip-path="url(#${id}s)" />`}
        ${past.map(({ value, tone, worse }, index) => {
          const high = worse === "high";
          return html`<clipPath id="${id}k${index}"><rect y=${high ? 0 : round(y(value))} width=${width} height=${round(Math.max(0, high ? y(value) : height - y(value)))} /></clipPath>
            <path ...${line} stroke="var(--${tone}-mark)" clip-path="url(#${id}k${index})" />`;
        })}`;
    })}`;
}

/** Samples that are not final yet. */
function OpenCircles({ layout }) {
  const { panel, xs, y } = layout;
  return panel.series.map((series) =>
    series.open?.map(
      (open, index) =>
        open && series.y[index] != null && html`<circle class="open" cx=${round(xs[index])} cy=${round(y(series.y[index]))} r="3" stroke=${seriesColour(panel, series)} />`,
    ),
  );
}

/** The few events that are named: suspects first, then the latest. @param {TimelineEvent[]} events */
function namedEvents(events, named) {
  const worth = events.filter(({ kind }) => named && kind !== "label" && (kind !== "incident" || named === "all"));
  const suspect = (event) => Number(event.status === "act");
  return worth.sort((a, b) => suspect(b) - suspect(a) || b.t.localeCompare(a.t)).slice(0, MOST_NAMED_EVENTS);
}

function Events({ layout, named }) {
  const { events, gaps, x, left, right, bottom } = layout;
  const names = namedEvents(events, named);
  const taken = gaps.map((gap) => gapName(gap, x)).filter((name) => name.fits);
  return events.map((event) => {
    const px = round(x(seconds(event.t)));
    const incident = event.kind === "incident";
    const line = html`<path class="event ${event.kind}" d="M${px} ${event.kind === "label" ? bottom - 7 : TOP}V${bottom}" />`;
    if (!names.includes(event)) return line;
    const text = incident ? `incident, ${clock(seconds(event.t))}` : event.label; // the page says what it is
    const size = textWidth(text) * 1.08;
    const roomRight = px + size + 8 < right;
    const toLeft = px - size - 8 > left && (!roomRight || (!incident && px > (left + right) / 2));
    if (!toLeft && !roomRight) return line;
    const from = toLeft ? px - 5 - size : px + 5;
    const row = taken.filter((other) => other.from < from + size + 6 && other.to > from - 6).length;
    taken.push({ from, to: from + size });
    const at = incident ? bottom - 8 - row * 13 : TOP + 9 + row * 13;
    return html`${line}${label(toLeft ? px - 5 : px + 5, at, text, { anchor: toLeft ? "end" : "start", kind: "halo strong", fill: incident ? "var(--crit)" : "var(--event)" })}`;
  });
}

/** Names written at the right end: only where there is more than one thing to tell apart. @param {Panel} panel */
export function namesAtRight({ name, series, bands, reference }) {
  if (series.length < 2 && !bands?.length && !reference) return [];
  return [...series.map((one) => one.name || name), ...(bands?.length ? [bands[0].name] : []), ...(reference ? ["reference"] : [])];
}

/** Direct labels where lines and bands end, pushed apart. */
function NamesAtRight({ layout }) {
  const { panel, y, right, bottom } = layout;
  const { series, bands, reference } = panel;
  const last = (values) => y(values.findLast((value) => value != null));
  const ends = series.map((one) => ({ y: last(one.y), fill: one.role === "reference" ? "var(--ref-ink)" : seriesColour(panel, one) }));
  if (bands?.length) ends.push({ y: ends[0].y && (last(bands[0].hi) * 2 + ends[0].y) / 3, fill: "var(--ink-3)" });
  if (reference) ends.push({ y: y(reference.lo) && (y(reference.lo) + y(reference.hi)) / 2, fill: "var(--ref-ink)" });
  const named = namesAtRight(panel).map((text, index) => ({ text, ...ends[index] })).filter((end) => end.y !== null);
  return pushApart(named, TOP + 4, bottom - 2).map(({ text, y: at, fill }) => label(right + 6, at + 4, text, { kind: "direct", fill }));
}
