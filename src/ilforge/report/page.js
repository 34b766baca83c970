/* Draws the figures when they come near the window, then the rest while the page is idle. */
(() => {
  "use strict";
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figure-data").textContent);
  const models = JSON.parse(document.getElementById("model-data").textContent);
  const places = [...document.querySelectorAll("[data-figure]")];
  /* No bar of buttons: it would cover small plots. A finger's drag must scroll the page, not zoom a plot. */
  const config = { displaylogo: false, displayModeBar: false };
  const dragmode = matchMedia("(hover: none)").matches ? false : "zoom";
  const drawn = new Set();
  let onPaper = false;
  const resizes = new ResizeObserver((entries) => {
    if (onPaper) return;
    for (const { target } of entries) {
      const { width, height } = target._fullLayout;
      const box = target.getBoundingClientRect();
      if (Math.abs(box.width - width) > 1 || Math.abs(box.height - height) > 1) Plotly.Plots.resize(target);
    }
  });

  /* Colours of text and grid are the page's own, so that they follow light, dark and print. */
  function theme(layout, printing) {
    const style = getComputedStyle(root);
    const read = (name, print) => (printing ? print : style.getPropertyValue(name).trim());
    const ink = read("--ink", "#1c2026"), grid = read("--grid", "#e9ecf0"), line = read("--soft", "#59616c");
    const changes = { dragmode, font: { family: style.getPropertyValue("--sans"), size: 12, color: ink } };
    changes.hoverlabel = { bgcolor: read("--raised", "#f6f7f9"), bordercolor: line, font: { color: ink } };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
      changes[key] = { ...layout[key], gridcolor: grid, linecolor: line, tickcolor: line };
    }
    return { ...layout, ...changes };
  }

  const folded = (place) => place.closest("details:not([open])") !== null;

  function draw(place) {
    const figure = figures[place.dataset.figure];
    if (drawn.has(place) || !figure || folded(place)) return;
    drawn.add(place);
    Plotly.newPlot(place, figure.data, theme(figure.layout, false), config);
    resizes.observe(place);
    root.dataset.drawn = drawn.size;
  }

  /* On paper a plot has a set size: the print layout cannot be measured before it is made. */
  function redraw(printing) {
    onPaper = printing;
    for (const place of drawn) {
      const figure = figures[place.dataset.figure];
      const width = place.closest(".columns-1") ? 660 : 330, height = place.matches(".square") ? 330 : 280;
      const size = printing ? { autosize: false, width, height } : { autosize: true };
      Plotly.react(place, figure.data, { ...theme(figure.layout, printing), ...size }, config);
    }
  }

  function drawWhenNear() {
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
    }, { rootMargin: "400px" });
    places.forEach((place) => near.observe(place));
    /* A busy machine may never be idle: after 0.2 s the next figure is drawn all the same. */
    const idle = (work) => (window.requestIdleCallback ? requestIdleCallback(work, { timeout: 200 }) : setTimeout(work, 50));
    const next = () => {
      const place = places.find((candidate) => !drawn.has(candidate) && !folded(candidate));
      if (!place) return;
      draw(place);
      idle(next);
    };
    idle(next);
    document.querySelectorAll("details").forEach((box) => box.addEventListener("toggle", () => idle(next)));
  }

  window.addEventListener("beforeprint", () => { places.forEach(draw); redraw(true); });
  window.addEventListener("afterprint", () => redraw(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(false));

  /* What a figure shows, as CSV: bars with a base are bins, given by their centre and count. Traces that name their
     columns come first, each under a head of its own: x, y and what else each point carries. */
  function csv(figure) {
    const quote = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : value ?? "");
    const shown = figure.data.filter((one) => one.hoverinfo !== "skip"), plain = shown.filter((one) => !one.meta);
    const lines = [];
    for (const trace of shown.filter((one) => one.meta)) {
      const kept = ([name]) => name !== "", columns = ["series", ...trace.meta.columns];
      const row = (values) => columns.map((name, i) => [name, values[i]]).filter(kept).map(([, value]) => quote(value)).join(",");
      lines.push(row(columns));
      trace.x.forEach((x, i) => lines.push(row([trace.name, x, trace.y[i], ...trace.customdata[i]])));
    }
    if (plain.length) lines.push(["series", "x", "y", "y_error", "note"].join(","));
    for (const trace of plain) {
      trace.x.forEach((x, i) => {
        const y = trace.base ? trace.base[i] + trace.y[i] / 2 : trace.customdata ? trace.customdata[i] : trace.y[i];
        const note = trace.base ? `${trace.customdata[i]} points` : trace.text ? trace.text[i] : "";
        const error = trace.error_y ? trace.error_y.array[i] : "";
        lines.push([trace.name, x, y, error, note].map(quote).join(","));
      });
    }
    return lines.join("\n") + "\n";
  }
  async function save(link) {
    const name = link.closest("figure").querySelector("[data-figure]").dataset.figure, kind = link.dataset.save;
    const figure = figures[name];
    const away = document.createElement("a");
    if (kind === "csv") {
      away.href = "data:text/csv;charset=utf-8," + encodeURIComponent(csv(figure));
    } else {
      const layout = { ...theme(figure.layout, true), paper_bgcolor: "#fff", autosize: false };
      const square = link.closest("figure").querySelector(".square");
      const size = { width: 700, height: square ? 640 : 480 };
      away.href = await Plotly.toImage({ data: figure.data, layout, config }, { format: kind, scale: kind === "png" ? 3 : 1, ...size });
    }
    away.download = name.replace(/[^\w.-]+/g, "-") + "." + kind;
    away.click();
  }
  for (const link of document.querySelectorAll("[data-save]")) {
    link.addEventListener("click", (event) => { event.preventDefault(); save(link); });
  }

  /* The three-dimensional view starts on demand: it costs a moment, and it would hold a finger's scroll. */
  function startViewer(stage) {
    const model = models[stage.dataset.model];
    const canvas = document.createElement("canvas");
    if (!(canvas.getContext("webgl2") || canvas.getContext("webgl"))) return null;
    if (!window.$3Dmol) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("viewer-script").textContent;
      document.body.append(script);
    }
    const live = document.createElement("div");
    live.className = "live";
    stage.append(live);
    for (const kind of ["wheel", "mousewheel"]) {
      live.addEventListener(kind, (event) => { if (!event.ctrlKey) event.stopImmediatePropagation(); }, true);
    }
    const viewer = $3Dmol.createViewer(live, { backgroundAlpha: 0 });
    const neighbours = model.elements.map(() => []);
    for (const [a, b] of model.bonds) { neighbours[a].push(b); neighbours[b].push(a); }
    viewer.addModel().addAtoms(model.elements.map((elem, i) => {
      const [x, y, z] = model.positions[i];
      return { elem, x, y, z, serial: i, bonds: neighbours[i], bondOrder: neighbours[i].map(() => 1), properties: { ion: model.ion[i] } };
    }));
    addCell(viewer, model.cell);
    const at = (i) => { const [x, y, z] = model.positions[i]; return { x, y, z }; };
    for (const [a, b] of model.contacts) viewer.addLine({ start: at(a), end: at(b), color: "#7f8791", dashed: true });
    colour(viewer, model, false);
    viewer.rotate(-24, "y");
    viewer.rotate(14, "x");
    viewer.zoomTo();
    viewer.zoom(1.15);
    viewer.render();
    stage.classList.add("turning");
    return viewer;
  }

  function addCell(viewer, cell) {
    if (!cell.flat().some((value) => value !== 0)) return;
    const corner = (i, j, k) => [0, 1, 2].map((axis) => i * cell[0][axis] + j * cell[1][axis] + k * cell[2][axis]);
    const point = ([x, y, z]) => ({ x, y, z });
    for (const i of [0, 1]) for (const j of [0, 1]) {
      for (const [from, to] of [[[0, i, j], [1, i, j]], [[i, 0, j], [i, 1, j]], [[i, j, 0], [i, j, 1]]]) {
        viewer.addLine({ start: point(corner(...from)), end: point(corner(...to)), color: "#7f8791", dashed: true });
      }
    }
  }

  function colour(viewer, model, byIon) {
    const ions = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"];
    const colours = byIon ? { colorfunc: (atom) => ions[(atom.properties.ion ?? 0) % ions.length] } : { colorscheme: "Jmol" };
    viewer.setStyle({}, { stick: { radius: 0.12, ...colours }, sphere: { scale: 0.24, ...colours } });
    viewer.render();
  }

  for (const figure of document.querySelectorAll("figure.viewer")) {
    const stage = figure.querySelector(".stage"), model = models[stage.dataset.model];
    const turn = figure.querySelector("[data-turn]"), colours = figure.querySelector("[data-colours]");
    turn.addEventListener("click", () => {
      const viewer = startViewer(stage);
      const message = figure.querySelector(".message");
      message.hidden = false;
      turn.hidden = true;
      if (!viewer) { message.textContent = "This browser has no WebGL: the drawing stands still."; return; }
      message.textContent = "Drag to turn; hold Ctrl and scroll to zoom.";
      let byIon = false;
      colours.hidden = model.ions.length < 2;
      colours.addEventListener("click", () => {
        byIon = !byIon;
        colours.textContent = byIon ? "Colour by element" : "Colour by ion";
        colour(viewer, model, byIon);
      });
    });
  }

  const contents = document.querySelector(".contents");
  if (contents && matchMedia("(max-width: 60rem)").matches) contents.open = false;
  root.dataset.figures = places.length;
  root.dataset.drawn = 0;
  drawWhenNear();
})();
