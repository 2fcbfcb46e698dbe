/** Incidents: what is firing now, then what is over. */

import { duration, moment, plain, plural, quantity, seconds, versionName } from "../format.js";
import { html, useEffect, useRef } from "../html.js";
import { link } from "../router.js";
import { Sentence } from "../sentence.js";
import { StateMessage } from "../states.js";
import { Glyph, StatusWord } from "../status.js";

/** @param {{doc: Incidents, route: Route}} props */
export function IncidentsPage({ doc, route }) {
  const model = route.query.get("model");
  const now = seconds(doc.now) ?? 0;
  const all = doc.incidents.filter((incident) => !model || incident.model === model);
  const firing = all.filter((incident) => incident.status === "firing");
  const resolved = all.filter((incident) => incident.status !== "firing");
  const wanted = route.query.get("id");
  return html`${model && html`<nav class="crumb" aria-label="Breadcrumb"><a href=${link.fleet()}>Fleet</a> / <a href=${link.model(model)}>${model}</a> / <span aria-current="page">Incidents</span></nav>`}
    <h1>${headline(firing.length, model)}</h1>
    <p class="lede">${lede(firing, resolved, now)}${model && html` <a href=${link.incidents()}>All models</a>`}</p>
    ${firing.length > 0 && html`<div class="sheet first">${firing.map((incident) => html`<${IncidentRow} key=${incident.id} incident=${incident} now=${now} wanted=${incident.id === wanted} />`)}</div>`}
    ${all.length === 0 &&
    html`<div class="sheet message first"><${StateMessage} state=${{ kind: "healthy", title: "Nothing to do", text: "No incident is firing and none is on record." }} /></div>`}
    ${resolved.length > 0 &&
    html`<div class="section-head"><h2>Resolved</h2><span class="question">Latest first</span></div>
      <div class="sheet">${resolved.map((incident) => html`<${IncidentRow} key=${incident.id} incident=${incident} now=${now} wanted=${incident.id === wanted} />`)}</div>`}`;
}

IncidentsPage.title = () => "Incidents · barograph";
IncidentsPage.blocks = [[28], [22], [160], [240]];

function headline(firing, model) {
  const where = model ? ` on ${model}` : "";
  if (!firing) return `No incident is firing${where}`;
  return firing === 1 ? `One incident is firing${where}` : `${plural(firing, "incident")} are firing${where}`;
}

function lede(firing, resolved, now) {
  if (firing.length) {
    const oldest = Math.min(...firing.map((incident) => seconds(incident.since) ?? now));
    return `The oldest has been open for ${duration(now - oldest)}.`;
  }
  const ends = resolved.map((incident) => seconds(incident.until) ?? 0);
  return ends.length ? `The last one ended ${duration(now - Math.max(...ends))} ago, at ${moment(Math.max(...ends), now)} UTC.` : "";
}

/** Model and columns of one incident, as links. @param {Incident} incident */
function namesIn(incident) {
  const columns = incident.alerts.flatMap((alert) => (alert.column ? [alert.column] : []));
  return {
    models: new Map([[incident.model, link.model(incident.model, null)]]),
    columns: new Map(columns.map((column) => [column, link.feature(incident.model, column)])),
  };
}

function IncidentRow({ incident, now, wanted }) {
  const ref = useRef(null);
  useEffect(() => {
    if (wanted) ref.current?.scrollIntoView({ block: "center" });
  }, [wanted]);
  const { models, columns } = namesIn(incident);
  const firing = incident.status === "firing";
  const status = firing ? (incident.severity === "page" ? "act" : "watch") : "ok";
  const since = seconds(incident.since) ?? now;
  const until = seconds(incident.until);
  const time = firing ? `since ${moment(since, now)} UTC` : `${moment(since, now)} to ${moment(until ?? now, now)} UTC`;
  return html`<article class="incident ${wanted ? "wanted" : ""}" ref=${ref} id=${incident.id}>
    <${Glyph} status=${status} size=${14} />
    <div class="incident-body">
      <h3><a class="plain" data-row href=${models.get(incident.model)}>${plain(incident.headline)}</a></h3>
      <p class="sub">${incident.model} ${versionName(incident.version)} · ${incident.severity}</p>
    </div>
    <div class="incident-time">
      <${StatusWord} status=${status} text=${firing ? "" : "Resolved"} />
      <p class="sub">${time}</p>
      <p class="sub">${firing ? "open for" : "lasted"} ${duration((until ?? now) - since)}</p>
    </div>
    <ul class="alerts">
      ${told(incident.alerts).map((alert) => html`<${AlertRow} alert=${alert} now=${now} models=${models} columns=${columns} />`)}
    </ul>
  </article>`;
}

/** Two signals of a column may say the same: it is said once, since the earlier. @param {Alert[]} alerts */
function told(alerts) {
  const found = new Map();
  for (const alert of alerts) {
    const key = `${alert.column}\n${alert.text}`;
    const first = found.get(key);
    if (!first) found.set(key, alert);
    else if (alert.since < first.since) found.set(key, { ...first, since: alert.since });
  }
  return [...found.values()];
}

function AlertRow({ alert, now, models, columns }) {
  const since = moment(seconds(alert.since) ?? now, now);
  const over = alert.value != null && alert.threshold ? `${quantity(alert.value)} against a limit of ${quantity(alert.threshold)}` : "";
  const begins = alert.column && alert.text.startsWith(`${alert.column} `);
  const text = begins ? `\`${alert.column}\`${alert.text.slice(alert.column.length)}` : alert.text || alert.name;
  return html`<li>
    ${alert.column && !begins && html`<a class="mono" href=${columns.get(alert.column)}>${alert.column}</a>`}
    <span><${Sentence} text=${text} models=${models} columns=${columns} /></span>
    <span class="note" title=${over}>since ${since}</span>
  </li>`;
}
