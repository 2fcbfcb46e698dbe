/** The timeline: incidents as bars, changes as diamonds, arrivals of labels as ticks. */

import { fullTime, plural, seconds, unbroken } from "../format.js";
import { html, useContext, useMemo } from "../html.js";
import { ChartContext, axisLabel, label, textWidth, useWidth } from "./layout.js";
import { round } from "./paths.js";
import { linearScale, timeTicks } from "./scales.js";
import { ChartTable } from "./table.js";

const ROW = 25;
const LEFT = 8;
const RIGHT = 88;
const MOST_INCIDENT_ROWS = 5;
const KINDS = { incident: "Incident", deployment: "Deployment", change: "Change", label: "Labels" };

/** @param {{withModel?: boolean}} props `withModel`: events say whose they are */
export function Lanes({ withModel = false }) {
  const page = useContext(ChartContext);
  return page.table ? html`<${EventTable} events=${page.events} />` : html`<${LaneChart} page=${page} withModel=${withModel} />`;
}

function LaneChart({ page, withModel }) {
  const [ref, width] = useWidth();
  const chart = useMemo(() => width && drawLanes(page, width, withModel), [page, width, withModel]);
  return html`<div class="chart lanes" ref=${ref}>${chart}</div>`;
}

/** @param {ChartPage} page */
function drawLanes(page, width, withModel) {
  const right = width - RIGHT;
  const x = linearScale([page.from, page.to], [LEFT, right]).px;
  const started = page.events.filter((event) => seconds(event.t) <= page.to).sort((a, b) => a.t.localeCompare(b.t));
  const points = started.filter((event) => event.kind !== "incident" && seconds(event.t) >= page.from);
  const incidents = started.filter((event) => event.kind === "incident" && (seconds(event.until) ?? page.to) >= page.from);
  const changes = points.filter((event) => event.kind !== "label");
  const labels = points.filter((event) => event.kind === "label");

  const rows = packed(incidents.reverse().map((event) => placeBar(event, page, x, right, withModel)));
  const hidden = rows.splice(MOST_INCIDENT_ROWS).flat().length;
  const lanes = rows.map((items) => ({ name: "", marks: (y) => items.map((item) => Bar(item, y)) }));
  if (!lanes.length) lanes.push({ name: "", marks: null });
  lanes[0].name = "Incidents";
  if (hidden) lanes[lanes.length - 1].name = `and ${hidden} more`;
  const pointLane = (name, events, draw) => ({
    name,
    marks: events.length ? (y) => placePoints(events, x, right, withModel).map((item) => draw(item, y)) : null,
  });
  const onlyDeployed = changes.length && changes.every((event) => event.kind === "deployment");
  lanes.push(pointLane(onlyDeployed ? "Deployments" : "Changes", changes, Diamond));
  if (labels.length) lanes.push(pointLane("Labels", labels, Tick));

  const height = ROW * lanes.length + 24;
  const counts = [plural(incidents.length, "incident"), plural(changes.length, "change"), `${plural(labels.length, "arrival")} of labels`];
  return html`<svg width=${width} height=${height} role="img" aria-label="Events from ${fullTime(page.from)} to ${fullTime(page.to)}: ${counts.join(", ")}.">
    ${lanes.map(({ name, marks }, index) => {
      const y = index * ROW + ROW / 2 + 2;
      return html`<path class="grid-line" d="M${LEFT} ${y}H${right}" />
        ${label(right + 6, y + 4, name, { kind: "medium" })}
        ${marks ? marks(y) : label(LEFT, y + 4, "none in this range", { kind: "halo" })}`;
    })}
    ${timeTicks(page.from, page.to, right - LEFT).map(({ t, text }) => axisLabel(x(t), height - 5, text, LEFT, right))}
  </svg>`;
}

/** Rows in which no bar or name touches another. */
function packed(items) {
  const rows = [];
  for (const item of items) {
    const free = rows.find((row) => row.every((other) => other.end + 6 < item.start || item.end + 6 < other.start));
    if (free) free.push(item);
    else rows.push([item]);
  }
  return rows;
}

