/** The console: one route, one document, one page. */

import { documentPath, useDocument } from "./api.js";
import { restore } from "./charts/cursor.js";
import { Find } from "./find.js";
import { html, render, useEffect, useState } from "./html.js";
import { stepRow, useKeys } from "./keys.js";
import { FeaturePage } from "./pages/feature.js";
import { FleetPage } from "./pages/fleet.js";
import { IncidentsPage } from "./pages/incidents.js";
import { ModelPage } from "./pages/model.js";
import { ReadinessPage } from "./pages/readiness.js";
import { go, interceptLinks, link, setQuery, useRoute } from "./router.js";
import { HelpDialog, TopBar, switchTheme } from "./shell.js";
import { ConnectionBanner, FailureMessage, Guard, Skeleton } from "./states.js";
import { shiftWindow } from "./window.js";

/** Each page: its view of a document, the title of the tab, the blocks shown while it loads. */
const PAGES = {
  fleet: FleetPage,
  model: ModelPage,
  feature: FeaturePage,
  incidents: IncidentsPage,
  readiness: ReadinessPage,
};

function App() {
  const route = useRoute();
  const view = useDocument(documentPath(route));
  const [dialog, setDialog] = useState("");
  const page = route.page === "missing" ? null : PAGES[route.page];
  const close = (name) => setDialog((open) => (open === name ? "" : open)); // another may have opened meanwhile

  useEffect(() => restore(route.query.get("at")), [route.path, route.query.get("at")]);
  useEffect(() => {
    document.title = page ? page.title(route, view.doc) : "Not found · barograph";
  });
  useKeys({
    "/": () => setDialog("find"),
    "?": () => setDialog("help"),
    "g f": () => go(link.fleet()),
    "g i": () => go(link.incidents()),
    j: () => stepRow(1),
    k: () => stepRow(-1),
    t: () => setQuery({ view: route.query.get("view") === "table" ? null : "table" }),
    d: switchTheme,
    "[": () => shiftWindow(route, view.doc, -1),
    "]": () => shiftWindow(route, view.doc, 1),
  });

  return html`<a class="skip" href="#main">Skip to content</a>
    <${TopBar} route=${route} view=${view} onFind=${() => setDialog("find")} onHelp=${() => setDialog("help")} />
    <main id="main" tabindex="-1" aria-busy=${view.pending}>
      ${view.failure && view.doc && html`<${ConnectionBanner} view=${view} />`}
      <${Content} page=${page} route=${route} view=${view} />
    </main>
    ${dialog === "find" && html`<${Find} doc=${view.doc} route=${route} onClose=${() => close("find")} />`}
    ${dialog === "help" && html`<${HelpDialog} onClose=${() => close("help")} />`}`;
}

/** The page, or what stands for it while there is no document. */
function Content({ page, route, view }) {
  if (!page) return html`<${NotFound} path=${route.path} />`;
  if (view.doc) {
    return html`<${Guard} key=${route.path} doc=${view.doc} what="page"><${page} doc=${view.doc} route=${route} /><//>`;
  }
  if (view.failure?.status === 404) return html`<${NotFound} path=${route.path} failure=${view.failure} />`;
  if (view.failure) {
    const title = view.failure.kind === "offline" ? "Console has no server" : "This page could not be read";
    return html`<div class="sheet message"><${FailureMessage} title=${title} failure=${view.failure} onRetry=${view.retry} /></div>`;
  }
  return html`<${Skeleton} key=${route.path} blocks=${page.blocks} />`;
}

function NotFound({ path, failure = null }) {
  return html`<div class="sheet message">
    <h1>Nothing here</h1>
    <p class="lede">${failure ? `${failure.what} ${failure.remedy}` : html`<code>${path}</code> is not a page of the console.`}</p>
    <p class="state-actions"><a class="button" href=${link.fleet()}>To the fleet</a></p>
  </div>`;
}

interceptLinks();
render(html`<${App} />`, document.getElementById("app"));
