// What every page needs of a script: the theme, times in the viewer's zone, the live parts' manners.
"use strict";
(() => {
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;
  const stored = localStorage.getItem("theme");
  let theme = THEMES.includes(stored) ? stored : "system";

  function applyTheme() {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }
  applyTheme();
  root.dataset.scripted = "";

  function setUpTheme() {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      localStorage.setItem("theme", theme);
      applyTheme();
      document.dispatchEvent(new Event("tierwatch:theme"));
    });
  }

  // The other language shows this place again, with what a live page has put into its address.
  function setUpLanguage() {
    const { back } = document.querySelector(".language").elements;
    back.form.addEventListener("submit", () => {
      if (back.value.split("?")[0] === location.pathname) {
        back.value = location.pathname + location.search + location.hash;
      }
    });
  }

  // The page's language as the viewer's own region writes it.
  const language = navigator.languages.find((each) => each.split("-")[0] === root.lang) || root.lang;
  const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
  const dated = new Intl.DateTimeFormat(language, {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  });
  const words = JSON.parse(document.querySelector("meta[name=words]").content);

  function filled(sentence, values) {
    return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  function agoInWords(seconds) {
    if (seconds < 60) return words.now;
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    const said = hours < 24
      ? { h: hours, min: minutes % 60 }
      : { d: Math.floor(hours / 24), h: hours % 24 };
    return filled(words[Object.keys(said).filter((unit) => said[unit]).join(" ")], said);
  }

  function sayTimes() {
    const now = new Date();
    for (const element of document.querySelectorAll("time[data-said]")) {
      const at = new Date(element.dateTime);
      const today = at.toDateString() === now.toDateString();
      const said = element.dataset.said === "ago"
        ? agoInWords((now - at) / 1000)
        : (today ? clock : dated).format(at);
      if (element.textContent !== said) element.textContent = said;
      const whole = at.toLocaleString(language);
      if (element.title !== whole) element.title = whole;
    }
  }

  // Every answer bears the count of firing alerts, whatever else it says.
  const title = document.title.replace(/^\(\d+\) /, "");
  function sayCount(headers) {
    const badge = document.getElementById("badge");
    const count = headers.get("Tierwatch-Alerts");
    if (!badge || count === null || badge.textContent === count) return;
    badge.textContent = count;
    badge.hidden = count === "0";
    document.title = count === "0" ? title : `(${count}) ${title}`;
  }

  // A form asks for moments on the wall; where this runs, they are the viewer's own.
  function setUpMoments() {
    document.addEventListener("submit", ({ target: form }) => {
      if (!("moments" in form.dataset)) return;
      for (const chosen of form.querySelectorAll("input[type=datetime-local]")) {
        const at = new Date(chosen.value).getTime() / 1000;
        form.elements[`${chosen.name}_at`].value = chosen.value && Number.isFinite(at) ? at : "";
      }
      if (form.elements.tomorrow_at) {
        const morning = new Date();
        morning.setDate(morning.getDate() + 1);
        morning.setHours(8, 0, 0, 0);
        form.elements.tomorrow_at.value = morning.getTime() / 1000;
      }
    });
  }

  let lostAt = null;
  function heard() {
    if (lostAt === null) return;
    lostAt = null;
    document.getElementById("lost").hidden = true;
  }
  function lost(sentence, status) {
    lostAt ??= new Date();
    const notice = document.getElementById("lost");
    const said = filled(sentence, { status, time: clock.format(lostAt) });
    if (notice.textContent !== said) notice.textContent = said;
    notice.hidden = false;
  }

  function setUpLive() {
    const live = document.getElementById("live");
    if (!live) return;
    live.addEventListener("htmx:before:request", (event) => {
      if (document.hidden) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) live.dispatchEvent(new CustomEvent("every"));
    });
    live.addEventListener("htmx:after:request", (event) => {
      const { status, headers } = event.detail.ctx.response;
      sayCount(headers);
      if (status < 400) heard();
    });
    live.addEventListener("htmx:response:error", (event) => {
      const { status } = event.detail.ctx.response;
      lost(status === 404 ? words.gone : words.refused, status);
    });
    live.addEventListener("htmx:error", () => lost(words.lost));
    live.addEventListener("htmx:after:swap", () => {
      sayTimes();
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    setUpTheme();
    setUpLanguage();
    setUpLive();
    setUpMoments();
    sayTimes();
    setInterval(() => { if (!document.hidden) sayTimes(); }, 10000);
  });
})();