/** A bar, with its name before it, behind it, or within it, where there is room. @param {TimelineEvent} event */
function placeBar(event, page, x, right, withModel) {
  const from = x(Math.max(page.from, seconds(event.t)));
  const to = Math.max(from + 3, x(Math.min(page.to, seconds(event.until) ?? page.to)));
  const text = (withModel && event.model) || event.label;
  const size = textWidth(text) * 1.08 + 8;
  const place = from - size > LEFT ? "before" : to + size < right ? "behind" : to - from > size + 6 ? "within" : "";
  return { event, from, to, text, place, start: place === "before" ? from - size : from, end: place === "behind" ? to + size : to };
}

function Bar({ event, from, to, text, place }, y) {
  const at = { before: from - 7, behind: to + 7, within: from + 8 }[place];
  const half = place === "within" ? 9 : 5; // a name that stands on its bar needs the height of a line
  const kind = place === "within" ? `on-bar ${event.until ? "over" : event.status ?? ""}` : "halo strong name";
  return html`<rect class="incident-bar ${event.status ?? ""}" x=${round(from)} y=${y - half} width=${round(to - from)} height=${2 * half} rx="3" opacity=${event.until ? 0.55 : 1}>
      <title>${event.model ? `${event.model}: ` : ""}${event.label}</title>
    </rect>
    ${place && label(at, y + 4, text, { kind, anchor: place === "before" ? "end" : "start" })}`;
}

/** Points with the names that fit between them; ticks without a name make way for names. @param {TimelineEvent[]} events */
function placePoints(events, x, right, withModel) {
  const names = [];
  const points = events.map((event) => ({ event, px: x(seconds(event.t)) }));
  const placed = points.map(({ event, px }, index) => {
    const text = withModel && event.model && !event.label.includes(event.model) ? `${event.model}: ${event.label}` : event.label;
    const size = textWidth(text) * 1.06 + 14;
    const next = points.slice(index + 1).find((point) => point.event.label)?.px ?? Infinity;
    const taken = Math.max(LEFT, ...names.map((name) => name.to));
    const side = !event.label ? "" : px + size < Math.min(next - 6, right) ? "right" : px - size > taken ? "left" : "";
    if (event.label) names.push(side === "left" ? { from: px - size, to: px + 8 } : { from: px - 8, to: side ? px + size : px + 8 });
    return { event, px, text, side };
  });
  return placed.filter(({ event, px }) => event.label || !names.some(({ from, to }) => px > from && px < to));
}

const beside = ({ px, side, text }, y, kind) =>
  side && label(side === "left" ? px - 10 : px + 10, y + 4, text, { kind: `halo ${kind}`, anchor: side === "left" ? "end" : "start" });

function Diamond(item, y) {
  const suspect = item.event.status === "act";
  return html`<path class="change ${suspect ? "suspect" : ""}" d="M${round(item.px)} ${y - 5.5}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z"><title>${item.text}</title></path>
    ${beside(item, y, suspect ? "strong name" : "quiet")}`;
}

function Tick(item, y) {
  const isMajor = item.event.label !== "";
  return html`<path d="M${round(item.px)} ${y - 6}V${y + 6}" stroke="var(--est)" stroke-width=${isMajor ? 6 : 2} opacity=${isMajor ? 0.9 : 0.5} />
    ${beside(item, y, "quiet")}`;
}

function EventTable({ events }) {
  const time = (iso) => (iso ? fullTime(seconds(iso)) : "");
  const rows = [...events]
    .sort((a, b) => b.t.localeCompare(a.t))
    .map((event) => [time(event.t), KINDS[event.kind], event.model, unbroken(event.label || "labels arrived"), time(event.until)]);
  return html`<${ChartTable} name="Events" head=${["From", "Kind", "Model", "What", "Until"]} rows=${rows} height=${200} words=${true} />`;
}
