// Live charts in place of the drawn ones, and tables that can be sorted. Without it the page says the same.
"use strict";
(() => {
  let charts = [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const element = (name, attributes = {}, ...children) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };
  const rounded = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
  const KINDS = { t: "95 % t interval", bootstrap: "95 % bootstrap interval", deviation: "standard deviation", none: "no band" };
  /** What is drawn: a function that draws it anew, and one that takes it away. */
  let live = [];
  /** Names a part of the page, the same after the page was made anew. */
  const keyOf = (part) => `${part.closest("section")?.id ?? ""} ${part.dataset.key ?? part.ariaLabel ?? part.id}`;
  /** What the reader chose, by the keys of charts and tables. */
  const memory = {
    charts: new Map(), sorts: new Map(),
    remember: () => live.forEach((drawn) => drawn.remember()),
  };

  /** uPlot's columns: x, then lower edge, upper edge and mean of each curve. */
  const columns = (chart, kind) => {
    const edge = (series, side) => chart.x.map((_, at) => (series.bands[kind]?.[at] ?? [null, null])[side]);
    return [chart.x, ...chart.series.flatMap((series) => [edge(series, 0), edge(series, 1), series.mean])];
  };

  const options = (chart, width, state, onCursor) => {
    const axis = (label, size) => ({
      label, size, stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") },
      font: "13px system-ui, sans-serif", labelFont: "13px system-ui, sans-serif",
    });
    const series = chart.series.flatMap((one, at) => {
      const show = state.shown[at];
      const side = { show, stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
      const mean = {
        label: one.label, show, stroke: colour(one.hue), width: 2.2, dash: one.dash, spanGaps: true,
        points: { show: chart.x.length <= 60, size: 6, fill: colour(one.hue), stroke: colour(one.hue) },
      };
      return [side, side, mean];
    });
    const bands = chart.series.map((one, at) => (
      { series: [3 * at + 2, 3 * at + 1], fill: `color-mix(in srgb, ${colour(one.hue)} 15%, transparent)` }
    ));
    const zeroLine = (plot) => {
      const y = plot.valToPos(0, "y", true);
      if (!chart.zero || y < plot.bbox.top || y > plot.bbox.top + plot.bbox.height) return;
      plot.ctx.save();
      plot.ctx.strokeStyle = colour("soft");
      plot.ctx.lineWidth = 1.5 * devicePixelRatio;
      plot.ctx.beginPath();
      plot.ctx.moveTo(plot.bbox.left, y);
      plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
      plot.ctx.stroke();
      plot.ctx.restore();
    };
    return {
      width, height: Math.round(Math.min(440, Math.max(260, width * 0.5))), legend: { show: false },
      scales: { x: { time: false } }, axes: [axis(chart.x_label, 46), axis(chart.y_label, 52)],
      series: [{}, ...series], bands,
      cursor: { y: false, points: { show: (plot, at) => at > 0 && at % 3 === 0 }, drag: { x: true, y: true, uni: 20 } },
      hooks: { setCursor: [onCursor], drawAxes: [zeroLine] },
    };
  };

  const build = (box) => {
    const chart = charts[Number(box.dataset.chart)];
    const hasBands = chart.series.some((series) => series.bands.t.some((edge) => edge !== null));
    const before = memory.charts.get(keyOf(box));
    const state = {
      kind: hasBands ? before?.kind ?? "t" : "none",
      shown: chart.series.map((series) => before?.shown.get(series.label) ?? true),
      zoom: before?.zoom,
    };
    const remember = () => {
      const { min, max } = plot?.scales.x ?? {};
      const isWhole = min === undefined || (min <= chart.x[0] && max >= chart.x[chart.x.length - 1]);
      const shown = new Map(chart.series.map((series, at) => [series.label, state.shown[at]]));
      memory.charts.set(keyOf(box), { kind: state.kind, shown, zoom: isWhole ? undefined : { min, max } });
    };
    const place = element("div", { className: "live", tabIndex: 0 });
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `${chart.y_label}, against ${chart.x_label}; left and right arrow keys read values`);
    const readout = element("p", { className: "readout soft" });
    readout.setAttribute("aria-live", "polite");
    let plot = null;

    const read = (at) => {
      if (at === null || at === undefined) { readout.textContent = ""; return; }
      const parts = chart.series.flatMap((series, which) => {
        const mean = series.mean[at];
        if (mean === null || !state.shown[which]) return [];
        const edge = series.bands[state.kind]?.[at];
        return [`${series.label} ${rounded(mean)}${edge ? ` [${rounded(edge[0])}, ${rounded(edge[1])}]` : ""}`];
      });
      readout.textContent = `${chart.x_label} ${+chart.x[at].toFixed(2)}: ${parts.join(" · ")}`;
    };
    let drawnWidth = 0;
    const draw = () => {
      const width = place.clientWidth;
      if (width === 0) return;
      drawnWidth = width;
      plot?.destroy();
      plot = new uPlot(options(chart, width, state, (made) => read(made.cursor.idx)), columns(chart, state.kind), place);
      if (state.zoom) plot.setScale("x", state.zoom);
      state.zoom = undefined;
    };

    const legend = box.querySelector(".legend");
    [...legend.children].forEach((item, at) => {
      const tick = element("input", { type: "checkbox", checked: state.shown[at] });
      item.replaceChildren(element("label", {}, tick, ...item.childNodes));
      tick.addEventListener("change", () => {
        state.shown[at] = tick.checked;
        [1, 2, 3].forEach((part) => plot?.setSeries(3 * at + part, { show: tick.checked }));
      });
    });
    const choose = element("select", { ariaLabel: "band" });
    for (const kind of hasBands ? Object.keys(KINDS) : []) choose.append(element("option", { value: kind, textContent: KINDS[kind] }));
    choose.value = state.kind;
    choose.addEventListener("change", () => { state.kind = choose.value; draw(); });
    const save = element("button", { type: "button", textContent: "Save as PNG" });
    save.addEventListener("click", () => place.querySelector("canvas")?.toBlob((blob) => {
      const link = element("a", { href: URL.createObjectURL(blob), download: `${chart.y_label.replace(/\W+/g, "-")}.png` });
      link.click();
      URL.revokeObjectURL(link.href);
    }));
    const all = element("button", { type: "button", textContent: "All or none" });
    all.addEventListener("click", () => {
      const wanted = !state.shown.every(Boolean);
      legend.querySelectorAll("input").forEach((tick) => { if (tick.checked !== wanted) tick.click(); });
    });
    place.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || !plot) return;
      event.preventDefault();
      const before = plot.cursor.idx ?? (step > 0 ? -1 : chart.x.length);
      const at = Math.min(chart.x.length - 1, Math.max(0, before + step));
      plot.setCursor({ left: plot.valToPos(chart.x[at], "x"), top: 10 });
    });
    const controls = element("div", { className: "controls" }, ...(hasBands ? [choose] : []), all, save);
    box.prepend(place, readout, controls);
    draw();
    const sizes = new ResizeObserver(() => { if (place.clientWidth !== drawnWidth) draw(); });
    sizes.observe(place);
    live.push({ draw, remember, end: () => { sizes.disconnect(); plot?.destroy(); } });
  };

  const value = (row, at) => {
    const cell = row.children[at];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.tagName === "TH" ? cell.textContent : null;
  };
  const compare = (a, b) => {
    // What has no value comes last, whichever way the column is sorted.
    if (a === null || b === null) return 0;
    return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  };
  const sort = (table, heads, { name, up }) => {
    const at = heads.findIndex((head) => head.textContent === name);
    if (at < 0) return;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    heads[at].ariaSort = up ? "ascending" : "descending";
    const rows = [...table.tBodies[0].rows];
    const lacks = (row) => value(row, at) === null;
    rows.sort((a, b) => lacks(a) - lacks(b) || (up ? 1 : -1) * compare(value(a, at), value(b, at)));
    table.tBodies[0].append(...rows);
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const key = keyOf(table.closest(".scroll"));
    heads.forEach((head) => {
      const button = element("button", { type: "button", title: "Sort by this column" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        memory.sorts.set(key, { name: head.textContent, up: head.ariaSort !== "ascending" });
        sort(table, heads, memory.sorts.get(key));
      });
    });
    if (memory.sorts.has(key)) sort(table, heads, memory.sorts.get(key));
  };

  const start = () => {
    live.forEach((drawn) => drawn.end());
    live = [];
    ({ charts } = JSON.parse(document.getElementById("figures").textContent));
    document.documentElement.classList.add("interactive");
    document.querySelectorAll("[data-chart]").forEach(build);
    document.querySelectorAll("table.sortable").forEach(sortable);
  };
  start();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => live.forEach((drawn) => drawn.draw()));
  globalThis.report = { keyOf, memory, start };
})();
