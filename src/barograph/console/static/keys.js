/** The keyboard: one table of keys for dispatch and for help. Keys inside a chart are in charts/cursor.js. */

import { useEffect, useRef } from "./html.js";

/** What each key does, as the help shows it. */
export const KEYS = [
  { keys: "/", does: "Find a model or a column" },
  { keys: "g f", does: "Go to the fleet" },
  { keys: "g i", does: "Go to incidents" },
  { keys: "j k", does: "Next and previous row" },
  { keys: "Enter", does: "Open the row" },
  { keys: "1 2 3 4", does: "Tabs of a model" },
  { keys: "[ ]", does: "Earlier and later by half the range" },
  { keys: "t", does: "Charts as tables, and back" },
  { keys: "d", does: "Dark or light" },
  { keys: "?", does: "These keys" },
  { keys: "← →", does: "In a chart: step; with Shift ten steps" },
  { keys: "Esc", does: "In a chart: clear the moment" },
];

const SEQUENCE_MS = 1200;

/** Whether keys are text: in a field, unless it belongs to a dialog that has just closed. */
const isTyping = (target) => target instanceof Element && target.matches("input, select, textarea") && !target.closest("dialog:not([open])");

/**
 * Calls the action of a key or of a sequence such as "g f". Quiet while someone types or a dialog is open.
 * @param {Record<string, () => void>} actions
 */
export function useKeys(actions) {
  const current = useRef(actions);
  current.current = actions;
  useEffect(() => {
    let first = "";
    let firstAt = 0;
    const onKey = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const pair = event.timeStamp - firstAt < SEQUENCE_MS ? `${first} ${event.key}` : "";
      const action = current.current[pair] ?? current.current[event.key] ?? tabAction(event.key);
      first = event.key;
      firstAt = event.timeStamp;
      if (!action) return;
      event.preventDefault();
      first = "";
      action();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** Opens a tab of the page by its number. */
function tabAction(key) {
  const tab = /^[1-9]$/.test(key) && document.querySelectorAll(".tabs a")[key - 1];
  return tab && (() => /** @type {HTMLElement} */ (tab).click());
}

/** Moves the focus along the rows of the page (links marked `data-row`). @param {1 | -1} step */
export function stepRow(step) {
  const rows = Array.from(document.querySelectorAll("[data-row]"), (row) => /** @type {HTMLElement} */ (row));
  const here = rows.findIndex((row) => row === document.activeElement);
  const next = here < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, here + step));
  rows[next]?.focus();
}
