/** Sentences of the API, with the names in them turned into links. */

import { unbroken } from "./format.js";
import { html } from "./html.js";

/** Names that cannot be mistaken for English words. @param {string} name */
const isUnmistakable = (name) => /[a-z0-9][_-][a-z0-9]/i.test(name);

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/**
 * Splits a sentence at names: those in backticks, and those of `known` that no English word could be.
 * @param {string} text
 * @param {Iterable<string>} known
 * @returns {{text: string, name: boolean}[]}
 */
export function splitNames(text, known) {
  const plain = [...known].filter(isUnmistakable).sort((a, b) => b.length - a.length).map(escaped);
  const names = plain.length ? `|(?<![\\w-])(?:${plain.join("|")})(?![\\w-])` : "";
  const parts = text.split(new RegExp(`(\`[^\`]+\`${names})`));
  return parts.map((part, index) => ({ text: part.replace(/^`(.*)`$/, "$1"), name: index % 2 === 1 })).filter((part) => part.text);
}

/**
 * A sentence. `models` and `columns` map known names to their addresses; columns are set in monospace.
 * @param {{text: string | null, models?: Map<string, string>, columns?: Map<string, string>}} props
 */
export function Sentence({ text, models = new Map(), columns = new Map() }) {
  if (!text) return null;
  return splitNames(unbroken(text), [...models.keys(), ...columns.keys()]).map((part) => {
    if (!part.name) return part.text;
    const model = models.get(part.text);
    if (model) return html`<a class="name" href=${model}>${part.text}</a>`;
    const column = columns.get(part.text);
    return column ? html`<a class="name mono" href=${column}>${part.text}</a>` : html`<b class="mono">${part.text}</b>`;
  });
}
