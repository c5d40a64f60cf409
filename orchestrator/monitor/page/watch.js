"use strict";
// Asks for the state every two seconds, and loads the report anew only when there is a new one.
const EVERY = 2000;
const at = (id) => document.getElementById(id);
let version = null;

function place(frame) {
  // Where the reader is in the report: the scroll position, and which parts are opened or folded.
  const page = frame.contentWindow;
  const folds = page.document.querySelectorAll("details");
  return { x: page.scrollX, y: page.scrollY, open: Array.from(folds, (fold) => fold.open) };
}

function goBack(frame, before) {
  const page = frame.contentWindow;
  const folds = page.document.querySelectorAll("details");
  if (folds.length === before.open.length) folds.forEach((fold, index) => { fold.open = before.open[index]; });
  page.scrollTo(before.x, before.y);
}

function load(frame, number) {
  const before = version ? place(frame) : null;
  frame.onload = () => {
    if (before) goBack(frame, before);
    // Other servers refuse to be shown in a frame.
    for (const link of frame.contentWindow.document.querySelectorAll('a[href^="http"]')) {
      link.target = "_blank";
      link.rel = "noopener";
    }
  };
  frame.contentWindow.location.replace(`/report/${number}/index.html`);
  frame.hidden = false;
  version = number;
}

function show(state) {
  if (!state.read_at && !state.problem) return; // before the first look at the ledger
  document.title = `${state.completed}/${state.trials} ${state.sweep}`;
  at("summary").textContent = `${state.sweep}: ${state.summary}`;
  at("notes").textContent = [state.problem, `read at ${state.read_at}`, state.report, state.note].filter(Boolean).join("; ");
  at("notes").className = state.problem ? "problem" : "";
  at("live").textContent = state.live;
  document.body.className = state.version ? "" : "early";
  if (!state.version) at("details").open = true;
  else if (!version) at("details").open = false;
  if (state.version && state.version !== version) load(at("report"), state.version);
}

async function ask() {
  try {
    const answer = await fetch("/state", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.json());
  } catch (error) {
    at("notes").textContent = "the command `watch` has ended; this is what it showed last";
    at("notes").className = "problem";
  }
  setTimeout(ask, EVERY);
}

ask();
