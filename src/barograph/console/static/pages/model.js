/** One model: service, output, outcomes, causes, always in this order. */

import { ChartContext, chartPage } from "../charts/layout.js";
import { Lanes } from "../charts/lanes.js";
import { MiniOverlay } from "../charts/mini.js";
import { PanelCard } from "../charts/panel.js";
import { NOTHING, capital, figure, moment, number, plain, plural, seconds, times, unbroken, versionName } from "../format.js";
import { html, useMemo } from "../html.js";
import { link, modelPath, setQuery } from "../router.js";
import { Sentence } from "../sentence.js";
import { StateMessage } from "../states.js";
import { Glyph, StatusWord, alarm, isRaised, raised, word } from "../status.js";

/** Rows that are shown before "Show all", if no more have changed. */
const LEAST_ROWS = 8;

/** @param {{doc: Model, route: Route}} props */
export function ModelPage({ doc, route }) {
  const table = route.query.get("view");
  const page = useMemo(() => chartPage(doc, route), [doc, table]);
  const version = route.query.get("version");
  const columns = new Map(doc.causes.columns.map((column) => [column.name, link.feature(doc.name, column.name, version)]));
  const lead = leadPanel(doc);
  return html`<${ChartContext.Provider} value=${page}>
    <nav class="crumb" aria-label="Breadcrumb"><a href=${link.fleet()}>Fleet</a> / <span aria-current="page">${doc.name}</span></nav>
    <div class="page-head">
      <div>
        <h1>${unbroken(doc.headline)}</h1>
        <p class="lede">
          <${StatusWord} status=${doc.status} pill=${true} />
          ${doc.since ? ` since ${moment(seconds(doc.since) ?? 0, page.now)} UTC. ` : " "}
          <${Sentence} text=${doc.lede} columns=${columns} />
        </p>
      </div>
      <div class="actions">
        <${VersionChoice} versions=${doc.versions} current=${doc.version} />
        ${doc.incident && html`<a class="button primary" href=${link.incidents(doc.incident)}>Open incident</a>`}
      </div>
    </div>
    <${Tabs} doc=${doc} columns=${columns} />
    ${doc.state && html`<div class="sheet message"><${StateMessage} state=${doc.state} /></div>`}
    <div class="sheet timeline"><${Lanes} /></div>
    <${SectionHead} name="Service" question="Is it answering?" section=${doc.service} />
    <${PanelGrid} section=${doc.service} lead=${lead} height=${104} />
    <${SectionHead} name="Output" question="Are the answers plausible?" section=${doc.output} />
    <${PanelGrid} section=${doc.output} lead=${lead} height=${176} named=${true} checks=${doc.output.checks} />
    <${SectionHead} name="Outcomes" question="Were the answers right?" section=${doc.outcomes} />
    <${PanelGrid} section=${doc.outcomes} lead=${lead} height=${150} named=${true} />
    <${SectionHead} name="Causes" question="What changed?" section=${doc.causes} />
    <${Causes} causes=${doc.causes} columns=${columns} now=${page.now} all=${route.query.get("all") === "1"} />
    <${Foot} doc=${doc} />
  <//>`;
}

ModelPage.title = (route, doc) =>
  `${alarm(doc?.status)}${route.model} · barograph`;
ModelPage.blocks = [[28], [22], [110], [180, 4], [250, 3], [200]];

/** The panel that shows the tooltip of a moment that came with the URL: the first that is past a limit. */
function leadPanel(doc) {
  const panels = [...doc.output.panels, ...doc.service.panels, ...doc.outcomes.panels];
  return (panels.find((panel) => panel.status === "act") ?? panels.find((panel) => panel.status === "watch") ?? panels[0])?.id;
}

function VersionChoice({ versions, current }) {
  if (!versions || versions.length < 2) return null;
  const choose = (event) => {
    const { value } = event.target;
    setQuery({ version: value === versions[0] ? null : value }, { replace: false });
  };
  return html`<label class="choice">Version
    <select onChange=${choose} value=${current}>
      ${versions.map((version) => html`<option value=${version} selected=${version === current}>${versionName(version)}</option>`)}
    </select>
  </label>`;
}

function Tabs({ doc, columns }) {
  const first = doc.causes.columns[0]?.name;
  return html`<nav class="tabs" aria-label=${doc.name}>
    <a href=${link.model(doc.name)} aria-current="page">Main</a>
    ${first && html`<a href=${columns.get(first)}>${isRaised(doc.causes.status) && html`<${Glyph} status=${doc.causes.status} size=${10} label=${word(doc.causes.status)} />`}Features</a>`}
    <a href=${link.incidents(null, doc.name)}>Incidents</a>
    <a href=${link.readiness(doc.name)}>Readiness</a>
  </nav>`;
}

export function SectionHead({ name, question, section }) {
  const judged = section.judged !== false && (section.status === "ok" || isRaised(section.status));
  return html`<div class="section-head">
    <h2>${name}</h2>
    <span class="question">${question}</span>
    <span class="aside">${judged ? html`<${StatusWord} status=${section.status} text=${unbroken(section.summary)} />` : unbroken(section.summary ?? "")}</span>
  </div>`;
}

