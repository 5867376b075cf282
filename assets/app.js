/* What the page does by itself: light/dark, Ctrl+Enter, copying a link, saving a file. */
(() => {
  const KEY = "prism-appearance";
  const remembered = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  const paint = (dark) => {
    document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    const button = document.querySelector("#px-appearance");
    if (button) button.setAttribute("aria-pressed", String(dark));
  };
  const wanted = () => {
    const asked = new URL(location.href).searchParams.get("__theme") || remembered();
    if (asked === "dark" || asked === "light") return asked === "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches;
  };

  /* Tabs of one visitor tell each other what they save; nothing of it leaves the browser. */
  const tabs = "BroadcastChannel" in window ? new BroadcastChannel("prism-history") : null;
  const hear = (text) => {
    const box = document.querySelector("#px-heard textarea, #px-heard input");
    if (!box) return;
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };
  if (tabs) tabs.onmessage = (message) => hear(String(message.data));

  window.prism = {
    tell(entries) {
      if (tabs && Array.isArray(entries)) tabs.postMessage(JSON.stringify(entries));
    },
    toggleAppearance() {
      const dark = !document.body.classList.contains("dark");
      try { localStorage.setItem(KEY, dark ? "dark" : "light"); } catch { /* private mode */ }
      paint(dark);
    },
    run() {
      const run = document.querySelector("button#px-run");
      if (run && !run.disabled && run.offsetParent) run.click();
    },
    /* The file is made here from text that this visitor's page holds; the server keeps none. */
    save(name, type, text) {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type }));
      link.download = name;
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    },
    /* As if it had been clicked: only then the page tells the tab that it was opened. */
    openTab(id, tries = 40) {
      if (!id) return;
      const tab = document.querySelector(`#px-tabs [role=tab][data-tab-id="${CSS.escape(id)}"]`);
      if (tab) tab.click();
      else if (tries) setTimeout(() => window.prism.openTab(id, tries - 1), 50);
    },
    /* A hidden button that has just been given something to do. */
    press(selector) {
      setTimeout(() => document.querySelector(selector)?.click(), 200);
    },
    /* Bring a part of the page into view that has just been filled. */
    reveal(selector) {
      const part = document.querySelector(selector);
      if (!part || part.getBoundingClientRect().top < innerHeight * 0.6) return;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      part.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
    },
    /* The address of the run on the screen, so that a reload finds it again. */
    showRun(key, id) {
      if (!id) return;
      const url = new URL(location.href);
      url.search = `?${key}=${encodeURIComponent(id)}`;
      history.replaceState(null, "", url);
    },
    async copyLink(query) {
      const url = new URL(location.href);
      url.search = query;
      url.hash = "";
      history.replaceState(null, "", url);
      try { await navigator.clipboard.writeText(url.href); } catch { /* shown to be copied by hand */ }
      return url.href;
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    if (!event.target.closest?.("#px-compose")) return;
    event.preventDefault();
    /* Let the text box hand its latest text over before the click reads it. */
    setTimeout(() => window.prism.run(), 60);
  }, true);
  /* Bring the answers into view where they begin below the screen, as on a phone. */
  const reveal = () => {
    const status = document.querySelector("#px-status");
    if (!status || status.getBoundingClientRect().top < innerHeight * 0.7) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    status.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#px-run")) setTimeout(reveal, 400);
    if (event.target.closest?.("#px-appearance")) window.prism.toggleAppearance();
  });

  let tries = 0;
  const start = () => {
    if (!document.body) return setTimeout(start, 20);
    paint(wanted());
    if (!document.querySelector("#px-appearance") && tries++ < 200) setTimeout(start, 50);
  };
  start();
})();
