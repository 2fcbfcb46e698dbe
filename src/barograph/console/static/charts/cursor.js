/** The moment that all charts of a page point at: hovered, or pinned in the URL as `at`. */

import { useEffect, useState } from "../html.js";
import { setQuery } from "../router.js";

/**
 * @typedef {object} Cursor
 * @property {Value} t epoch seconds
 * @property {string | null} source id of the chart that the pointer or the focus is in
 */

/** @type {Cursor} */
let hovered = { t: null, source: null };
/** @type {Value} */
let pinned = null;
/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let writing;

const tell = () => listeners.forEach((listener) => listener());

/** @param {number} t @param {string} source */
export function hover(t, source) {
  if (hovered.t === t && hovered.source === source) return;
  hovered = { t, source };
  tell();
}

/** The pointer has left: back to the pinned moment, if there is one. */
export function leave() {
  if (hovered.t === null) return;
  hovered = { t: null, source: null };
  tell();
}

/** Keeps a moment in the URL; written a little later, so that stepping stays fast. @param {Value} t */
export function pin(t) {
  pinned = t;
  clearTimeout(writing);
  writing = setTimeout(() => setQuery({ at: t === null ? null : String(Math.round(t)) }), 250);
}

/** Takes the pinned moment from the URL. @param {string | null} at */
export function restore(at) {
  const t = at === null ? null : Number(at);
  clearTimeout(writing);
  if (t === pinned || Number.isNaN(t)) return;
  pinned = t;
  tell();
}

export function clear() {
  hovered = { t: null, source: null };
  pin(null);
  tell();
}

/** @returns {Cursor} */
export const current = () => (hovered.t === null ? { t: pinned, source: null } : hovered);

/** The cursor, kept up to date. @returns {Cursor} */
export function useCursor() {
  const [, redraw] = useState({});
  useEffect(() => {
    const listener = () => redraw({});
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }, []);
  return current();
}

/**
 * Pointer and keys of a chart over samples: hover, click to pin, arrows to step, Shift for ten, Esc to clear.
 * @param {{id: string, times: number[], indexAt: (event: any) => number}} chart
 */
export function cursorHandlers({ id, times, indexAt }) {
  const indexNow = () => {
    const { t } = current();
    if (t === null) return times.length;
    const found = times.findIndex((time) => time >= t);
    return found < 0 ? times.length - 1 : found;
  };
  return {
    onPointerMove: (event) => hover(times[indexAt(event)], id),
    onPointerLeave: leave,
    onClick: (event) => pin(times[indexAt(event)]),
    onBlur: leave,
    onKeyDown: (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -times.length, End: times.length };
      if (event.key === "Escape") {
        clear();
      } else if (event.key in steps && times.length) {
        const moved = indexNow() + steps[event.key] * (event.shiftKey ? 10 : 1);
        const t = times[Math.min(times.length - 1, Math.max(0, moved))];
        hover(t, id);
        pin(t);
      } else {
        return;
      }
      event.preventDefault();
    },
  };
}
