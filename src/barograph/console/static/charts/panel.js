/** A panel: name, current value with unit, usual range or limit in words, chart. Readable without the chart. */

import { NOTHING, duration, inUnit, moment, unbroken } from "../format.js";
import { html, useContext } from "../html.js";
import { Guard, StateMessage } from "../states.js";
import { alarm, raised } from "../status.js";
import { axisKind } from "./domain.js";
import { ChartContext } from "./layout.js";
import { readings } from "./readings.js";
import { samplingStep } from "./scales.js";
import { ChartTable } from "./table.js";
import { TimeSeries, panelDisplay } from "./timeseries.js";

/** The last sample that holds a value. @param {Panel} panel */
function lastSample(panel) {
  const values = panel.series[0]?.y ?? [];
  const index = values.findLastIndex((value) => value != null);
  return index < 0 ? null : { t: panel.t[index], value: values[index] };
}

/**
 * The heading's value and the words behind it. Without a current value: the last one, and when it was.
 * @param {Panel} panel @param {number} now
 */
export function headline(panel, now) {
  const display = panelDisplay(panel);
  const last = lastSample(panel);
  const stale = last && now - last.t > Math.max(3 * samplingStep(panel.t), 300);
  if (panel.value == null && last && stale) {
    const unit = display.unit && `${display.unit} `;
    return { value: inUnit(last.value, display, 2), words: `${unit}at ${moment(last.t, now)}, ${duration(now - last.t)} ago` };
  }
  if (panel.value == null) return { value: NOTHING, words: panel.text || "no data" };
  const joined = display.unit && panel.text && !/^(of|at|per) /.test(panel.text) ? `${display.unit}, ` : display.unit && `${display.unit} `;
  return { value: inUnit(panel.value, display, panel.digits ?? 2), words: unbroken(`${joined}${panel.text ?? ""}`) };
}

/** @param {{panel: Panel, height: number, named?: boolean | "all", lead?: boolean}} props as of TimeSeries */
export function PanelCard(props) {
  const { panel } = props;
  return html`<section class="panel" data-panel=${panel.id}>
    <h3 class="panel-name">${panel.name}</h3>
    <${Guard} doc=${panel} what="chart"><${PanelBody} ...${props} /><//>
  </section>`;
}

function PanelBody(props) {
  const { panel } = props;
  const { value, words } = headline(panel, useContext(ChartContext).now);
  const note = noteOf(panel);
  return html`${panel.state
      ? html`<${StateMessage} state=${panel.state} />`
      : html`<p class="panel-value ${raised(panel.status)}"><span><span class="visually-hidden">${alarm(panel.status)}</span>${value}</span><small>${words}</small></p>`}
    ${panel.t.length > 0 && html`<${PanelChart} ...${props} />`}
    ${note && html`<p class="note">${unbroken(note)}</p>`}`;
}

/** What the server notes, and whether the axis is logarithmic. @param {Panel} panel */
export function noteOf(panel) {
  const axis = { linear: "", log: "log scale", symlog: "log scale on both sides of zero" }[axisKind(panel)];
  return [panel.note, axis].filter(Boolean).join(", ");
}

/** The chart of a panel, or its table. */
export function PanelChart(props) {
  const page = useContext(ChartContext);
  return page.table ? html`<${PanelTable} ...${props} now=${page.now} gaps=${page.gaps} />` : html`<${TimeSeries} ...${props} />`;
}

/** Every sample of a panel, the latest first. */
function PanelTable({ panel, now, gaps, height }) {
  const display = panelDisplay(panel);
  const bare = { ...display, unit: "" };
  const names = readings(panel, 0, display, gaps).map((reading, index) => (index || !display.unit ? reading.name : `${reading.name}, ${display.unit}`));
  const rows = panel.t.map((t, index) => [moment(t, now), ...readings(panel, index, bare, gaps).map((reading) => reading.text)]);
  return html`<${ChartTable} name=${panel.name} head=${["UTC", ...names]} rows=${rows.reverse()} height=${height} />`;
}
