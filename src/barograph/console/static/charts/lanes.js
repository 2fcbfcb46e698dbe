/** The timeline: incidents as bars, changes as diamonds, arrivals of labels as ticks. */

import { fullTime, plural, seconds, unbroken } from "../format.js";
import { html, useContext, useMemo } from "../html.js";
import { ChartPage, textWidth, useWidth } from "./layout.js";
import { round } from "./paths.js";
import { linearScale, timeTicks } from "./scales.js";
import { ChartTable } from "./table.js";
import { TimeMark } from "./timeseries.js";


const ROW = 25;
const MOST_INCIDENT_ROWS = 5;
const LEFT = 8;
const RIGHT = 88;

const KIND_WORDS = { incident: "Incident", deployment: "Deployment", change: "Change", label: "Labels" };

/** Puts incidents into as few rows as keep bars and names apart. */
function packIncidents(items) {
  /** @type {{items: any[]}[]} */
  const rows = [];
  for (const item of items) {
    const free = rows.find((row) => row.items.every((other) => other.end + 6 < item.start || item.end + 6 < other.start));
    if (free) free.items.push(item);
    else rows.push({ items: [item] });
  }
  return rows;
}

/** A bar and the name before it, or behind it where there is no room. */
function placeIncident(event, x, page, left, right, withModel) {
  const from = x(Math.max(page.from, seconds(event.t) ?? 0));
  const to = Math.max(from + 3, x(Math.min(page.to, seconds(event.until) ?? page.to)));
  const text = withModel && event.model ? event.model : event.label;
  const size = textWidth(text) * 1.08 + 8;
  const before = from - size > left;
  const fits = before || to + size < right;
  const inside = !fits && to - from > size + 6;
  return {
    event, from, to, text: fits ? text : "", inside: inside ? text : "", before,
    start: before ? from - size : from, end: !before && fits ? to + size : to,
  };
}

/** Names of points that don't overlap; the rest keep their shape and their row in the table. Minor ticks make way. */
function placePoints(events, x, left, right, withModel) {
  let taken = left;
  /** @type {[number, number][]} */
  const texts = [];
  const points = events.map((event) => ({ event, px: x(seconds(event.t) ?? 0) }));
  return points.map(({ event, px }, index) => {
    const text = withModel && event.model && !event.label.includes(event.model) ? `${event.model}: ${event.label}` : event.label;
    const size = textWidth(text) * 1.06 + 14;
    const next = points.slice(index + 1).find((point) => point.event.label)?.px ?? right + size;
    let side = "";
    if (event.label && px + size < Math.min(next - 6, right)) side = "right";
    else if (event.label && px - size > taken) side = "left";
    if (event.label) taken = Math.max(taken, side === "right" ? px + size : px + 8);
    if (side) texts.push(side === "right" ? [px + 6, px + size] : [px - size, px - 6]);
    return { event, px, text, side };
  }).filter(({ event, px }) => event.label || !texts.some(([from, to]) => px > from && px < to));
}

/** @param {{withModel?: boolean}} props `withModel`: name the model of each event (fleet) */
export function Lanes({ withModel = false }) {
  const page = useContext(ChartPage);
  const [ref, width] = useWidth();
  const chart = useMemo(() => (width ? drawLanes(page, width, withModel) : null), [page, width, withModel]);
  if (page.table) return html`<${EventTable} events=${page.events} />`;
  return html`<div class="chart lanes" ref=${ref}>${chart}</div>`;
}

