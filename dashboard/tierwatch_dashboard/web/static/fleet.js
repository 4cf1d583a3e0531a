// The fleet page: cards or table, the search's key, the view's address, the window that grows, and
// which answers still fit the view.
"use strict";
(() => {
  const root = document.documentElement;
  const LAYOUTS = ["cards", "table"];
  const stored = localStorage.getItem("layout");
  // Set before anything is painted, so that no page changes its looks once it is seen.
  root.dataset.layout = LAYOUTS.includes(stored) ? stored : "cards";

  const has = (name) => document.querySelector(`#has [name="${name}"]`);

  function setUpLayout() {
    const buttons = [...document.querySelectorAll("button[data-layout]")];
    const say = () => {
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(button.dataset.layout === root.dataset.layout));
      }
    };
    for (const button of buttons) {
      button.hidden = false;
      button.addEventListener("click", () => {
        root.dataset.layout = button.dataset.layout;
        localStorage.setItem("layout", button.dataset.layout);
        say();
      });
    }
    say();
  }

  function setUpSearch() {
    const search = document.getElementById("q");
    document.addEventListener("keydown", (event) => {
      const writing = event.target.closest("input, textarea, select, [contenteditable]");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || writing) return;
      event.preventDefault();
      search.focus();
      search.select();
    });
  }

  // The server sends the entries' order only when it changed; they are moved, not made anew, so
  // that focus and scroll place stay.
  function applyOrder() {
    const order = document.getElementById("order");
    const list = document.getElementById("machines");
    if (!order.value) return;
    const rows = new Map([...list.children].map((row) => [row.id, row]));
    let place = list.firstElementChild;
    for (const id of JSON.parse(order.value)) {
      const row = rows.get(id);
      if (!row) continue;
      rows.delete(id);
      if (row === place) place = row.nextElementSibling;
      else if (list.moveBefore) list.moveBefore(row, place);
      else list.insertBefore(row, place);
    }
    for (const row of rows.values()) row.remove();
    order.value = "";
  }

  // More machines come as one scrolls: the page asks for its changes with a larger window.
  const near = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) showMore();
  }, { rootMargin: "600px" });

  function showMore() {
    const link = document.querySelector("#more a");
    if (!link) return;
    has("shown").value = link.dataset.shown;
    document.getElementById("live").dispatchEvent(new CustomEvent("every"));
  }

  function watchForMore() {
    near.disconnect();
    const more = document.getElementById("more");
    if (more) near.observe(more);
  }

  function setUpViews() {
    const live = document.getElementById("live");
    document.getElementById("more").addEventListener("click", (event) => {
      if (!event.target.closest("a") || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      showMore();
    });
    // An answer to what the page had before it showed another view, or another window, is void.
    live.addEventListener("htmx:before:response", (event) => {
      const asked = new URL(event.detail.ctx.request.action, location.href).searchParams;
      if (asked.get("since") !== has("since").value) event.preventDefault();
    });
    document.addEventListener("htmx:after:swap", () => {
      const list = document.getElementById("machines");
      if (!list) return;
      const { pathname, search } = location;
      if (list.dataset.address !== pathname + search) history.replaceState(null, "", list.dataset.address);
      applyOrder();
      watchForMore();
    });
    watchForMore();
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!document.getElementById("filter")) return;
    setUpLayout();
    setUpSearch();
    setUpViews();
  });
})();
