// Draws a machine's past with Plotly: asks as often as is worth it, keeps the viewer's zoom.
"use strict";
(() => {
  const section = document.getElementById("past");
  const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "autosize" };
  let range = section.dataset.range;
  let zoom = null;
  let whole = null;
  let tag = null;
  let timer = null;
  let asked = 0;
  let wait = 10;

  function theme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  function drawn() {
    return [...section.querySelectorAll(".plot")].filter((plot) => plot.data);
  }

  // Zooming into one GPU's charts zooms them all; a double click shows the whole span again.
  function zoomTo(wanted) {
    zoom = wanted;
    for (const plot of drawn()) Plotly.relayout(plot, { "xaxis.range": [...(zoom || whole)] });
  }

  function draw(place, figure) {
    const plot = place.querySelector(".plot");
    const empty = !figure || figure.empty;
    place.querySelector(".empty").hidden = !empty;
    plot.hidden = empty;
    if (empty) return;
    whole = figure.layout.xaxis.range;
    if (zoom) figure.layout.xaxis.range = [...zoom];
    figure.layout.font.family = getComputedStyle(document.body).fontFamily;
    const first = !plot.data;
    Plotly.react(plot, figure.data, figure.layout, CONFIG);
    if (!first) return;
    plot.on("plotly_relayout", (change) => {
      if ("xaxis.range[0]" in change) zoomTo([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
      else if (change["xaxis.autorange"]) zoomTo(null);
    });
  }

  async function ask() {
    clearTimeout(timer);
    const mine = ++asked;
    if (!document.hidden) {
      try {
        const headers = tag ? { "If-None-Match": tag } : {};
        const answer = await fetch(`${section.dataset.charts}?range=${range}&theme=${theme()}`, { headers });
        if (mine !== asked) return;
        if (answer.ok && answer.headers.get("ETag") !== tag) {
          const { figures, refresh_seconds: seconds } = await answer.json();
          if (mine !== asked) return;
          tag = answer.headers.get("ETag");
          wait = seconds;
          for (const place of section.querySelectorAll("figure")) {
            draw(place, figures.find(({ gpu }) => gpu === place.dataset.gpu));
          }
        }
      } catch (error) {
        // The live part above says that the connection is lost; the charts stay as they are.
        if (!(error instanceof TypeError)) throw error;
      }
    }
    if (mine === asked) timer = setTimeout(ask, wait * 1000);
  }

  function again() {
    tag = null;
    ask();
  }

  section.querySelector(".ranges").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    section.querySelector(".ranges [aria-current]")?.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    range = link.dataset.range;
    zoom = null;
    history.replaceState(null, "", `?range=${range}`);
    again();
  });
  document.addEventListener("tierwatch:theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  ask();
})();
