/** Addresses of the console. Everything that a reader may want to share lives in the URL; nothing else is state. */

import { useEffect, useState } from "./html.js";

export const RANGES = { "1h": "1 h", "6h": "6 h", "24h": "24 h", "7d": "7 d", "30d": "30 d" };
export const RANGE_SECONDS = { "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000 };
export const DEFAULT_RANGE = "24h";

/** Settings that stay when the reader goes to another page. */
const KEPT = ["range", "to", "view"];
const CHANGED = "barograph:navigate";

/** @param {URL | Location} url @returns {Route} */
export function parse(url) {
  const query = new URLSearchParams(url.search);
  const path = url.pathname.replace(/\/+$/, "") || "/";
  const parts = path.split("/").slice(1).map(decoded);
  if (path === "/") return { page: "fleet", path, query };
  if (path === "/incidents") return { page: "incidents", path, query };
  if (parts[0] === "models" && parts.length === 2) return { page: "model", path, model: parts[1], query };
  if (parts[0] === "models" && parts[2] === "columns" && parts.length === 4) {
    return { page: "feature", path, model: parts[1], column: parts[3], query };
  }
  if (parts[0] === "models" && parts[2] === "readiness" && parts.length === 3) return { page: "readiness", path, model: parts[1], query };
  return { page: "missing", path, query };
}

/** Browsers drop "." and ".." from a path, however they are spelt: a tilde goes before them, here and on the server. */
const DOTS = /^~*\.{1,2}$/;

function decoded(part) {
  let name = part;
  try {
    name = decodeURIComponent(part);
  } catch {
    // as it is
  }
  return name.startsWith("~") && DOTS.test(name) ? name.slice(1) : name;
}

/** A name as one part of a path. */
const segment = (name) => encodeURIComponent(DOTS.test(name) ? `~${name}` : name);

/** The window that the URL asks for. @param {Route} route */
export function rangeOf(route) {
  const range = route.query.get("range") ?? "";
  return range in RANGES ? range : DEFAULT_RANGE;
}

function withQuery(path, changes) {
  const current = new URLSearchParams(location.search);
  const query = new URLSearchParams();
  for (const key of KEPT) if (current.has(key)) query.set(key, current.get(key));
  for (const [key, value] of Object.entries(changes)) if (value) query.set(key, value);
  return query.size ? `${path}?${query}` : path;
}

/** The path of a model or of one of its columns, on the console and, after /api, in the API. */
export function modelPath(model, column = "") {
  const path = `/models/${segment(model)}`;
  return column ? `${path}/columns/${segment(column)}` : path;
}

/** Links to the pages; the reader's range and view go along. */
export const link = {
  fleet: () => withQuery("/", {}),
  model: (name, version = "") => withQuery(modelPath(name), { version }),
  feature: (name, column, version = "") => withQuery(modelPath(name, column), { version }),
  readiness: (name) => withQuery(`${modelPath(name)}/readiness`, {}),
  incidents: (id = "", model = "") => withQuery("/incidents", { id, model }),
};

/** @param {string} href @param {{replace?: boolean}} [options] */
export function go(href, { replace = false } = {}) {
  const target = new URL(href, location.href);
  if (target.href === location.href) return;
  const moved = target.pathname !== location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  dispatchEvent(new Event(CHANGED));
  if (moved) scrollTo(0, 0);
}

/** Changes the query of this page; null removes a key. @param {Record<string, string | null>} changes */
export function setQuery(changes, options = { replace: true }) {
  const url = new URL(location.href);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) url.searchParams.delete(key);
    else url.searchParams.set(key, value);
  }
  go(url.href, options);
}

/** The route, kept up to date. @returns {Route} */
export function useRoute() {
  const [route, setRoute] = useState(() => parse(location));
  useEffect(() => {
    const update = () => setRoute(parse(location));
    addEventListener("popstate", update);
    addEventListener(CHANGED, update);
    return () => {
      removeEventListener("popstate", update);
      removeEventListener(CHANGED, update);
    };
  }, []);
  return route;
}

/** Turns plain clicks on links within the console into history entries; one listener for the whole document. */
export function interceptLinks() {
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const anchor = event.target instanceof Element && event.target.closest("a[href]");
    if (!(anchor instanceof HTMLAnchorElement) || anchor.target || anchor.origin !== location.origin) return;
    if (parse(new URL(anchor.href)).page === "missing") return; // the API and files are for the browser itself
    event.preventDefault();
    go(anchor.href);
  });
}
