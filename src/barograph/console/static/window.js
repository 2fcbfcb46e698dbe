/** The window of time that a page shows. */

import { seconds } from "./format.js";
import { RANGE_SECONDS, rangeOf, setQuery } from "./router.js";

/** Moves the window by half its length; at the present it follows the clock again. */
export function shiftWindow(route, doc, step) {
  if (!doc?.range) return;
  const span = RANGE_SECONDS[rangeOf(route)];
  const now = seconds(doc.now) ?? 0;
  const end = (seconds(doc.range.to) ?? now) + (step * span) / 2;
  const to = end >= now - 60 ? null : new Date(Math.floor(end / 60) * 60000).toISOString().replace(".000Z", "Z");
  setQuery({ to, at: null }, { replace: false });
}
