/** States of a model, a check or a column: shape, word and colour, always together. */

import { html } from "./html.js";

/** @typedef {import("./types.js").Status} Status */

/** @type {Record<Status, {word: string, tone: "ok" | "warn" | "crit" | "none"}>} */
export const STATUS = {
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
  none: html`<circle cx="6" cy="6" r="4" fill="none" stroke-width="1.8" stroke-dasharray="2.4 1.9" />`,
};

/** @param {Status | null | undefined} status */
export const tone = (status) => (STATUS[status ?? "no_data"] ?? STATUS.no_data).tone;

/** @param {Status | null | undefined} status */
export const word = (status) => (STATUS[status ?? "no_data"] ?? STATUS.no_data).word;

/** Past a limit: the only states that colour a value. @param {Status | null | undefined} status */
export const isRaised = (status) => status === "watch" || status === "act";

/** The shape alone; always beside its word, or with the word for screen readers in `label`. */
export function Glyph({ status, size = 12, label = "" }) {
  return html`<svg
      class="glyph ${tone(status)}" width=${size} height=${size} viewBox="0 0 12 12" aria-hidden="true"
      >${SHAPES[tone(status)]}</svg
    >${label && html`<span class="visually-hidden">${label}</span>`}`;
}

/** Shape and word, optionally as a pill; `text` replaces the word. */
export function StatusWord({ status, text = "", pill = false }) {
  return html`<span class="status ${tone(status)} ${pill ? "pill" : ""}">
    <${Glyph} status=${status} />${text || word(status)}
  </span>`;
}
