/** The view library in one import: `html` templates (htm over Preact) and the hooks that the console uses. */

import { useEffect, useState } from "./vendor/hooks.js";
import { h } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);

export { createContext, render } from "./vendor/preact.js";
export { useContext, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";

/** Draws the component again every second. */
export function useSeconds() {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
}
