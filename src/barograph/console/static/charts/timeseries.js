/** A chart over time: where everything goes, and the crosshair that all charts of a page share. */

import { compact, displayUnit, moment, seconds } from "../format.js";
import { html, useContext, useMemo } from "../html.js";
import { cursorHandlers, useCursor } from "./cursor.js";
import { drawnValues, nearLimits, valueScale } from "./domain.js";
import { absence, findGaps, findThin } from "./gaps.js";
import { ChartContext, textWidth, useId, useWidth } from "./layout.js";
import { BOTTOM, Marks, TOP, namesAtRight } from "./marks.js";
import { round } from "./paths.js";
import { describe, readings, seriesColour } from "./readings.js";
import { linearScale, nearestIndex, samplingStep, spaced, timeTicks } from "./scales.js";
import { Tooltip } from "./tooltip.js";

/** The unit in which a panel's values are shown, on its axis and everywhere else. @param {Panel} panel */
export function panelDisplay(panel) {
  return displayUnit(panel.unit, Math.max(...drawnValues(panel).map(Math.abs), Math.abs(panel.value ?? 0)));
}

/**
 * Where everything goes: pure geometry, in pixels.
 * @param {Panel} panel @param {ChartPage} page
 */
function layoutOf(panel, page, width, height) {
  const display = panelDisplay(panel);
  const limits = nearLimits(panel);
  const bottom = height - BOTTOM;
  const marks = Math.max(2, Math.round((height - 28) / 42));
  const scale = valueScale(panel, [bottom, TOP], marks, limits.map((limit) => limit.value), display.factor);
  const ticks = spaced(scale.ticks(marks), scale.px, () => 14).map((value) => ({ y: round(scale.px(value)), text: compact(value) }));
  const names = namesAtRight(panel).map((name) => textWidth(name, 11.5) * 1.06 + 14);
  const left = Math.max(22, ...ticks.map((tick) => textWidth(tick.text) + 10));
  const right = width - Math.min(width * 0.3, Math.max(10, ...names));
  const time = linearScale([page.from, page.to], [left, right]);
  const filled = panel.t.map((_, index) => panel.series.find((series) => series.y[index] != null)?.y[index] ?? null);
  const gaps = findGaps(panel.t, filled, page.from, page.to, page.gaps);
  return {
    panel, display, limits, ticks, width, height, left, right, bottom,
    x: time.px,
    timeAt: time.value,
    y: (value) => (value == null ? null : scale.px(value * display.factor)),
    xs: panel.t.map(time.px),
    step: Math.max(samplingStep(panel.t), 1),
    times: timeTicks(page.from, page.to, right - left),
    gaps,
    thin: findThin(panel.t, filled, gaps),
    events: page.events.filter(({ label, t }) => label && seconds(t) >= page.from && seconds(t) <= page.to),
  };
}

/**
 * `named`: gaps and changes carry names, with "all" incidents too. `lead`: shows the tooltip of a moment that came with
 * the address.
 * @param {{panel: Panel, height: number, named?: boolean | "all", lead?: boolean}} props
 */
export function TimeSeries({ panel, height, named = false, lead = false }) {
  const page = useContext(ChartContext);
  const [ref, width] = useWidth();
  const id = useId();
  const layout = useMemo(() => width && layoutOf(panel, page, width, height), [panel, page, width, height]);
  const marks = useMemo(() => layout && html`<${Marks} layout=${layout} id=${id} named=${named} />`, [layout, named]);
  return html`<div class="chart" ref=${ref} style=${{ height: `${height}px` }}>
    ${layout && html`<${Crosshair} layout=${layout} page=${page} id=${id} lead=${lead}>${marks}<//>`}
  </div>`;
}

/** The chart with its crosshair: the only part that is drawn again when the pointer moves. */
function Crosshair({ layout, page, id, lead, children }) {
  const { panel, left, right, bottom, display, y } = layout;
  const cursor = useCursor();
  const index = cursor.t === null ? -1 : nearestIndex(panel.t, cursor.t);
  const near = Math.abs(panel.t[index] - cursor.t) <= layout.step;
  const t = near ? panel.t[index] : cursor.t;
  const x = round(layout.x(t));
  const inside = t !== null && x >= left - 1 && x <= right + 1;
  const dots = inside && near ? panel.series.filter((series) => series.y[index] != null) : [];
  const isHigh = dots.length > 0 && y(dots[0].y[index]) < layout.height * 0.45;
  const handlers = cursorHandlers(id, panel.t, (offset) => nearestIndex(panel.t, layout.timeAt(offset)));
  return html`<svg role="img" tabindex="0" width=${layout.width} height=${layout.height} aria-label=${describe(panel, page, layout.gaps)} ...${handlers}>
      ${children}
      ${inside &&
      html`<g class="crosshair">
        <path d="M${x} ${TOP}V${bottom}" />
        ${dots.map((series) => html`<circle cx=${x} cy=${round(y(series.y[index]))} r="3.6" fill=${seriesColour(panel, series)} />`)}
      </g>`}
    </svg>
    ${inside &&
    (cursor.source === id || (lead && !cursor.source)) &&
    html`<${Tooltip}
      x=${x}
      width=${layout.width}
      top=${isHigh ? layout.height * 0.5 : 0}
      title="${moment(t, page.now)} UTC"
      rows=${near ? readings(panel, index, display, layout.gaps) : [{ name: panel.name, text: absence(t, layout.gaps, panel.few) }]}
    />`}`;
}
