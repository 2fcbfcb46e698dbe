/** Reads the JSON documents of the API and keeps them fresh. A document once shown is never taken away again. */

import { useEffect, useMemo, useRef, useState } from "./html.js";
import { rangeOf } from "./router.js";

const POLL_SECONDS = 5;
const RETRY_SECONDS = [2, 4, 8, 15, 30];
const TIMEOUT_SECONDS = 15;
const REMEMBERED = 24;

/** Documents seen lately, by path: going back shows them at once, then refreshes them. */
const seen = new Map();

/** The address of the document behind a page. @param {Route} route @returns {string | null} */
export function documentPath(route) {
  const query = new URLSearchParams({ range: rangeOf(route) });
  for (const key of ["to", "version"]) if (route.query.has(key)) query.set(key, route.query.get(key));
  if (route.page === "missing") return null;
  if (route.page === "incidents") return "/api/incidents";
  return `/api${route.page === "fleet" ? "/fleet" : route.path}?${query}`;
}

/** The reason that an answer gives for being an error. @param {Response} response @returns {Promise<Failure>} */
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
    const known = seen.get(path);
    this.etag = known?.etag ?? null;
    /** @type {View} */
    this.view = { doc: known?.doc ?? null, at: known?.at ?? null, clock: known?.clock ?? null, failure: null, retryAt: null };
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
      const clock = response.headers.get("X-Barograph-Clock");
      if (response.ok) {
        const doc = await response.json();
        pause = doc.poll_seconds || pause;
        this.accept(doc, response.headers.get("ETag"), clock);
      } else if (response.status === 304) {
        pause = this.view.doc.poll_seconds || pause;
        this.accept(this.view.doc, this.etag, clock);
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

  /** A document that holds: a new one, or the one at hand, which the server says is as it was. `clock` is the server's. */
  accept(doc, etag, clock) {
    this.failures = 0;
    this.etag = etag;
    const at = Date.now();
    seen.delete(this.path);
    seen.set(this.path, { doc, etag, at, clock });
    if (seen.size > REMEMBERED) seen.delete(seen.keys().next().value ?? "");
    this.show({ doc, at, clock, failure: null, retryAt: null });
  }

  /** @param {Failure} failure @returns {number} seconds until the next attempt */
  fail(failure) {
    const pause = RETRY_SECONDS[Math.min(this.failures, RETRY_SECONDS.length - 1)];
    this.failures += 1;
    this.show({ ...this.view, failure, retryAt: Date.now() + pause * 1000 });
    return pause;
  }

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
  const view = poller?.view ?? { doc: null, at: null, clock: null, failure: null, retryAt: null };
  const previous = last.current?.page === page ? last.current.view : null;
  const pending = !view.doc && !!previous?.doc;
  const shown = pending && previous ? { ...view, doc: previous.doc, at: previous.at, clock: previous.clock } : view;
  if (shown.doc) last.current = { page, view: shown };
  return { ...shown, pending, retry: () => poller?.poll() };
}
