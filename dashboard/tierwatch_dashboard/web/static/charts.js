// Draws a machine's past with Plotly. One span for every chart of the page: it stands in the address,
// and what zooms one zooms all, with finer figures from the server.
"use strict";
(() => {
  const SHORTEST = 60;
  const LONGEST = 90 * 86400;
  const NARROW = 600;
  const RETRY = 10;
  const section = document.getElementById("past");
  const charts = document.getElementById("charts");
  const shownWords = section.querySelector(".shown");
  const language = document.documentElement.lang;
  // As the viewer's own region writes it.
  const region = navigator.languages.find((each) => each.split("-")[0] === language) || language;
  const moment = new Intl.DateTimeFormat(region, {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  });
  const config = { displayModeBar: false, responsive: true, doubleClick: false, locale: language };

  let range = section.dataset.range || null;
  let last = range || "1h";
  let span = { from: Number(section.dataset.from), to: Number(section.dataset.to) };
  let tag = null;
  let timer = null;
  let asked = 0;
  let wait = RETRY;

  // Plotly's own names of months and days are English; the browser knows everybody's.
  function speak() {
    if (language === "en") return;
    const name = (options, at) => new Intl.DateTimeFormat(language, { ...options, timeZone: "UTC" }).format(at);
    const months = (form) => [...Array(12).keys()].map((month) => name({ month: form }, Date.UTC(2026, month, 1)));
    const days = (form) => [...Array(7).keys()].map((day) => name({ weekday: form }, Date.UTC(2026, 1, 1 + day)));
    Plotly.register({
      moduleType: "locale",
      name: language,
      dictionary: {},
      format: { months: months("long"), shortMonths: months("short"), days: days("long"), shortDays: days("short") },
    });
  }

  function theme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  function query() {
    return range ? `range=${range}` : `from=${Math.round(span.from)}&to=${Math.round(span.to)}`;
  }

  function plots() {
    return [...section.querySelectorAll(".plot")].filter((plot) => plot.data);
  }

  function place() {
    for (const link of section.querySelectorAll(".ranges a")) {
      if (link.dataset.range === range) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const words = range ? "" : moment.formatRange(span.from * 1000, span.to * 1000);
    if (shownWords.textContent !== words) shownWords.textContent = words;
    history.replaceState(history.state, "", `?${query()}${location.hash}`);
  }

  // Two moments that stay: shown at once with the figures that are there, then with finer ones.
  function show(from, to) {
    const now = Date.now() / 1000;
    const seconds = Math.min(LONGEST, Math.max(SHORTEST, to - from));
    const end = Math.min(Math.max((from + to + seconds) / 2, seconds), Math.max(now, seconds));
    range = null;
    span = { from: end - seconds, to: end };
    place();
    for (const plot of plots()) {
      Plotly.relayout(plot, { "xaxis.range": [span.from * 1000, span.to * 1000] });
    }
    again(150);
  }

  function follow(name) {
    range = last = name;
    place();
    again();
  }

  function step(what) {
    const seconds = span.to - span.from;
    const middle = (span.from + span.to) / 2;
    if (what === "now") follow(last);
    else if (what === "earlier") show(span.from - seconds / 4, span.to - seconds / 4);
    else if (what === "later") show(span.from + seconds / 4, span.to + seconds / 4);
    else if (what === "closer") show(middle - seconds / 4, middle + seconds / 4);
    else show(middle - seconds, middle + seconds);
  }

  function localMilliseconds(words) {
    return new Date(words.includes(" ") ? words.replace(" ", "T") : `${words}T00:00`).getTime();
  }

  function draw(place, figure) {
    const plot = place.querySelector(".plot");
    const { data, layout } = figure;
    layout.font.family = getComputedStyle(document.body).fontFamily;
    if (section.clientWidth < NARROW) {
      layout.xaxis.nticks = 4;
      layout.height *= 1.15;
    }
    const first = !plot.data;
    Plotly.react(plot, data, layout, config);
    if (!first) return;
    plot.on("plotly_relayout", (change) => {
      if (!("xaxis.range[0]" in change)) return;
      const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]].map(localMilliseconds);
      show(from / 1000, to / 1000);
    });
    plot.on("plotly_doubleclick", () => follow(last));
  }

  function element(name, words, className = "") {
    const made = document.createElement(name);
    made.textContent = words;
    made.className = className;
    return made;
  }

  function sayLegend(place, legend) {
    const lines = legend.map(({ words, swatch, sign }) => {
      const line = element("li", "");
      const mark = element("i", sign || "", `${sign ? "sign" : "swatch"} ${swatch}`);
      mark.ariaHidden = "true";
      line.append(mark, words);
      return line;
    });
    place.querySelector(".legend").replaceChildren(...lines);
  }

  function sayAccount(place, { sentence, columns, rows }) {
    place.querySelector(".account").textContent = sentence;
    const heads = columns.map((words) => {
      const head = element("th", words);
      head.scope = "col";
      return head;
    });
    place.querySelector("thead tr").replaceChildren(...heads);
    place.querySelector("tbody").replaceChildren(...rows.map(({ at, cells }) => {
      const row = element("tr", "");
      const head = element("th", moment.format(at * 1000));
      head.scope = "row";
      row.append(head, ...cells.map((words) => element("td", words)));
      return row;
    }));
  }

  function put({ timeline, figures }) {
    const happened = document.getElementById("happened");
    happened.querySelector(".account").textContent = timeline.sentence;
    sayLegend(happened, timeline.legend);
    draw(happened, timeline);
    for (const place of section.querySelectorAll("figure[data-gpu]")) {
      const figure = figures.find(({ gpu }) => gpu === place.dataset.gpu);
      const empty = !figure || figure.empty;
      place.querySelector(".empty").hidden = !empty;
      for (const part of place.querySelectorAll(".plot, .account, .legend, details")) part.hidden = empty;
      if (empty) continue;
      sayLegend(place, figure.legend);
      sayAccount(place, figure.account);
      draw(place, figure);
    }
  }

  async function ask() {
    clearTimeout(timer);
    const mine = ++asked;
    const answer = document.hidden ? null : await answered();
    if (mine !== asked) return;
    if (answer) hear(answer);
    if (wait) timer = setTimeout(ask, wait * 1000);
  }

  // Nothing where there is nothing new, or the connection is lost, which the live part above says.
  async function answered() {
    const headers = tag ? { "If-None-Match": tag } : {};
    try {
      const answer = await fetch(`${section.dataset.charts}?${query()}&theme=${theme()}`, { headers });
      const isNew = answer.status === 400 || (answer.ok && answer.headers.get("ETag") !== tag);
      return isNew ? { tag: answer.headers.get("ETag"), found: await answer.json() } : null;
    } catch (error) {
      if (error instanceof TypeError || error.name === "AbortError") return null;
      throw error;
    }
  }

  function hear({ tag: its, found }) {
    const wrong = document.getElementById("past-wrong");
    wrong.hidden = !found.error;
    wrong.textContent = found.error || "";
    if (found.error) return;
    tag = its;
    wait = found.refresh_seconds;
    span = { from: found.start_at, to: found.end_at };
    put(found);
  }

  function again(after = 0) {
    tag = null;
    wait = RETRY;
    asked++;
    clearTimeout(timer);
    timer = setTimeout(ask, after);
  }

  const KEYS = {
    ArrowLeft: "earlier", ArrowRight: "later", "+": "closer", "=": "closer", "-": "wider",
    "−": "wider", 0: "now", Home: "now",
  };
  charts.addEventListener("keydown", (event) => {
    const what = KEYS[event.key];
    if (event.target !== charts || !what || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    step(what);
  });
  section.querySelector(".steps").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) step(button.dataset.step);
  });
  section.querySelector(".steps").hidden = false;
  section.querySelector(".ranges").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    follow(link.dataset.range);
  });
  document.addEventListener("tierwatch:theme", () => again());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => again());
  document.addEventListener("visibilitychange", () => { if (!document.hidden && wait) ask(); });
  speak();
  ask();
})();
