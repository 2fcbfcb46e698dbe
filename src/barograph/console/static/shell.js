/** What surrounds every page: the top bar and the help. */

import { day, duration, fullTime, moment, seconds, timeSpan } from "./format.js";
import { html, useEffect, useLayoutEffect, useRef, useSeconds, useState } from "./html.js";
import { KEYS } from "./keys.js";
import { RANGES, link, rangeOf, setQuery } from "./router.js";

/** Dark to light and back; theme.js keeps the choice. */
export const switchTheme = () => dispatchEvent(new Event("barograph:switch-theme"));

const Mark = html`<svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
  <circle cx="10" cy="10" r="8.6" fill="none" stroke="currentColor" stroke-width="1.7" />
  <path d="M3 12.2h3.2l2-5.6 3 8.2 1.9-4.6h4" fill="none" stroke="var(--live)" stroke-width="1.9" stroke-linejoin="round" stroke-linecap="round" />
</svg>`;

export function TopBar({ route, view, onFind, onHelp }) {
  const firing = useFiring(view.doc);
  const inIncidents = route.page === "incidents";
  return html`<header class="top">
    <a class="brand" href=${link.fleet()} aria-label="barograph, fleet">${Mark}<span>barograph</span></a>
    <nav class="nav" aria-label="Main">
      <a href=${link.fleet()} aria-current=${inIncidents || route.page === "missing" ? null : "page"}>Fleet</a>
      <a href=${link.incidents()} aria-current=${inIncidents ? "page" : null}>
        Incidents${firing > 0 && html`<span class="count" aria-label="${firing} firing">${firing}</span>`}
      </a>
    </nav>
    <div class="controls">
      <${Freshness} view=${view} />
      ${!inIncidents && route.page !== "readiness" && html`<${RangeChoice} route=${route} />`}
      <${Now} doc=${view.doc} route=${route} />
      <button class="button" aria-label="Find a model or a column" onClick=${onFind}>Find <kbd>/</kbd></button>
      <button class="button wide-only" aria-label="Keys and words" onClick=${onHelp}><kbd>?</kbd></button>
      <button class="button" aria-label="Switch between dark and light" onClick=${switchTheme}>◐</button>
    </div>
  </header>`;
}

/** How many incidents that page are firing, as the last document said. */
function useFiring(doc) {
  const last = useRef(0);
  if (Array.isArray(doc?.incidents)) last.current = doc.incidents.filter((incident) => incident.status === "firing" && incident.severity === "page").length;
  else if (typeof doc?.incidents === "number") last.current = doc.incidents;
  return last.current;
}

/** An evaluator that has not judged for so long is behind. */
const LATE_SECONDS = 600;

/** How old what is shown is: since the server last answered, or, if the evaluator is behind, since it last judged. */
function Freshness({ view }) {
  useSeconds();
  if (!view.at) return null;
  const age = Math.max(0, (Date.now() - view.at) / 1000);
  const { updated, speed = 1 } = view.doc;
  const now = seconds(view.clock ?? view.doc.now); // a document that did not change is older than the clock
  const behind = updated && now - seconds(updated) > Math.max(LATE_SECONDS, 30 * speed);
  const text = behind ? `Last judged ${moment(seconds(updated), now)} UTC` : age < 3 ? "Updated now" : `Updated ${duration(age)} ago`;
  return html`<span class="fresh"><i class="dot ${view.failure || behind ? "lost" : ""}"></i>${text}</span>`;
}

function RangeChoice({ route }) {
  const chosen = rangeOf(route);
  return html`<div class="segments" role="group" aria-label="Time range">
    ${Object.entries(RANGES).map(
      ([range, name]) => html`<button aria-pressed=${range === chosen} onClick=${() => setQuery({ range, at: null }, { replace: false })}>${name}</button>`,
    )}
  </div>`;
}

/** The clock of the data: wall time, simulated time, or the past window that the reader went to. */
function Now({ doc, route }) {
  if (!doc) return html`<span class="now"></span>`;
  const now = seconds(doc.now) ?? 0;
  if (!route.query.get("to") || !doc.range) {
    const speed = doc.speed && doc.speed !== 1 ? `, ${doc.speed}×` : "";
    return html`<span class="now" title=${speed ? `Simulated time, ${doc.speed} times as fast as the clock on the wall` : ""}>${fullTime(now)}${speed}</span>`;
  }
  const [from, to] = [seconds(doc.range.from) ?? 0, seconds(doc.range.to) ?? 0];
  const span = Math.floor(from / 86400) === Math.floor(to / 86400) ? `${day(from)}, ${timeSpan(from, to)}` : timeSpan(from, to);
  return html`<span class="now past">${span}${"\u00a0"}UTC</span>
    <button class="button" onClick=${() => setQuery({ to: null, at: null }, { replace: false })}>To now</button>`;
}

/** A modal dialog that closes on Esc and on a click beside it. */
export function Dialog({ name, onClose, children, className = "" }) {
  const ref = useRef(null);
  useLayoutEffect(() => ref.current.showModal(), []); // before the next key, which belongs to the dialog
  const onClick = (event) => event.target === ref.current && onClose();
  return html`<dialog ref=${ref} class=${className} aria-label=${name} onClose=${onClose} onClick=${onClick}>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}

export function HelpDialog({ onClose }) {
  const [terms, setTerms] = useState(/** @type {Glossary["terms"]} */ ([]));
  useEffect(() => {
    fetch("/api/glossary")
      .then((response) => (response.ok ? response.json() : null))
      .then((found) => found && setTerms(found.terms))
      .catch(() => {}); // the keys still help
  }, []);
  return html`<${Dialog} name="Keys and words" onClose=${onClose}>
    <div class="dialog-head"><h2>Keys</h2><button class="button" onClick=${onClose}>Close <kbd>Esc</kbd></button></div>
    <table class="keys">
      <tbody>
        ${KEYS.map(({ keys, does }) => html`<tr><td>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</td><td>${does}</td></tr>`)}
      </tbody>
    </table>
    ${terms.length > 0 &&
    html`<h2 class="terms-head">Words</h2>
      <dl class="terms">${terms.map(({ term, text }) => html`<dt>${term}</dt><dd>${text}</dd>`)}</dl>`}
  <//>`;
}
