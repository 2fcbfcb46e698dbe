/** Reads the JSON documents of the API and keeps them fresh. A document once shown is never taken away again. */

import { useEffect, useMemo, useRef, useState } from "./html.js";
import { rangeOf } from "./router.js";

const POLL_SECONDS = 5;
const RETRY_SECONDS = [2, 4, 8, 15, 30];
const TIMEOUT_SECONDS = 15;
const REMEMBERED = 24;

/**
 * @typedef {object} Failure
 * @property {"offline" | "refused"} kind no answer at all, or an answer that is an error
 * @property {number} [status] HTTP status
 * @property {string} what what failed
 * @property {string} remedy what to do about it
 *
 * @typedef {object} View
 * @property {any} doc the last good document, or null
 * @property {number | null} at when it was last confirmed, wall clock in epoch milliseconds
 * @property {Failure | null} failure why the last attempt gave nothing
 * @property {number | null} retryAt when the next attempt follows a failure, epoch milliseconds
 */

/** Documents seen lately: going back shows them at once, then refreshes them. @type {Map<string, {doc: any, etag: string | null, at: number}>} */
const seen = new Map();

/** The document behind a page. @param {import("./router.js").Route} route @returns {string | null} */
export function documentPath(route) {
  const query = new URLSearchParams({ range: rangeOf(route) });
  for (const key of ["to", "version"]) {
    const value = route.query.get(key);
    if (value) query.set(key, value);
  }
  const part = encodeURIComponent;
  switch (route.page) {
    case "fleet":
      return `/api/fleet?${query}`;
    case "model":
      return `/api/models/${part(route.model ?? "")}?${query}`;
    case "feature":
      return `/api/models/${part(route.model ?? "")}/columns/${part(route.column ?? "")}?${query}`;
    case "incidents":
      return "/api/incidents";
    default:
      return null;
  }
}

/** @param {Response} response @returns {Promise<Failure>} */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  return {
    kind: "refused",
    status: response.status,
    what: body?.error?.what ?? `The server answered ${response.status} ${response.statusText}.`,
    remedy: body?.error?.remedy ?? "Collection is not affected. See the log of barograph serve.",
  };
}

/** Polls one document: every few seconds while all is well, with growing pauses while it is not. */
export class Poller {
  /** @param {string} path @param {(view: View) => void} onChange */
  constructor(path, onChange) {
    this.path = path;
    this.onChange = onChange;
    this.failures = 0;
    this.stopped = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    const known = seen.get(path);
    this.etag = known?.etag ?? null;
    /** @type {View} */
    this.view = { doc: known?.doc ?? null, at: known?.at ?? null, failure: null, retryAt: null };
  }

  /** Asks now, whatever the schedule says. */
  async poll() {
    clearTimeout(this.timer);
    if (this.stopped || this.asking) return;
    this.asking = true;
    let pause = POLL_SECONDS;
    try {
      const response = await fetch(this.path, {
        headers: this.etag ? { "If-None-Match": this.etag } : {},
        signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000),
      });
      pause = Number(response.headers.get("X-Poll-Seconds")) || POLL_SECONDS;
      if (response.ok) {
        const doc = await response.json();
        pause = Number(doc.poll_seconds) || pause;
        this.accept(doc, response.headers.get("ETag"));
      } else if (response.status === 304) {
        pause = Number(this.view.doc?.poll_seconds) || pause;
        this.accept(this.view.doc, this.etag);
      } else {
        pause = this.fail(await refusal(response));
      }
    } catch {
      const what = "The console has no connection to its server.";
      pause = this.fail({ kind: "offline", what, remedy: "Is barograph serve running?" });
    }
    this.asking = false;
    if (!this.stopped) this.timer = setTimeout(() => this.poll(), pause * 1000);
  }

  /** @param {any} doc @param {string | null} etag */
  accept(doc, etag) {
    this.failures = 0;
    this.etag = etag;
    const at = Date.now();
    seen.delete(this.path);
    seen.set(this.path, { doc, etag, at });
    if (seen.size > REMEMBERED) seen.delete(seen.keys().next().value ?? "");
    this.show({ doc, at, failure: null, retryAt: null });
  }

  /** @param {Failure} failure @returns {number} seconds until the next attempt */
  fail(failure) {
    const pause = RETRY_SECONDS[Math.min(this.failures, RETRY_SECONDS.length - 1)];
    this.failures += 1;
    this.show({ ...this.view, failure, retryAt: Date.now() + pause * 1000 });
    return pause;
  }

  /** @param {View} view */
  show(view) {
    this.view = view;
    if (!this.stopped) this.onChange(view);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
  }
}

/**
 * The document at a path, refreshed for as long as the page is open. When only the query changes (another range),
 * the old document stays, marked as pending, until the new one is here.
 * @param {string | null} path
 * @returns {View & {pending: boolean, retry: () => void}}
 */
export function useDocument(path) {
  const [, redraw] = useState({});
  /** @type {{current: {page: string, view: View} | null}} */
  const last = useRef(null);
  const poller = useMemo(() => (path ? new Poller(path, () => redraw({})) : null), [path]);

  useEffect(() => {
    if (!poller) return undefined;
    const wake = () => {
      if (!document.hidden) poller.poll();
    };
    poller.poll();
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
    return () => {
      poller.stop();
      removeEventListener("online", wake);
      document.removeEventListener("visibilitychange", wake);
    };
  }, [poller]);

  const page = path?.split("?")[0] ?? "";
  const view = poller?.view ?? { doc: null, at: null, failure: null, retryAt: null };
  const previous = last.current?.page === page ? last.current.view : null;
  const pending = !view.doc && !!previous?.doc;
  const shown = pending && previous ? { ...view, doc: previous.doc, at: previous.at } : view;
  if (shown.doc) last.current = { page, view: shown };
  return { ...shown, pending, retry: () => poller?.poll() };
}
