/* The theme: the system's, or the reader's own choice, kept on this machine. A classic script in the head, so that it
   is set before the first paint and no page flashes in the other colours. Paper is always light. */
(() => {
  const KEY = "barograph.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // Storage may be forbidden: a choice then lasts as long as the page.
  }
  const apply = () => {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", apply);
  addEventListener("barograph:switch-theme", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    apply();
    try {
      localStorage.setItem(KEY, chosen);
    } catch {
      // As above.
    }
  });
})();
