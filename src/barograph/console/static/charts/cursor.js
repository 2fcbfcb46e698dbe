/** The moment that all charts of a page point at: hovered, or pinned in the address as `at`. Times in epoch seconds. */

import { useEffect, useState } from "../html.js";
import { setQuery } from "../router.js";

const NOWHERE = { t: null, source: "" };

/** `source`: the id of the chart that the pointer or the focus is in. */
let hovered = NOWHERE;
/** @type {Value} */
let pinned = null;
let writing;
const listeners = new Set();

const tell = () => listeners.forEach((listener) => listener());

function hover(cursor) {
  if (hovered.t === cursor.t && hovered.source === cursor.source) return;
  hovered = cursor;
  tell();
}

/** Keeps a moment in the address; written a little later, so that stepping stays fast. */
function pin(t) {
  pinned = t;
  clearTimeout(writing);
  writing = setTimeout(() => setQuery({ at: t === null ? null : String(Math.round(t)) }), 250);
}

/** Takes the pinned moment from the address. @param {string | null} at */
export function restore(at) {
  clearTimeout(writing);
  pinned = at === null || Number.isNaN(Number(at)) ? null : Number(at);
  tell();
}

const current = () => (hovered.t === null ? { t: pinned, source: "" } : hovered);

/** The cursor, kept up to date. */
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
 * @param {string} id @param {number[]} times @param {(offset: number) => number} indexAt of a distance in pixels
 */
export function cursorHandlers(id, times, indexAt) {
  const timeUnder = (event) => times[indexAt(event.clientX - event.currentTarget.getBoundingClientRect().left)];
  const leave = () => hover(NOWHERE);
  return {
    onPointerMove: (event) => hover({ t: timeUnder(event), source: id }),
    onPointerLeave: leave,
    onBlur: leave,
    onClick: (event) => pin(timeUnder(event)),
    onKeyDown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -times.length, End: times.length }[event.key];
      if (event.key === "Escape") {
        pin(null);
        hovered = NOWHERE;
        tell();
      } else if (step && times.length) {
        const { t } = current();
        const here = t === null ? times.length : times.findLastIndex((time) => time <= t);
        const next = times[Math.min(times.length - 1, Math.max(0, here + step * (event.shiftKey ? 10 : 1)))];
        hover({ t: next, source: id });
        pin(next);
      } else {
        return;
      }
      event.preventDefault();
    },
  };
}
