/** What stands where content is missing: each state says what is missing, since when, and what to do next. */

import { NBSP, fullTime, seconds } from "./format.js";
import { html, useEffect, useErrorBoundary, useSeconds, useState } from "./html.js";
import { Glyph } from "./status.js";

/** States that carry a shape. */
const SHAPE = { learning: "learning", no_data: "no_data", too_few: "no_data", healthy: "ok" };

export const NO_MODELS = {
  kind: "empty",
  title: "No models yet",
  text: "Add three lines to your service and name it as a target of barograph serve. This page fills within a minute of the first request.",
  code: `monitor = barograph.Monitor("my-model", version="1", reference="reference.json")
barograph.integrations.fastapi.instrument(app, monitor)
model = monitor.watch(model)`,
};

/** @param {{state: State, actions?: any}} props */
export function StateMessage({ state, actions = null }) {
  const { title, text, progress, code } = state;
  const shape = SHAPE[state.kind];
  return html`<div class="state">
    <p class="state-title">${shape && html`<${Glyph} status=${shape} size=${14} />`}${title}</p>
    <p class="state-text">${text}</p>
    ${progress != null &&
    html`<div class="bar" role="progressbar" aria-valuenow=${Math.round(progress * 100)} aria-label=${title}>
      <i style=${{ width: `${Math.min(100, progress * 100)}%` }}></i>
    </div>`}
    ${code && html`<pre class="code"><code>${code}</code></pre>`}
    ${actions && html`<div class="state-actions">${actions}</div>`}
  </div>`;
}

/** What could not be read: what failed, what is unaffected, try again. */
export function FailureMessage({ title, failure, onRetry }) {
  const [copied, setCopied] = useState(false);
  const details = [title, failure.status, failure.what, location.href].filter(Boolean).join("\n");
  const copy = () => navigator.clipboard?.writeText(details).then(() => setCopied(true), () => setCopied(false));
  return html`<${StateMessage}
    state=${{ kind: "error", title, text: `${failure.what} ${failure.remedy}` }}
    actions=${html`<button class="button" onClick=${onRetry}>Try again</button>
      <button class="button" onClick=${copy}>${copied ? "Copied" : "Copy details"}</button>`}
  />`;
}

/** Data is kept and dated while the server cannot be reached or refuses to answer. */
export function ConnectionBanner({ view }) {
  useSeconds();
  const left = Math.max(0, Math.ceil((view.retryAt - Date.now()) / 1000));
  const refused = view.failure.kind === "refused";
  return html`<div class="banner" role="status">
    <${Glyph} status="watch" size=${14} label="Watch" />
    <p>
      <b>${refused ? "The server could not refresh this page" : "Console lost its server"}.</b> ${refused ? `${view.failure.what} ` : ""}
      Showing data from ${fullTime(seconds(view.doc.now))}. <span aria-hidden="true">Trying again ${left ? `in ${left}${NBSP}s` : "now"}.</span>
    </p>
    <button class="button" onClick=${view.retry}>Try now</button>
  </div>`;
}

/** Still grey blocks of the content's size, as [height, columns]; the style sheet holds them back for 300 ms. */
export function Skeleton({ blocks }) {
  return html`<div class="skeleton" aria-busy="true" aria-label="Loading">
    ${blocks.map(
      ([height, columns = 1]) => html`<div class="skeleton-row">
        ${Array.from({ length: columns }, () => html`<span style=${{ height: `${height}px` }}></span>`)}
      </div>`,
    )}
  </div>`;
}

/** Keeps a part that cannot be drawn from taking the page with it; a new document gives it another chance. */
export function Guard({ doc, what, children }) {
  const [error, reset] = useErrorBoundary();
  useEffect(() => {
    if (error) reset();
  }, [doc]);
  if (!error) return children;
  const failure = { what: `${error.message ?? error}.`, remedy: "Collection is not affected, nothing is lost." };
  return html`<${FailureMessage} title="This ${what} could not be drawn" failure=${failure} onRetry=${reset} />`;
}
