/** Readiness: is the monitoring of a model any good? Answers with what they rest on. */

import { ChartTable } from "../charts/table.js";
import { unbroken } from "../format.js";
import { html } from "../html.js";
import { link } from "../router.js";
import { Checks, SectionHead } from "./model.js";

/** @param {{doc: Readiness}} props */
export function ReadinessPage({ doc }) {
  return html`<nav class="crumb" aria-label="Breadcrumb"><a href=${link.fleet()}>Fleet</a> / <a href=${link.model(doc.name)}>${doc.name}</a> / <span aria-current="page">Readiness</span></nav>
    <h1>${doc.headline}</h1>
    <p class="lede">${unbroken(doc.lede)}</p>
    ${doc.answers.map(
      ({ name, question, summary, groups, table, note }) => html`<${SectionHead} name=${name} question=${question} section=${{ judged: false, summary }} />
        <div class="sheet">
          <div class="grid columns-${Math.min(2, groups.length)}">${groups.map((group) => html`<${Checks} name=${group.name} checks=${group.rows} />`)}</div>
          ${(table || note) && html`<div class="panel">${table && html`<${ChartTable} name=${name} head=${table.head} rows=${table.rows} height=${9999} words=${true} />`}<p class="note">${unbroken(note)}</p></div>`}
        </div>`,
    )}
    <footer class="foot"><span>${doc.source}</span><a href="/api${location.pathname}" target="_blank">JSON</a></footer>`;
}

ReadinessPage.title = (route) => `Readiness of ${route.model} · barograph`;
ReadinessPage.blocks = [[28], [22], [400], [400, 2]];
