/** One column: what changed, the proof, and its values over time. */

import { DistributionChart } from "../charts/distribution.js";
import { ChartContext, chartPage } from "../charts/layout.js";
import { MiniOverlay } from "../charts/mini.js";
import { PanelChart, noteOf } from "../charts/panel.js";
import { capital, figure, number, plain, plural, quantity, times, unbroken } from "../format.js";
import { html, useMemo } from "../html.js";
import { link, setQuery } from "../router.js";
import { Sentence } from "../sentence.js";
import { Guard, StateMessage } from "../states.js";
import { Glyph, StatusWord, alarm, raised, tone, word } from "../status.js";

const LISTED = 9;

/** @param {{doc: Feature, route: Route}} props */
export function FeaturePage({ doc, route }) {
  const table = route.query.get("view");
  const page = useMemo(() => chartPage(doc, route), [doc, table]);
  const version = route.query.get("version");
  const columns = new Map(doc.columns.map((column) => [column.name, link.feature(doc.model, column.name, version)]));
  const models = new Map([[doc.model, link.model(doc.model, version)]]);
  // After a change of unit both levels must be seen: where the server asks for no scale, the values themselves choose it.
  const values = useMemo(() => doc.values && { ...doc.values, scale: doc.values.scale === "linear" ? "auto" : doc.values.scale }, [doc.values]);
  return html`<${ChartContext.Provider} value=${page}>
    <nav class="crumb" aria-label="Breadcrumb">
      <a href=${link.fleet()}>Fleet</a> / <a href=${models.get(doc.model)}>${doc.model}</a> / <span aria-current="page">Features</span>
    </nav>
    <div class="feature-layout">
      <${FeatureList} doc=${doc} columns=${columns} all=${route.query.get("all") === "1"} />
      <div class="feature-main">
        <div class="page-head">
          <div>
            <h1 class="mono">${doc.name}</h1>
            <p class="lede">${describeColumn(doc)}</p>
          </div>
          ${doc.incident && html`<div class="actions"><a class="button primary" href=${link.incidents(doc.incident)}>Open incident</a></div>`}
        </div>
        ${doc.state && html`<div class="sheet message"><${StateMessage} state=${doc.state} /></div>`}
        <${Diagnosis} doc=${doc} models=${models} columns=${columns} />
        <${Proof} doc=${doc} />
        ${values &&
        html`<section class="sheet panel spaced" data-panel="values">
          <div class="panel-name"><h3>${values.name}</h3><span class="note">${[values.text, noteOf(values)].filter(Boolean).join(", ")}</span></div>
          ${values.state && html`<${StateMessage} state=${values.state} />`}
          <${Guard} doc=${doc} what="chart">
            ${values.t.length > 0 && html`<${PanelChart} panel=${values} height=${190} named="all" lead=${true} />`}
          <//>
        </section>`}
        <${Signals} doc=${doc} />
        ${doc.advice &&
        html`<section class="sheet advice spaced">
          <div><h3>What usually fixes this</h3><p class="note"><${Sentence} text=${doc.advice} columns=${columns} models=${models} /></p></div>
        </section>`}
      </div>
    </div>
  <//>`;
}

FeaturePage.title = (route, doc) =>
  `${alarm(doc?.status)}${route.column} · ${route.model} · barograph`;
FeaturePage.blocks = [[28], [22], [420], [220, 2], [230]];

/** Numeric feature of flight-delay, in minutes. @param {Feature} doc */
function describeColumn(doc) {
  if (doc.description) return unbroken(doc.description);
  const role = doc.role === "feature" ? "input" : doc.role;
  return `${capital(doc.kind)} ${role} of ${doc.model}${doc.unit ? `, in ${doc.unit}` : ""}.`;
}

function FeatureList({ doc, columns, all }) {
  const here = doc.columns.findIndex((column) => column.name === doc.name);
  const shown = all ? doc.columns : doc.columns.slice(0, Math.max(LISTED, here + 1));
  const rest = doc.columns.length - shown.length;
  const outputs = doc.columns.filter((row) => row.role !== "feature").length;
  const counts = [plural(doc.columns.length - outputs, "feature"), ...(outputs ? [plural(outputs, "output")] : [])];
  return html`<aside aria-label="Features">
    <div class="sheet feature-list">
      <div class="feature-list-head"><b>${counts.join(", ")}</b><span class="note">most changed first</span></div>
      ${shown.map((row) => html`<${FeatureLink} key=${row.name} row=${row} href=${columns.get(row.name)} here=${row.name === doc.name} />`)}
      ${rest > 0 && html`<p class="more"><button class="link" onClick=${() => setQuery({ all: "1" })}>${rest} more</button></p>`}
    </div>
  </aside>`;
}

