// The inbox: rows are added, replaced and removed, while focus and selection stay.

import * as clock from "./clock.js";
import { listen, showHelp } from "./keys.js";
import { showLink } from "./link.js";
import { follow } from "./stream.js";
import { say, setNow, texts } from "./texts.js";

// As MAX_SELECTED in desk/many.py.
const MAX_SELECTED = 200;
// Chosen: milliseconds for which a new row is highlighted.
const ARRIVED_FOR = 4000;
const root = document.getElementById("inbox");
const list = document.getElementById("rows");
const form = document.getElementById("many");
const news = document.getElementById("news");
const bar = document.getElementById("bar");
const all = document.getElementById("all");
let lastPicked = null;

const rows = () => [...list.children];
const boxOf = (row) => row.querySelector(".pick input");
const linkOf = (row) => row.querySelector(".open");
const focused = () => document.activeElement?.closest?.("#rows > .row") ?? null;

// --- the stream -------------------------------------------------------------------------------

function rowOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.firstElementChild;
}

function isSame(old, fresh) {
  return (
    old.dataset.expires === fresh.dataset.expires &&
    boxOf(old)?.value === boxOf(fresh)?.value &&
    [".what", ".who"].every((part) => old.querySelector(part).isEqualNode(fresh.querySelector(part)))
  );
}

function replace(old, fresh) {
  if (isSame(old, fresh)) return;
  const box = boxOf(old);
  // With another digest the context is another one: the operator has not selected that.
  if (box && boxOf(fresh) && box.value === boxOf(fresh).value) boxOf(fresh).checked = box.checked;
  const isOpen = old.querySelector("details")?.open;
  if (isOpen && fresh.querySelector("details")) fresh.querySelector("details").open = true;
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(fresh);
  if (active) (active === box ? boxOf(fresh) ?? linkOf(fresh) : linkOf(fresh)).focus({ preventScroll: true });
}

function remove(row) {
  if (row.contains(document.activeElement)) {
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    if (neighbour) linkOf(neighbour).focus();
  }
  if (row === lastPicked) lastPicked = null;
  row.remove();
}

function place(order) {
  let before = null;
  for (const pk of order) {
    const row = document.getElementById(`row-${pk}`);
    const next = before ? before.nextElementSibling : list.firstElementChild;
    if (row !== next) {
      const active = row.contains(document.activeElement) ? document.activeElement : null;
      list.insertBefore(row, next);
      active?.focus({ preventScroll: true });
    }
    before = row;
  }
}

function update(snapshot) {
  setNow(snapshot.now);
  const wanted = new Set(snapshot.order);
  const known = new Set(rows().map((row) => row.dataset.pk));
  const arrived = [];
  for (const pk of snapshot.order) {
    const html = snapshot.pieces[pk];
    if (html === undefined) continue;
    const fresh = rowOf(html);
    const old = document.getElementById(`row-${pk}`);
    if (old) {
      replace(old, fresh);
    } else {
      list.append(fresh);
      arrived.push(fresh);
    }
  }
  for (const row of rows()) if (!wanted.has(row.dataset.pk)) remove(row);
  place(snapshot.order);
  const left = [...known].filter((pk) => !wanted.has(pk)).length;
  show(snapshot.count);
  clock.draw();
  updateSelection();
  // Whoever may decide from now on needs the bar, which the server renders.
  if (!bar && rows().some(boxOf)) location.reload();
  if (arrived.length) welcome(arrived);
  else if (left) news.textContent = say("waiting", snapshot.count);
}

function welcome(arrived) {
  const text =
    arrived.length === 1
      ? say("newOne", linkOf(arrived[0]).textContent)
      : say("newMany", arrived.length);
  news.textContent = text;
  for (const row of arrived) {
    row.classList.add("has-arrived");
    setTimeout(() => row.classList.remove("has-arrived"), ARRIVED_FOR);
  }
}

function show(count) {
  document.getElementById("count").textContent = count;
  document.getElementById("empty").hidden = count !== "0";
  document.getElementById("more").hidden = !count.endsWith("+");
}

function showConnection(state, since) {
  showLink(state, since);
  if (state !== "stopped") return;
  // An operator who has lost access must no longer see the rows.
  const stopped = document.getElementById("stopped");
  stopped.textContent = texts.stopped;
  stopped.hidden = false;
  form.hidden = true;
  list.replaceChildren();
}

// --- selecting ----------------------------------------------------------------------------------

function updateSelection() {
  if (!bar) return;
  const boxes = rows().map(boxOf).filter(Boolean);
  const count = boxes.filter((box) => box.checked).length;
  for (const row of rows()) row.classList.toggle("is-picked", Boolean(boxOf(row)?.checked));
  bar.hidden = count === 0;
  const text = count > MAX_SELECTED ? say("tooMany", MAX_SELECTED) : say("selected", count);
  const label = document.getElementById("selected");
  if (label.textContent !== text) label.textContent = text;
  document.getElementById("clear").hidden = false;
  all.hidden = false;
  all.checked = count > 0 && count === boxes.length;
  all.indeterminate = count > 0 && count < boxes.length;
}

function pick(row, isOn, isRange) {
  const box = boxOf(row);
  if (!box) return;
  const between = rows();
  const from = isRange && lastPicked ? between.indexOf(lastPicked) : -1;
  const to = between.indexOf(row);
  const range = from < 0 ? [row] : between.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const each of range) if (boxOf(each)) boxOf(each).checked = isOn;
  lastPicked = row;
  updateSelection();
}

function clear() {
  for (const row of rows()) if (boxOf(row)) boxOf(row).checked = false;
  lastPicked = null;
  updateSelection();
}

list.addEventListener("click", (event) => {
  if (event.target.matches(".pick input")) {
    pick(event.target.closest(".row"), event.target.checked, event.shiftKey);
  }
});
all?.addEventListener("change", () => {
  for (const row of rows()) if (boxOf(row)) boxOf(row).checked = all.checked;
  updateSelection();
});
document.getElementById("clear")?.addEventListener("click", clear);

// --- keys -----------------------------------------------------------------------------------------

function move(step) {
  const current = rows();
  if (!current.length) return;
  const here = current.indexOf(focused());
  const there = here < 0 ? (step > 0 ? 0 : current.length - 1) : here + step;
  linkOf(current[Math.max(0, Math.min(current.length - 1, there))]).focus();
}

// With a selection, ask about all of it; without one, open the request, so that it is read first.
function decide(event, decision) {
  if (event.repeat) return;
  if (rows().some((row) => boxOf(row)?.checked)) {
    bar.querySelector(`[value=${decision}]`).click();
  } else {
    const row = focused();
    if (row) linkOf(row).click();
  }
}

listen({
  j: () => move(1),
  k: () => move(-1),
  Enter: (event) => {
    // With no row focused yet, open the most urgent request.
    if (event.target !== document.body || event.repeat) return false;
    const first = rows()[0];
    if (first) linkOf(first).click();
  },
  a: (event) => decide(event, "approve"),
  r: (event) => decide(event, "reject"),
  x: (event) => {
    const row = focused();
    if (row && !event.repeat && boxOf(row)) pick(row, !boxOf(row).checked, event.shiftKey);
  },
  Escape: clear,
  "?": showHelp,
});
clock.start();
updateSelection();
show(document.getElementById("count").textContent);
follow(root.dataset.live, update, showConnection);
addEventListener("pageshow", (event) => {
  // On the way back from a request, the browser restores the ticks: clear them.
  if (event.persisted) clear();
});
