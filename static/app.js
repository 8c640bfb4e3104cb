/* Progressive enhancement only: every page works without this file.
 * It is loaded in the head and blocks, so that the chosen theme stands before the first paint. */
(function () {
  "use strict";

  const root = document.documentElement;
  root.classList.add("js");

  /* Theme: "light" or "dark" where a person chose; anything else follows the system.
   * The admin pages keep their choice under the same name. */
  function storedTheme() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // Storage is switched off: the system decides.
    }
  }

  function setTheme(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }

  function storeTheme(theme) {
    setTheme(theme);
    try {
      localStorage.setItem("theme", theme);
    } catch {
      say("This browser does not keep the choice after you leave.");
    }
  }

  function isDark() {
    return root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  setTheme(storedTheme());

  function showTheme() {
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-pressed", String(isDark()));
    for (const radio of document.querySelectorAll("[data-theme-choice]")) {
      radio.checked = radio.value === (root.dataset.theme || "auto");
    }
  }

  function onReady() {
    const filters = document.querySelector("details.filters");
    const folded = matchMedia("(max-width: 60rem)").matches;
    if (filters && folded && !filters.querySelector(":checked")) filters.open = false;

    const first = document.querySelector("[data-focus]");
    if (first) first.focus();

    showTheme();
  }

  document.addEventListener("DOMContentLoaded", onReady);

  function say(sentence) {
    const live = document.getElementById("say");
    if (live) live.textContent = sentence;
  }

  function showProblem(visible) {
    const box = document.getElementById("problem");
    if (!box) return;
    box.hidden = !visible;
    if (visible) box.scrollIntoView({ block: "nearest" });
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      say("Copied " + button.dataset.label);
      button.dataset.copied = "";
      setTimeout(() => delete button.dataset.copied, 2000);
    } catch {
      // No clipboard here (plain http, or refused): leave the text marked for the person's own copy key.
      getSelection().selectAllChildren(source);
      say("Selected " + button.dataset.label + ". Press the copy key.");
    }
  }

  document.addEventListener("click", (event) => {
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier);

    if (event.target.closest("#theme")) {
      storeTheme(isDark() ? "light" : "dark");
      showTheme();
    }

    if (event.target.closest("[data-print]")) window.print();
    if (event.target.closest("[data-reload]")) window.location.reload();
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-theme-choice]")) return;
    storeTheme(event.target.value);
    showTheme();
  });

  /* "/" goes to the search, unless the person switched that off in the profile or is typing. */
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!("searchKey" in document.body.dataset)) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const search = document.getElementById("q");
    if (!search) return;
    event.preventDefault();
    search.focus();
  });

  /* An order is sent once: a second press while the first is on its way does nothing.
   * (The server would answer with the same order: the form carries an idempotency key.) */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-once]")) return;
    if ("sent" in form.dataset) event.preventDefault();
    else form.dataset.sent = "";
  });

  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("[data-once]")) delete form.dataset.sent;
  });

  /* Polling: not while the tab is hidden; the element's own trigger catches up when it is shown.
   * (htmx trigger filters would need eval, which the content security policy forbids.) */
  document.addEventListener("htmx:beforeRequest", (event) => {
    const source = event.detail.elt;
    if (source.hasAttribute("data-poll")) {
      if (document.hidden) event.preventDefault();
      return;
    }
    // The order is on its way: its price needs no other look, and leaving the page would cut the question off.
    if ("sent" in source.dataset) {
      event.preventDefault();
      return;
    }
    showProblem(false);
    event.detail.target.setAttribute("aria-busy", "true");
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    event.detail.target.removeAttribute("aria-busy");
  });

  /* A whole document instead of a fragment means that the session has ended: reload, which signs in. */
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!/^\s*<!doctype/i.test(event.detail.serverResponse)) return;
    if (event.detail.xhr.status >= 400) return;
    event.detail.shouldSwap = false;
    window.location.reload();
  });

  function onTrouble(event) {
    if (event.detail.elt.hasAttribute("data-poll")) say("Connection lost. Still trying.");
    else showProblem(true);
  }

  document.addEventListener("htmx:sendError", onTrouble);
  document.addEventListener("htmx:responseError", onTrouble);

  /* What holds the focus is never replaced from afar. */
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (event.detail.target.contains(document.activeElement)) event.detail.shouldSwap = false;
  });

  /* A pressed button that was replaced gives its focus to the message that came for it.
   * (On htmx:afterSwap the target of an outerHTML swap is already detached, so this listens to htmx:load.) */
  document.addEventListener("htmx:load", (event) => {
    const loaded = event.detail.elt;
    const message = loaded.matches("[data-focus-swap]") ? loaded : loaded.querySelector("[data-focus-swap]");
    if (message) message.focus();
  });
})();
