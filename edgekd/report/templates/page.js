"use strict";
(() => {
  const all = (what, within = document) => [...within.querySelectorAll(what)];
  document.documentElement.classList.add("js");

  // ---- which runs are shown
  const tabs = all("[role=tab]"), boxes = all(".chosen input"), main = document.getElementById("runs");
  const show = () => {
    const tab = tabs.find((one) => one.getAttribute("aria-selected") === "true");
    if (!tab) return;
    const together = tab.dataset.show === "all";
    const chosen = together ? boxes.filter((box) => box.checked).map((box) => box.value) : [tab.dataset.show];
    for (const one of all("[data-run]")) {
      const hide = !chosen.includes(one.dataset.run);
      if (one instanceof SVGElement) one.toggleAttribute("hidden", hide);
      else one.hidden = hide;
    }
    document.querySelector(".chosen").hidden = !together;
    main.setAttribute("aria-labelledby", tab.id);
    main.dataset.count = String(chosen.length);
    all("svg.chart").forEach(rove);
  };
  const select = (tab, focus) => {
    for (const one of tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    show();
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => select(tab, false));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      select(tabs[(to + tabs.length) % tabs.length], true);
    });
  });
  boxes.forEach((box) => box.addEventListener("change", show));

  // ---- student or teacher
  for (const who of all(".who")) {
    const buttons = all("[data-who]", who);
    if (!buttons.length) continue;
    who.dataset.whose = "student";
    for (const button of buttons) {
      button.addEventListener("click", () => {
        who.dataset.whose = button.dataset.who;
        buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      });
    }
  }

  // ---- tables
  const key = (row, column) => {
    const cell = row.cells[column], text = cell.dataset.sort ?? cell.textContent.trim();
    if (text === "" || text === "None") return null;
    const number = Number(text.replace(/[\s\u202f]/g, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  for (const button of all("table.sorted .sort")) {
    button.addEventListener("click", () => {
      const th = button.closest("th"), table = th.closest("table"), body = table.tBodies[0];
      const down = th.getAttribute("aria-sort") === "ascending" || (!th.hasAttribute("aria-sort") && th.classList.contains("num"));
      const rising = th.getAttribute("aria-sort") === "descending" || !down;
      all("th[aria-sort]", table).forEach((one) => one.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const column = th.cellIndex, rows = [...body.rows].map((row) => [key(row, column), row]);
      rows.sort(([a], [b]) => (a === null || b === null || rising ? compare(a, b) : compare(b, a)));
      rows.forEach(([, row]) => body.append(row));
    });
  }

  // ---- what a mark says
  const tip = document.getElementById("tip");
  let told = null;
  const tell = (mark) => {
    told = mark;
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const at = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    const above = at.top - own.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : Math.min(at.bottom + 8, innerHeight - own.height - 8)}px`;
  };
  const quiet = () => { told = null; tip.hidden = true; };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.(".mark");
    if (mark) tell(mark); else quiet();
  });
  document.addEventListener("focusin", (event) => {
    const mark = event.target.closest?.(".mark");
    if (mark) tell(mark); else quiet();
  });
  document.addEventListener("focusout", quiet);
  document.addEventListener("scroll", () => { if (told) tell(told); }, { passive: true, capture: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") quiet(); });

  // ---- marks of a chart: Tab reaches one of them, the arrow keys the others
  const marks = (chart) => all(".mark", chart).filter((mark) => !mark.hasAttribute("hidden"));
  function rove(chart) {
    const there = marks(chart), now = there.find((mark) => mark.getAttribute("tabindex") === "0");
    all(".mark", chart).forEach((mark) => mark.setAttribute("tabindex", "-1"));
    (now ?? there[0])?.setAttribute("tabindex", "0");
  }
  for (const chart of all("svg.chart")) {
    rove(chart);
    chart.addEventListener("keydown", (event) => {
      const there = marks(chart), at = there.indexOf(document.activeElement);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const to = event.key === "Home" ? 0 : event.key === "End" ? there.length - 1 : at + (step ?? NaN);
      if (at < 0 || Number.isNaN(to)) return;
      event.preventDefault();
      const next = there[Math.min(Math.max(to, 0), there.length - 1)];
      there[at].setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }

  // ---- print shows what is folded; browsers without ::details-content need this
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
  show();
})();
