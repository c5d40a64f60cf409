"use strict";
// A click on a heading of a table sorts its rows: by the first number of a cell if it has one, else by its text. Again turns the order.
(() => {
  const key = (row, place) => {
    const text = row.cells[place].textContent.trim().replace(/\u2212/g, "-");
    const number = parseFloat(text);
    return { text, number, empty: text === "" || text === "\u2013" };
  };
  const compare = (a, b) => {
    if (Number.isNaN(a.number) || Number.isNaN(b.number)) return a.text.localeCompare(b.text, "en", { numeric: true });
    return a.number - b.number;
  };
  const sort = (heading) => {
    const table = heading.closest("table");
    const place = heading.cellIndex;
    const sign = heading.getAttribute("aria-sort") === "descending" ? 1 : -1; // large numbers first
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const keyed = [...table.tBodies[0].rows].map((row) => [key(row, place), row]);
    keyed.sort(([a], [b]) => a.empty - b.empty || sign * compare(a, b)); // what is missing stays below
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  };
  for (const heading of document.querySelectorAll(".sortable thead th")) {
    heading.tabIndex = 0;
    heading.addEventListener("click", () => sort(heading));
    heading.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort(heading);
    });
  }
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", () => {
      const fold = document.getElementById(link.hash.slice(1)).closest("details");
      if (fold) fold.open = true;
    });
  }
})();
// A marker of the front that is hovered, focused or tapped shows its cell's card. All content is in the page already.
(() => {
  const tip = document.getElementById("tip");
  const marks = [...document.querySelectorAll(".mark")];
  const PHONE = 640; // pixels; as in report.css, where the card stands at the foot of the window
  const LINGER = 300; // milliseconds to come from a marker to its card
  let shown = null;
  let timer = 0;

  const hide = () => {
    clearTimeout(timer);
    if (shown) shown.classList.remove("lit");
    shown = null;
    tip.hidden = true;
  };

  const place = (mark) => {
    if (innerWidth <= PHONE) {
      tip.style.left = tip.style.top = "";
      return;
    }
    const at = mark.querySelector(".hit").getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const below = at.bottom + tip.offsetHeight + 8 < innerHeight || at.top < tip.offsetHeight + 8;
    tip.style.left = `${scrollX + Math.max(8, Math.min(at.right, room))}px`;
    tip.style.top = `${scrollY + (below ? at.bottom + 4 : at.top - tip.offsetHeight - 4)}px`;
  };

  const show = (mark) => {
    clearTimeout(timer);
    if (shown === mark) return;
    hide();
    const card = document.getElementById(mark.id.replace("cell-", "card-")).cloneNode(true);
    card.removeAttribute("id");
    tip.replaceChildren(card);
    tip.hidden = false;
    mark.classList.add("lit");
    shown = mark;
    place(mark);
  };

  const leave = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const at = document.activeElement;
      if (at !== shown && !tip.contains(at)) hide();
    }, LINGER);
  };

  for (const mark of marks) {
    mark.querySelector("title").remove(); // the browser's own would cover the card; the name stays as a label
    mark.addEventListener("mouseenter", () => show(mark));
    mark.addEventListener("mouseleave", leave);
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("blur", leave);
    mark.addEventListener("click", () => mark.focus());
    mark.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      show(mark);
      (tip.querySelector("a") || tip).focus();
    });
  }
  tip.addEventListener("mouseenter", () => clearTimeout(timer));
  tip.addEventListener("mouseleave", leave);
  tip.addEventListener("focusout", leave);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown) return;
    const mark = shown;
    if (tip.contains(document.activeElement)) mark.focus();
    hide();
  });
  document.addEventListener("pointerdown", (event) => {
    if (shown && !tip.contains(event.target) && !event.target.closest(".mark")) hide();
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) hide(); // a phone's address bar changes the height alone, while one scrolls
    width = innerWidth;
  });
  for (const link of document.querySelectorAll('a[href^="#cell-"]')) {
    link.addEventListener("click", (event) => {
      const mark = document.getElementById(link.hash.slice(1));
      event.preventDefault();
      mark.closest(".map").scrollIntoView({ block: "center" });
      mark.focus({ preventScroll: innerWidth > PHONE });
      show(mark);
    });
  }
})();