function drawLanes(page, width, withModel) {
  const left = LEFT;
  const right = width - RIGHT;
  const x = linearScale([page.from, page.to], [left, right]).px;
  const inRange = (event) => (seconds(event.until) ?? page.to) >= page.from && (seconds(event.t) ?? 0) <= page.to;
  const of = (kinds) =>
    page.events.filter((event) => kinds.includes(event.kind) && inRange(event)).sort((a, b) => a.t.localeCompare(b.t));
  const started = (event) => (seconds(event.t) ?? 0) >= page.from;

  const incidents = of(["incident"]).map((event) => placeIncident(event, x, page, left, right, withModel));
  const packed = packIncidents(incidents.reverse());
  const hidden = packed.slice(MOST_INCIDENT_ROWS).flatMap((row) => row.items).length;
  const changes = of(["deployment", "change"]).filter(started);
  const labels = of(["label"]).filter(started);
  const lanes = [
    ...(packed.length ? packed.slice(0, MOST_INCIDENT_ROWS) : [{ items: [] }]).map((row, index) => ({
      name: index ? "" : "Incidents",
      draw: (y) => row.items.map((item) => html`<${IncidentBar} item=${item} y=${y} />`),
      empty: packed.length === 0,
    })),
    {
      name: changes.every((event) => event.kind === "deployment") && changes.length ? "Deployments" : "Changes",
      draw: (y) => placePoints(changes, x, left, right, withModel).map((item) => html`<${ChangeMark} item=${item} y=${y} />`),
      empty: changes.length === 0,
    },
    ...(labels.length
      ? [{ name: "Labels", empty: false, draw: (y) => placePoints(labels, x, left, right, withModel).map((item) => html`<${LabelTick} item=${item} y=${y} />`) }]
      : []),
  ];
  const height = ROW * lanes.length + 24;
  const sentence = `Events from ${fullTime(page.from)} to ${fullTime(page.to)}: ${plural(incidents.length, "incident")}, ${plural(changes.length, "change")}, ${plural(labels.length, "arrival")} of labels.`;
  return html`<svg width=${width} height=${height} role="img" aria-label=${sentence}>
    ${lanes.map((lane, index) => {
      const y = index * ROW + ROW / 2 + 2;
      return html`<path d="M${left} ${y}H${right}" stroke="var(--grid)" />
        <text class="axis medium" x=${right + 6} y=${y + 4}>${lane.name}</text>
        ${lane.empty && html`<text class="axis halo" x=${left} y=${y + 4}>none in this range</text>`}
        ${lane.draw(y)}`;
    })}
    ${hidden > 0 && html`<text class="axis" x=${right + 6} y=${MOST_INCIDENT_ROWS * ROW - 8}>${hidden} more</text>`}
    ${timeTicks(page.from, page.to, right - left).map(
      ({ t, text }) => html`<${TimeMark} px=${round(x(t))} left=${left} right=${right} y=${height - 5} text=${text} />`,
    )}
  </svg>`;
}

function IncidentBar({ item, y }) {
  const fill = item.event.status === "watch" ? "var(--warn-mark)" : "var(--crit-mark)";
  return html`<rect x=${round(item.from)} y=${y - 5} width=${round(item.to - item.from)} height="10" rx="3" fill=${fill} opacity=${item.event.until ? 0.55 : 1}>
      <title>${item.event.model ? `${item.event.model}: ` : ""}${item.event.label}</title>
    </rect>
    ${item.text && html`<text class="axis event-name halo" x=${round(item.before ? item.from - 7 : item.to + 7)} y=${y + 4} text-anchor=${item.before ? "end" : "start"}>${item.text}</text>`}
    ${item.inside && html`<text class="axis event-name halo" x=${round(item.from + 8)} y=${y + 4}>${item.inside}</text>`}`;
}

function ChangeMark({ item, y }) {
  const { event, px, side, text } = item;
  const hot = event.status === "act";
  return html`<path d="M${round(px)} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z" fill=${hot ? "var(--crit-mark)" : "var(--event)"} stroke="var(--surface)" stroke-width="1.5"><title>${text}</title></path>
    ${side && html`<text class="axis halo ${hot ? "event-name" : "event-quiet"}" x=${round(side === "left" ? px - 10 : px + 10)} y=${y + 4} text-anchor=${side === "left" ? "end" : "start"}>${text}</text>`}`;
}

function LabelTick({ item, y }) {
  const { event, px, side, text } = item;
  const major = event.label !== "";
  return html`<path d="M${round(px)} ${y - 6}V${y + 6}" stroke="var(--est)" stroke-width=${major ? 6 : 2} opacity=${major ? 0.9 : 0.5}><title>${text || "labels arrived"}</title></path>
    ${side && html`<text class="axis event-quiet halo" x=${round(side === "left" ? px - 10 : px + 10)} y=${y + 4} text-anchor=${side === "left" ? "end" : "start"}>${text}</text>`}`;
}

function EventTable({ events }) {
  const time = (iso) => (iso ? fullTime(seconds(iso) ?? 0) : "");
  const rows = [...events]
    .sort((a, b) => b.t.localeCompare(a.t))
    .map((event) => [time(event.t), KIND_WORDS[event.kind], event.model ?? "", unbroken(event.label || "labels arrived"), time(event.until)]);
  return html`<${ChartTable} name="Events" head=${["From", "Kind", "Model", "What", "Until"]} rows=${rows} height=${200} words=${true} />`;
}
