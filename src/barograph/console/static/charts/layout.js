/** What charts share: the page's window of time, room for text, and labels that push each other apart. */

import { seconds } from "../format.js";
import { createContext, html, useLayoutEffect, useRef, useState } from "../html.js";
import { round } from "./paths.js";

/** The window, the events and the gaps of a page, as {@link ChartPage}. */
export const ChartContext = createContext(null);

/** @param {Route} route @returns {ChartPage} */
export function chartPage(doc, route) {
  const { events = [], gaps = [], range, now } = doc;
  const table = route.query.get("view") === "table";
  return { from: seconds(range.from), to: seconds(range.to), now: seconds(now), events, gaps, table };
}

/** A ref, and the width of its element, kept up to date; 0 before it is known. */
export function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const measure = () => setWidth(Math.floor(ref.current.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

let ids = 0;

/** An id that no other element of the page has, for gradients and patterns. */
export function useId() {
  const ref = useRef("");
  ref.current ||= `c${(ids += 1)}`;
  return ref.current;
}

/** Width of a text in pixels, near enough to leave room for it. */
export function textWidth(text, size = 11) {
  let width = 0;
  for (const letter of text) width += /[ijl.,:'|()[\] ]/.test(letter) ? 0.34 : /[mwMW%]/.test(letter) ? 0.9 : /[A-Z]/.test(letter) ? 0.7 : 0.62;
  return width * size;
}

/** A text of a chart. `kind`: classes of the style sheet. */
export function label(x, y, text, { kind = "", anchor = "start", fill = "" } = {}) {
  return html`<text class="axis ${kind}" x=${round(x)} y=${round(y)} text-anchor=${anchor} style=${fill && { fill }}>${text}</text>`;
}

/** A text centred under a mark of an axis, kept between two bounds. */
export function axisLabel(x, y, text, left, right) {
  const half = textWidth(text) / 2;
  if (x > right - half + 4) return label(Math.min(x, right), y, text, { anchor: "end" });
  return label(x, y, text, { anchor: x < left + half - 4 ? "start" : "middle" });
}

/** Moves labels, by their `y`, until none overlap: their order stays, and they stay within bounds. */
export function pushApart(labels, top, bottom, height = 13) {
  const sorted = labels.map((one) => ({ ...one })).sort((a, b) => a.y - b.y);
  sorted.forEach((one, index) => {
    one.y = Math.max(one.y, index ? sorted[index - 1].y + height : top);
  });
  for (let index = sorted.length - 1, floor = bottom; index >= 0; index -= 1) {
    sorted[index].y = Math.min(sorted[index].y, floor);
    floor = sorted[index].y - height;
  }
  return sorted;
}
