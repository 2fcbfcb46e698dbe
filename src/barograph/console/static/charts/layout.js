/** Room for text in charts: measured widths, widths of words, and labels that push each other apart. */

import { createContext, useLayoutEffect, useRef, useState } from "../html.js";

/** What every chart of a page shares. */
export const ChartPage = createContext({ from: 0, to: 1, now: 1, events: [], gaps: [], table: false });

/** The page that charts share, from any document. @returns {ChartPage} */
export function chartPage(doc, route) {
  const time = (iso) => Date.parse(iso) / 1000;
  return {
    from: time(doc.range.from),
    to: time(doc.range.to),
    now: time(doc.now),
    events: doc.events ?? [],
    gaps: doc.gaps ?? [],
    table: route.query.get("view") === "table",
  };
}

/** The width of an element, kept up to date. @returns {[{current: any}, number]} */
export function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = ref.current;
    const measure = () => setWidth(Math.floor(element.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** Width of a text in pixels, near enough to leave room for it. @param {string} text */
export const textWidth = (text, size = 11) => {
  let width = 0;
  for (const letter of text) width += /[ijl.,:'|()[\] ]/.test(letter) ? 0.32 : /[mwMW%]/.test(letter) ? 0.88 : /[A-Z]/.test(letter) ? 0.68 : 0.6;
  return width * size;
};

/**
 * Moves labels apart until none overlap, keeping their order and staying within bounds.
 * @param {any[]} labels each with its `y` @param {number} top @param {number} bottom
 */
export function pushApart(labels, top, bottom, height = 13) {
  const sorted = labels.map((label) => ({ ...label })).sort((a, b) => a.y - b.y);
  sorted.forEach((label, index) => {
    label.y = Math.max(label.y, index ? sorted[index - 1].y + height : top);
  });
  for (let index = sorted.length - 1, floor = bottom; index >= 0; index -= 1) {
    sorted[index].y = Math.min(sorted[index].y, floor);
    floor = sorted[index].y - height;
  }
  return sorted;
}

let count = 0;

/** An id that no other element of the page has, for gradients and patterns. */
export function useId() {
  const ref = useRef("");
  if (!ref.current) ref.current = `c${(count += 1)}`;
  return ref.current;
}
