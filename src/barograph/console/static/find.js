/** The find box over models and columns. */

import { html, useEffect, useMemo, useState } from "./html.js";
import { go, link } from "./router.js";
import { Dialog } from "./shell.js";

const MOST = 12;

/** The names that the page at hand knows, until the whole list is here. @returns {Names["models"]} */
function namesOf(doc, route) {
  if (route.page === "fleet") return (doc?.models ?? []).map((model) => ({ name: model.name, columns: [] }));
  const columns = (doc?.causes?.columns ?? doc?.columns ?? []).map((column) => column.name);
  return route.model ? [{ name: route.model, columns }] : [];
}

/** Better matches have smaller numbers; -1 is none. @param {string} text @param {string} wanted */
function rank(text, wanted) {
  const at = text.toLowerCase().indexOf(wanted);
  if (at < 0) return -1;
  return at === 0 ? 0 : /[^a-z0-9]/i.test(text[at - 1]) ? 1 : 2;
}

/** Matches, best first; without a query the models, and the columns of the one at hand. @param {Names["models"]} names */
export function search(names, query, here) {
  const wanted = query.trim().toLowerCase();
  const hits = [];
  for (const { name, columns } of names) {
    const modelRank = rank(name, wanted);
    if (modelRank >= 0) hits.push({ text: name, sub: "model", href: link.model(name), order: modelRank });
    for (const column of columns) {
      const columnRank = rank(column, wanted);
      if (columnRank < 0 || (!wanted && name !== here)) continue;
      hits.push({ text: column, sub: name, href: link.feature(name, column), order: columnRank + (name === here ? 0.1 : 0.5) });
    }
  }
  return hits.sort((a, b) => a.order - b.order).slice(0, MOST);
}

export function Find({ doc, route, onClose }) {
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState(0);
  const [names, setNames] = useState(null);
  useEffect(() => {
    fetch("/api/names")
      .then((response) => (response.ok ? response.json() : null))
      .then((found) => found && setNames(found.models))
      .catch(() => {}); // the names of this page still serve
  }, []);
  const hits = useMemo(() => search(names ?? namesOf(doc, route), query, route.model), [names, doc, query]);
  const at = Math.min(chosen, hits.length - 1);

  const open = (hit) => {
    if (!hit) return;
    onClose();
    go(hit.href);
  };
  const onKeyDown = (event) => {
    if (event.key === "ArrowDown") setChosen(Math.min(hits.length - 1, at + 1));
    else if (event.key === "ArrowUp") setChosen(Math.max(0, at - 1));
    else if (event.key === "Enter") open(hits[at]);
    else return;
    event.preventDefault();
  };
  const onInput = (event) => {
    setQuery(event.target.value);
    setChosen(0);
  };
  return html`<${Dialog} name="Find" onClose=${onClose} className="find">
    <input
      autofocus type="text" role="combobox" aria-expanded="true" aria-controls="hits" aria-label="Find a model or a column"
      aria-activedescendant=${at >= 0 ? `hit-${at}` : null} placeholder="Model or column" autocomplete="off" spellcheck=${false}
      value=${query} onInput=${onInput} onKeyDown=${onKeyDown}
    />
    <ul id="hits" role="listbox" aria-label="Found">
      ${hits.map(
        (hit, index) => html`<li id="hit-${index}" role="option" aria-selected=${index === at} onPointerMove=${() => setChosen(index)} onClick=${() => open(hit)}>
          <span class=${hit.sub === "model" ? "" : "mono"}>${hit.text}</span><span class="note">${hit.sub}</span>
        </li>`,
      )}
    </ul>
    ${hits.length === 0 && html`<p class="note">No model or column has “${query}” in its name.</p>`}
    <p class="note dialog-foot"><kbd>↑</kbd> <kbd>↓</kbd> choose <kbd>Enter</kbd> open <kbd>Esc</kbd> close</p>
  <//>`;
}
