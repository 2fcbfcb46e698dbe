/** What stands where content is missing: each state says what is missing, since when, and what to do next. */

import { clock } from "./format.js";
import { html, useEffect, useErrorBoundary, useState } from "./html.js";
import { Glyph } from "./status.js";

/** @typedef {import("./types.js").State} State */

/** @type {Record<State["kind"], import("./types.js").Status | null>} */
const SHAPE = {
  empty: null,
  learning: "learning",
  no_data: "no_data",
  error: null,
  too_few: "no_data",
  no_labels: null,
  healthy: "ok",
};

/** The two lines that connect a service; shown when no model is known. */
export const NO_MODELS = {
  kind: "empty",
  title: "No models yet",
  text: "Add three lines to your service and name it as a target of barograph serve. This page fills within a minute of the first request.",
  code: `monitor = barograph.Monitor("my-model", version="1", reference="reference.json")
barograph.integrations.fastapi.instrument(app, monitor)
model = monitor.watch(model)`,
};

export const NO_LABELS = {
  kind: "no_labels",
  title: "No outcomes yet",
  text: "Whether the answers were right is known once labels arrive. Send them by the id of the prediction.",
  code: "monitor.feedback(prediction_id, label=True)",
};

/** @param {{state: State, actions?: any, level?: string}} props */
export function StateMessage({ state, actions = null }) {
  const shape = SHAPE[state.kind];
  return html`<div class="state">
    <p class="state-title">${shape && html`<${Glyph} status=${shape} size=${14} />`}${state.title}</p>
    <p class="state-text">${state.text}</p>
    ${state.progress != null &&
    html`<div class="bar" role="progressbar" aria-valuenow=${Math.round(state.progress * 100)} aria-label=${state.title}>
      <i style=${{ width: `${Math.min(100, state.progress * 100)}%` }}></i>
    </div>`}
    ${state.code && html`<pre class="code"><code>${state.code}</code></pre>`}
    ${actions && html`<div class="state-actions">${actions}</div>`}
  </div>`;
}

/** A page or part that could not be read: what failed, what is unaffected, try again. */
export function FailureMessage({ title, failure, onRetry }) {
  const details = [title, failure.status && `HTTP ${failure.status}`, failure.what, location.href].filter(Boolean).join("\n");
  return html`<${StateMessage}
    state=${{ kind: "error", title, text: `${failure.what} ${failure.remedy}` }}
    actions=${html`<button class="button" onClick=${onRetry}>Try again</button><${CopyButton} text=${details} name="Copy details" />`}
  />`;
}

export function CopyButton({ text, name }) {
  const [done, setDone] = useState(false);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setDone(true), () => setDone(false));
  return html`<button class="button" onClick=${copy}>${done ? "Copied" : name}</button>`;
}

/** Data is kept and dated while the server cannot be reached or refuses to answer. */
export function ConnectionBanner({ view }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, Math.ceil(((view.retryAt ?? 0) - Date.now()) / 1000));
  const shown = view.at ? `Showing data from ${clock(view.at / 1000)} UTC. ` : "";
  const title = view.failure.kind === "offline" ? "Console lost its server" : "The server could not refresh this page";
  return html`<div class="banner" role="status">
    <${Glyph} status="watch" size=${14} label="Watch" />
    <p>
      <b>${title}.</b> ${view.failure.kind === "refused" ? `${view.failure.what} ` : ""}${shown}
      <span aria-hidden="true">${left ? `Trying again in ${left}\u00a0s.` : "Trying again now."}</span>
    </p>
    <button class="button" onClick=${view.retry}>Try now</button>
  </div>`;
}

/** Still grey blocks of the content's size; the style sheet holds them back for 300 ms. @param {{blocks: number[][]}} props */
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
  return html`<${FailureMessage} title=${`This ${what} could not be drawn`} failure=${failure} onRetry=${reset} />`;
}
