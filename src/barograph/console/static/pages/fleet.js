/** The fleet: every model in one row, the most urgent first. */

import { ChartContext, chartPage } from "../charts/layout.js";
import { Lanes } from "../charts/lanes.js";
import { Sparkline } from "../charts/sparkline.js";
import { NOTHING, plain, plural, quantity, requestRate, unbroken, versionName } from "../format.js";
import { html, useMemo } from "../html.js";
import { RANGES, link, rangeOf } from "../router.js";
import { Sentence } from "../sentence.js";
import { NO_MODELS, StateMessage } from "../states.js";
import { Glyph, alarm, isRaised, raised, tone, word } from "../status.js";

/** What the evaluator says of targets that it cannot read. @param {Fleet} doc @returns {State | null} */
function unread({ targets = [] }) {
  const failing = targets.filter((target) => target.up === false);
  if (!failing.length) return null;
  const title = targets.length === 1 ? "The target does not answer" : `${failing.length} of ${targets.length} targets do not answer`;
  return { kind: "no_data", title, text: failing.map(({ url, error }) => `${url}: ${error}`).join("; ") };
}

/** @param {{doc: Fleet, route: Route}} props */
export function FleetPage({ doc, route }) {
  const table = route.query.get("view");
  const page = useMemo(() => chartPage(doc, route), [doc, table]);
  const models = new Map(doc.models.map((model) => [model.name, link.model(model.name)]));
  const state = doc.state ?? unread(doc);
  if (!doc.models.length) {
    return html`<h1>${doc.headline || NO_MODELS.title}</h1>
      <div class="sheet message"><${StateMessage} state=${state ?? NO_MODELS} /></div>`;
  }
  const range = RANGES[rangeOf(route)];
  return html`<${ChartContext.Provider} value=${page}>
    <h1>${unbroken(doc.headline)}</h1>
    <p class="lede"><${Sentence} text=${doc.lede} models=${models} /></p>
    ${state && html`<div class="sheet message"><${StateMessage} state=${state} /></div>`}
    <div class="sheet first"><${FleetTable} models=${doc.models} range=${range} /></div>
    <div class="section-head">
      <h2>Events</h2>
      <span class="question">What happened around the fleet, last ${range}</span>
    </div>
    <div class="sheet timeline"><${Lanes} withModel=${true} /></div>
    <footer class="foot">
      <span>${plural(doc.models.length, "model")}</span>
      <span>Grey ribbon under a sparkline: healthy. Amber or red: when a threshold was crossed. Gap: no data received.</span>
      <span class="push wide-only"><kbd>j</kbd> <kbd>k</kbd> move <kbd class="next">Enter</kbd> open <kbd class="next">?</kbd> all keys</span>
    </footer>
  <//>`;
}

FleetPage.title = (_, doc) => `${alarm(doc?.status)}${isRaised(doc?.status) ? doc.headline : "Fleet"} · barograph`;
FleetPage.blocks = [[28], [22], [520], [140]];

function FleetTable({ models, range }) {
  return html`<table class="fleet">
    <thead>
      <tr class="groups">
        <td></td>
        <td></td>
        <th scope="colgroup" colspan="3"><span>Service</span></th>
        <th scope="colgroup" colspan="2"><span>Output</span></th>
        <th scope="colgroup"><span>Outcomes</span></th>
        <th scope="colgroup"><span>Causes</span></th>
      </tr>
      <tr>
        <th scope="col">Model</th>
        <th scope="col">Key output, last ${range}</th>
        <th scope="col" class="num">Requests</th>
        <th scope="col" class="num">p95</th>
        <th scope="col" class="num">Errors</th>
        <th scope="col" class="num">Key output now</th>
        <th scope="col" class="num">Empty</th>
        <th scope="col">Quality, labels so far</th>
        <th scope="col">Drifted features</th>
      </tr>
    </thead>
    <tbody>
      ${models.map((model) => html`<${FleetRow} key=${model.name} model=${model} range=${range} />`)}
    </tbody>
  </table>`;
}

function FleetRow({ model, range }) {
  const { service, output, outcomes, causes } = model;
  const over = (group, field) => (group.over?.includes(field) ? raised(group.status) : "");
  const valueOver = output.over ? over(output, "value") : raised(output.status);
  const quiet = (status) => (status === "no_data" ? "muted" : raised(status));
  const drifted = causes.drifted == null ? NOTHING : `${causes.drifted} of ${causes.columns}`;
  return html`<tr data-model=${model.name}>
    <td class="model-cell">
      <${Glyph} status=${model.status} size=${13} label=${model.status === "ok" ? "OK" : ""} />
      <div>
        <a class="row-link" data-row href=${link.model(model.name)}>${model.name}</a> <span class="version">${versionName(model.version)}</span>
        ${model.status !== "ok" && html` <span class="status ${tone(model.status)}">${word(model.status)}</span>`}
        ${model.status !== "ok" && model.reason && html`<div class="sub">${plain(model.reason)}</div>`}
      </div>
    </td>
    <td class="spark-cell"><${Sparkline} spark=${model.spark} status=${model.output.status} name=${sparkSentence(model, range)} /></td>
    <td class="num ${over(service, "rate")}" data-name="Requests">${requestRate(service.rate)}</td>
    <td class="num ${over(service, "p95")}" data-name="p95">${quantity(service.p95, "seconds", 2)}</td>
    <td class="num ${over(service, "errors")}" data-name="Errors">${quantity(service.errors, "share")}</td>
    <td class="num ${output.status === "no_data" ? "muted" : valueOver}" data-name="Key output now">${unbroken(output.text)}</td>
    <td class="num ${over(output, "empty")}" data-name="Empty">${quantity(output.empty, "share")}</td>
    <td data-name="Quality, labels so far">
      <span class=${quiet(outcomes.status)}>${unbroken(outcomes.text)}</span>
      ${outcomes.sub && html`<div class="sub">${unbroken(outcomes.sub)}</div>`}
    </td>
    <td data-name="Drifted features"><span class=${causes.drifted ? raised(causes.status) : "muted"}>${drifted}</span></td>
  </tr>`;
}

/** What the sparkline shows. @param {FleetModel} model */
function sparkSentence(model, range) {
  const past = model.spark.ribbon.filter(isRaised).length / Math.max(1, model.spark.ribbon.length);
  const share = past ? `, past a limit for ${quantity(past, "share")} of the time` : "";
  return unbroken(`Key output of ${model.name} over the last ${range}, now ${model.output.text}${share}`);
}