function FeatureLink({ row, href, here }) {
  return html`<a class="feature-link" data-row href=${href} aria-current=${here ? "page" : null}>
    <${Glyph} status=${row.status} label=${word(row.status)} />
    <span class="feature-words">
      <span class="mono">${row.name}</span>
      <span class="sub ${raised(row.status)}" title=${row.what}>${plain(row.what)}</span>
    </span>
    <${MiniOverlay} mini=${row.mini} width=${78} height=${26} />
  </a>`;
}

function Diagnosis({ doc, models, columns }) {
  const { distribution } = doc;
  return html`<section class="sheet diagnosis-sheet">
    <div class="diagnosis ${tone(doc.status)}">
      <p class="visually-hidden"><${StatusWord} status=${doc.status} /></p>
      <h2>${plain(doc.headline)}</h2>
      <p><${Sentence} text=${doc.lede} models=${models} columns=${columns} /></p>
    </div>
    ${distribution &&
    html`<${Guard} doc=${doc} what="chart">
      <${DistributionChart} distribution=${distribution} n=${doc.n} comparison=${doc.comparison} status=${doc.status} unit=${doc.unit} name=${doc.name} />
    <//>`}
  </section>`;
}

function Proof({ doc }) {
  const { evidence, comparison } = doc;
  if (!evidence.length && !comparison.length) return null;
  return html`<div class="proof ${evidence.length && comparison.length ? "" : "single"}">
    ${evidence.length > 0 &&
    html`<section class="sheet panel">
      <h3 class="panel-name">Evidence</h3>
      <ul class="evidence">
        ${evidence.map(({ text, value }) => html`<li><${Tick} /><span>${plain(text)}</span><span class="evidence-value">${unbroken(value)}</span></li>`)}
      </ul>
    </section>`}
    ${comparison.length > 0 && html`<section class="sheet panel"><h3 class="panel-name">Reference against live</h3><${Comparison} rows=${comparison} unit=${doc.unit} /></section>`}
  </div>`;
}

const Tick = () => html`<svg width="13" height="13" viewBox="0 0 13 13" aria-hidden="true">
  <path d="M2 7l3 3 6-7" fill="none" stroke="var(--ink-2)" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />
</svg>`;

function Comparison({ rows }) {
  const text = (value, unit) => quantity(value, unit === "share" ? unit : "");
  return html`<table class="comparison">
    <thead>
      <tr><th scope="col"><span class="visually-hidden">Statistic</span></th><th scope="col" class="num">Reference</th><th scope="col" class="num">Live</th><th scope="col" class="num">Ratio</th></tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) => html`<tr>
          <th scope="row">${row.name}</th>
          <td class="num muted">${text(row.reference, row.unit)}</td>
          <td class="num ${row.ratio == null ? raised(row.status) : ""}">${text(row.live, row.unit)}</td>
          <td class="num ${(row.ratio != null && raised(row.status)) || "muted"}">${number(row.ratio)}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function Signals({ doc }) {
  const { signals, measures } = doc;
  if (!signals.length && !measures.length) return null;
  return html`<div class="section-head">
      <h2>Signals</h2>
      <span class="question">How far from the reference, in units of each signal’s own limit</span>
    </div>
    <div class="sheet">
      <div class="grid columns-${signals.length === 4 ? 4 : Math.min(3, signals.length)}">
        ${signals.map((signal) => html`<${SignalCard} key=${signal.signal} signal=${signal} />`)}
      </div>
      ${measures.length > 0 &&
      html`<dl class="measures">
        ${measures.map(({ name, value, text }) => html`<div title=${text}><dt>${name}</dt><dd>${figure(value)}</dd></div>`)}
      </dl>`}
    </div>`;
}

/** The panel of a signal as multiples of its limit, so that all signals read alike. @param {Panel} panel */
function inLimits(panel) {
  const [value, limit] = panel.series;
  const y = value.y.map((one, index) => (one == null || !limit.y[index] ? null : one / limit.y[index]));
  const series = [{ name: "times its limit", y, role: "main" }];
  return { ...panel, unit: "", series, limits: { watch: null, act: 1, worse: "high" }, top: 1, zero: true };
}

/** A signal: above 1 it is out of the ordinary. */
function SignalCard({ signal }) {
  const tested = signal.ratio != null;
  const panel = useMemo(() => signal.panel && inLimits(signal.panel), [signal.panel]);
  return html`<section class="panel signal" data-panel="signal-${signal.signal}">
    <h3 class="panel-name">${signal.name}</h3>
    <p class="panel-value ${raised(signal.status)}">${times(signal.ratio)} <small>${tested ? "its limit" : "not tested"}</small></p>
    <p class="note signal-text">${unbroken(signal.text)}</p>
    ${panel && panel.t.length > 0 && html`<${PanelChart} panel=${panel} height=${92} />`}
  </section>`;
}
