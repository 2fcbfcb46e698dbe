/** States of a model, a check or a column: shape, word and colour, always together. */

import { html } from "./html.js";

/** @type {Record<Status, {word: string, tone: string}>} */
const STATUS = {
  ok: { word: "OK", tone: "ok" },
  watch: { word: "Watch", tone: "warn" },
  act: { word: "Act now", tone: "crit" },
  no_data: { word: "No data", tone: "none" },
  learning: { word: "Learning", tone: "none" },
};

const SHAPES = {
  ok: html`<circle cx="6" cy="6" r="4.5" />`,
  warn: html`<path d="M6 .8 11.6 11H.4Z" />`,
  crit: html`<rect x="1" y="1" width="10" height="10" rx="1.5" transform="rotate(45 6 6) scale(.86) translate(1 1)" />`,
  none: html`<circle cx="6" cy="6" r="4" stroke-width="1.8" stroke-dasharray="2.4 1.9" />`,
};

/** The family of colours of a status: ok, warn, crit, none. */
export const tone = (status) => (STATUS[status] ?? STATUS.no_data).tone;

export const word = (status) => (STATUS[status] ?? STATUS.no_data).word;

/** Past a limit. */
export const isRaised = (status) => status === "watch" || status === "act";

/** The classes of a value: only what is past a limit is coloured. */
export const raised = (status) => (isRaised(status) ? `raised ${tone(status)}` : "");

/** "Act now: " before a title, where it is past a limit. */
export const alarm = (status) => (isRaised(status) ? `${word(status)}: ` : "");

/** The shape alone, for places that say the word themselves; `label` says it to screen readers. */
export function Glyph({ status, size = 12, label = "" }) {
  const shape = tone(status);
  return html`<svg class="glyph ${shape}" width=${size} height=${size} viewBox="0 0 12 12" aria-hidden="true">${SHAPES[shape]}</svg>
    ${label && html`<span class="visually-hidden">${label}</span>`}`;
}

/** Shape and word, or shape and `text`. */
export function StatusWord({ status, text = "", pill = false }) {
  return html`<span class="status ${tone(status)} ${pill ? "pill" : ""}"><${Glyph} status=${status} />${text || word(status)}</span>`;
}