/** Panels of one topic on one sheet, divided by hairlines. */
function PanelGrid({ section, lead, height, named = false, checks = [] }) {
  const { panels, state } = section;
  if (!panels.length && !checks.length && !state) return null;
  const cells = panels.length + (checks.length ? 1 : 0);
  const columns = Math.min(4, cells > 4 ? 3 : cells);
  return html`<div class="sheet">
    ${state && html`<div class="panel"><${StateMessage} state=${state} /></div>`}
    ${cells > 0 &&
    html`<div class="grid columns-${columns} ${checks.length ? "with-checks" : ""}">
      ${panels.map((panel) => html`<${PanelCard} key=${panel.id} panel=${panel} height=${height} named=${named} lead=${panel.id === lead} />`)}
      ${checks.length > 0 && html`<${Checks} checks=${checks} />`}
    </div>`}
  </div>`;
}

export function Checks({ checks, name = "Quality checks" }) {
  return html`<section class="panel checks">
    ${name && html`<h3 class="panel-name">${name}</h3>`}
    <ul>
      ${checks.map(
        (check) => html`<li>
          <${Glyph} status=${check.status} label=${word(check.status)} />
          <span>${check.name}${check.note && html`<span class="sub">${unbroken(check.note)}</span>`}</span>
          <span class="num ${raised(check.status)}">${unbroken(check.text)}</span>
        </li>`,
      )}
    </ul>
  </section>`;
}

function Causes({ causes, columns, now, all }) {
  if (causes.state) return html`<div class="sheet message"><${StateMessage} state=${causes.state} /></div>`;
  if (!causes.columns.length) {
    return html`<div class="sheet message"><p class="note">No columns are recorded yet.</p></div>`;
  }
  const urgent = causes.columns.filter((row) => isRaised(row.status)).length;
  const shown = all ? causes.columns : causes.columns.slice(0, Math.max(LEAST_ROWS, urgent));
  const has = (key) => causes.columns.some((row) => row[key] != null);
  const [weights, ratios] = [has("weight"), has("ratio")];
  return html`<div class="sheet">
    <table class="causes">
      <thead>
        <tr>
          <th scope="col"><span class="visually-hidden">State</span></th>
          <th scope="col">Feature</th>
          <th scope="col">Reference and live</th>
          <th scope="col">What changed</th>
          <th scope="col">Since, UTC</th>
          ${weights && html`<th scope="col">Weight in model</th>`}
          ${ratios && html`<th scope="col" class="num">Against its limit</th>`}
          <th scope="col" class="num">Distance, PSI</th>
        </tr>
      </thead>
      <tbody>
        ${shown.map((row) => html`<${CauseRow} key=${row.name} row=${row} href=${columns.get(row.name)} now=${now} weights=${weights} ratios=${ratios} />`)}
      </tbody>
    </table>
    ${causes.columns.length > shown.length &&
    html`<p class="more"><button class="link" onClick=${() => setQuery({ all: "1" })}>Show all ${plural(causes.columns.length, causes.columns.every((row) => row.role === "feature") ? "feature" : "column")}</button></p>`}
  </div>`;
}

function CauseRow({ row, href, now, weights, ratios }) {
  const colour = raised(row.status);
  const since = seconds(row.since);
  return html`<tr>
    <td><${Glyph} status=${row.status} label=${word(row.status)} /></td>
    <td><a class="row-link mono" data-row href=${href}>${row.name}</a>${row.role && row.role !== "feature" && html` <span class="tag">${row.role}</span>`}</td>
    <td><${MiniOverlay} mini=${row.mini} /></td>
    <td class=${colour ? "strong" : "muted"} data-name="What changed">${plain(capital(row.what ?? ""))}</td>
    <td class="muted" data-name="Since">${since === null ? NOTHING : moment(since, now)}</td>
    ${weights && html`<td data-name="Weight in model">${row.weight == null ? NOTHING : html`<span class="bar weight" role="img" aria-label="${number(row.weight * 100)} %"><i style=${{ width: `${row.weight * 100}%` }}></i></span>`}</td>`}
    ${ratios && html`<td class="num" data-name="Against its limit">${times(row.ratio)}</td>`}
    <td class="num ${colour}" data-name="Distance, PSI">${row.psi == null ? NOTHING : figure(Math.max(0, row.psi), 2, 0.001)}</td>
  </tr>`;
}

function Foot({ doc }) {
  const { reference } = doc;
  return html`<footer class="foot">
    ${doc.owner && html`<span>Owner: ${doc.owner}</span>`}
    ${reference && html`<span>Reference: ${unbroken(reference.text)}</span>`}
    ${doc.runbook && html`<a href=${doc.runbook} target="_blank" rel="noreferrer">Runbook</a>`}
    <a href="/api${modelPath(doc.name)}" target="_blank">JSON</a>
    <span class="push wide-only">Hover any chart: all charts show the same moment. <kbd>←</kbd> <kbd>→</kbd> step</span>
  </footer>`;
}
