// The inbox: rows change and end in their places, and new ones join when the operator asks.
// Nothing moves under a pointer or a focus.

import { announceWith } from "./alerts.js";
import * as clock from "./clock.js";
import { draftOfMany } from "./drafts.js";
import { listen, showHelp } from "./keys.js";
import { showLink } from "./link.js";
import { follow } from "./stream.js";
import { say, setNow, texts } from "./texts.js";

// As MAX_SELECTED in desk/many.py.
const MAX_SELECTED = 200;
// Chosen: so many new requests on other pages are named; the order "newest first" has them all.
const MAX_ELSEWHERE = 5;
// Chosen: milliseconds for which a new row is highlighted.
const ARRIVED_FOR = 4000;
const root = document.getElementById("inbox");
const list = document.getElementById("rows");
const form = document.getElementById("many");
const news = document.getElementById("news");
const bar = document.getElementById("bar");
const all = document.getElementById("all");
const joinButton = document.getElementById("join");
const numbers = new Intl.NumberFormat(document.documentElement.lang);
let lastPicked = null;

const rows = () => [...list.children];
const boxOf = (row) => row.querySelector(".pick input");
const linkOf = (row) => row.querySelector(".open");
const rowWith = (pk) => document.getElementById(`row-${pk}`);
const focused = () => document.activeElement?.closest?.("#rows > .row") ?? null;
const isGone = (row) => row.classList.contains("is-gone");

// --- the stream -------------------------------------------------------------------------------

// The keys of all that the filter lists, here and on other pages; null until the stream has said.
let listed = null;
// The keys of what is listed and came after the page; what is no longer listed, with how it ended.
const arrived = new Set();
// Of those, what is on another page, where the operator has asked for it, and what all are called.
const elsewhere = new Set();
const headlines = new Map();
const ended = new Map();
// Rows that look different now, by key, until they can take their places.
const changed = new Map();
let messages = 0;

function update(message) {
  messages += 1;
  setNow(message.now);
  showNumbers(message);
  if (message.keys) compare(message.keys.map(String));
  for (const { pk, text } of message.arrived ?? []) {
    headlines.set(String(pk), text);
    arrive(String(pk));
  }
  for (const [pk, html] of Object.entries(message.rows ?? {})) change(pk, rowOf(html));
  for (const [pk, how] of Object.entries(message.gone ?? {})) end(pk, how);
  settle();
  clock.draw();
  updateSelection();
  offer();
  if (message.arrived?.length) announce(message.arrived);
  else if (Object.keys(message.gone ?? {}).length) news.textContent = say("waiting", numbers.format(message.count));
}

// The first message of a connection says all that is listed: what came and ended before it?
function compare(keys) {
  const isFirst = listed === null;
  const now = new Set(keys);
  // Of the first one, what is on other pages is known by its key alone.
  const isWhole = Number(root.dataset.count) <= rows().length;
  const isNew = (pk) => (isFirst ? isWhole || Number(pk) > Number(root.dataset.newest) : !listed.has(pk));
  const came = keys.filter((pk) => !rowWith(pk) && isNew(pk));
  const left = rows().filter((row) => !isGone(row) && !now.has(row.dataset.pk));
  listed = now;
  for (const pk of came) arrive(pk);
  if (came.length) news.textContent = say("newMany", numbers.format(came.length));
  for (const pk of arrived) if (!now.has(pk)) arrived.delete(pk);
  for (const pk of elsewhere) if (!now.has(pk)) elsewhere.delete(pk);
  showElsewhere();
  // The page may be younger than what the stream knew. And while there was no connection, rows may
  // have changed as well.
  if (left.length || !isFirst) refresh(left.map((row) => row.dataset.pk));
}

function arrive(pk) {
  listed.add(pk);
  ended.delete(pk);
  const row = rowWith(pk);
  if (!row || isGone(row)) arrived.add(pk);
}

function end(pk, how) {
  listed.delete(pk);
  arrived.delete(pk);
  changed.delete(pk);
  ended.set(pk, how);
  if (elsewhere.delete(pk)) showElsewhere();
  const row = rowWith(pk);
  if (!row || isGone(row)) return;
  row.classList.remove("has-changed");
  row.classList.add("is-gone");
  note(row, how || texts.gone);
  // Its time no longer runs.
  delete row.querySelector(".countdown").dataset.expires;
  row.querySelector(".countdown").className = "countdown is-over";
  row.querySelector(".countdown time").textContent = "–";
  dropBox(row);
  if (row === lastPicked) lastPicked = null;
}

function dropBox(row) {
  const box = boxOf(row);
  if (!box) return;
  if (box === document.activeElement) linkOf(row).focus({ preventScroll: true });
  box.remove();
}

// Say something of a row where nothing else has to make room.
function note(row, text) {
  const said = row.querySelector(".row-note") ?? document.createElement("p");
  said.className = "row-note";
  said.textContent = said.title = text;
  row.append(said);
}

// --- rows that change ---------------------------------------------------------------------------

function rowOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const row = template.content.firstElementChild;
  // The request's page leads on in this filter.
  linkOf(row).setAttribute("href", linkOf(row).getAttribute("href") + root.dataset.view);
  return row;
}

function isSame(old, fresh) {
  return (
    old.dataset.expires === fresh.dataset.expires &&
    old.hasAttribute("data-mine") === fresh.hasAttribute("data-mine") &&
    boxOf(old)?.value === boxOf(fresh)?.value &&
    [".what", ".who"].every((part) => old.querySelector(part).isEqualNode(fresh.querySelector(part)))
  );
}

function change(pk, fresh) {
  const old = rowWith(pk);
  if (!old || isGone(old) || isSame(old, fresh)) return;
  // With another digest it is another request than the one that the operator has selected.
  if (boxOf(old)?.value !== boxOf(fresh)?.value) dropBox(old);
  changed.set(pk, fresh);
}

// Put the changed rows in their places, but for those that would move what is pointed at.
function settle() {
  for (const [pk, fresh] of changed) {
    const old = rowWith(pk);
    if (!old || isGone(old) || replace(old, fresh)) {
      changed.delete(pk);
    } else if (!old.classList.contains("has-changed")) {
      old.classList.add("has-changed");
      note(old, texts.changed);
    }
  }
}

// Replace a row; return false if that would touch or move what has the pointer or the focus.
function replace(old, fresh) {
  const held = [[...form.querySelectorAll(":hover")].pop(), document.activeElement].filter((one) => form.contains(one));
  if (held.some((one) => old.contains(one))) return false;
  const tops = held.map((one) => one.getBoundingClientRect().top);
  if (boxOf(fresh)) boxOf(fresh).checked = Boolean(boxOf(old)?.checked);
  if (old.querySelector("details")?.open) fresh.querySelector("details")?.setAttribute("open", "");
  old.replaceWith(fresh);
  clock.draw();
  if (held.some((one, place) => one.getBoundingClientRect().top !== tops[place])) {
    fresh.replaceWith(old);
    return false;
  }
  if (lastPicked === old) lastPicked = fresh;
  return true;
}

for (const moved of ["mouseover", "focusin", "focusout"]) {
  document.addEventListener(moved, () => {
    // After the focus has come to where it goes.
    if (changed.size) setTimeout(() => (settle(), updateSelection()));
  });
}

// --- rows that join -----------------------------------------------------------------------------

function offer() {
  const left = rows().filter(isGone).length;
  let label = say("joinGone", numbers.format(left));
  if (arrived.size === 1) label = texts.joinOne;
  else if (arrived.size) label = say("joinMany", numbers.format(arrived.size));
  joinButton.firstElementChild.textContent = label;
  joinButton.hidden = arrived.size + left === 0;
  document.getElementById("empty").hidden = rows().length > 0;
  // There is nothing that could move.
  if (!rows().length && arrived.size) join();
}

function announce(requests) {
  const text = requests.length === 1 ? say("newOne", requests[0].text) : say("newMany", requests.length);
  news.textContent = text;
}

// Return the page as it is now, or null if it cannot be had.
async function fetched() {
  let page;
  try {
    const response = await fetch(location.href);
    if (!response.ok) return null;
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return null;
  }
  if (page.getElementById("rows")) return page;
  // It leads to the sign-in.
  location.reload();
  return null;
}

// Take the rows that are on the page and look different now; of `missing`, what is not, has ended.
async function refresh(missing) {
  const page = await fetched();
  if (!page) return;
  for (const pk of missing) if (!listed.has(pk) && !page.getElementById(`row-${pk}`)) end(pk, "");
  for (const row of [...page.getElementById("rows").children]) change(row.dataset.pk, document.adoptNode(row));
  settle();
  updateSelection();
  offer();
}

let isJoining = false;

// Show the page as it is now: ticks, open details, focus and place stay with their requests.
async function join() {
  if (isJoining) return;
  isJoining = true;
  const before = messages;
  const page = await fetched();
  isJoining = false;
  if (!page) return;
  if (!bar && page.getElementById("bar")) return location.reload();
  const ticked = new Set(rows().map(boxOf).filter((box) => box?.checked).map((box) => box.value));
  const opened = rows().filter((row) => row.querySelector("details")?.open).map((row) => row.dataset.pk);
  const known = new Set(rows().map((row) => row.dataset.pk));
  const active = document.activeElement;
  const focusedPk = focused()?.dataset.pk;
  const hadBox = active?.matches(".pick input");
  // What is read stays in its place, unless the list is read from its beginning.
  const isAtTop = list.getBoundingClientRect().top > 0;
  const seen = focused() ? [focused()] : rows().filter((row) => row.getBoundingClientRect().bottom > 0);
  const places = [...seen, ...rows()].map((row) => [row.dataset.pk, row.getBoundingClientRect().top]);
  list.replaceChildren(...[...page.getElementById("rows").children].map((row) => document.adoptNode(row)));
  changed.clear();
  for (const name of ["range", "pages", "empty"]) {
    document.getElementById(name).replaceChildren(...page.getElementById(name).childNodes);
  }
  const source = page.getElementById("inbox").dataset;
  root.dataset.count = source.count;
  root.dataset.newest = source.newest;
  // What the stream has said meanwhile is younger.
  if (before === messages) for (const element of page.querySelectorAll("[data-number]")) put(element.dataset.number, element.textContent);
  for (const row of rows()) {
    if (boxOf(row) && ticked.has(boxOf(row).value)) boxOf(row).checked = true;
    if (opened.includes(row.dataset.pk)) row.querySelector("details")?.setAttribute("open", "");
    if (!known.has(row.dataset.pk)) welcome(row);
    if (ended.has(row.dataset.pk)) end(row.dataset.pk, ended.get(row.dataset.pk));
  }
  for (const pk of elsewhere) if (rowWith(pk)) elsewhere.delete(pk);
  for (const pk of arrived) {
    // What came while the page was on its way may be on it or not.
    if (!rowWith(pk) && Number(pk) > Number(source.newest)) continue;
    arrived.delete(pk);
    if (!rowWith(pk)) elsewhere.add(pk);
  }
  showElsewhere();
  lastPicked = null;
  const [pk, top] = places.find(([pk]) => rowWith(pk)) ?? [];
  clock.draw();
  if (focusedPk) refocus(rowWith(focusedPk) ?? rowWith(pk) ?? rows()[0], hadBox);
  else if (active === joinButton) refocus(list.querySelector(".has-arrived") ?? rows()[0], false);
  if (pk && !isAtTop) scrollBy(0, rowWith(pk).getBoundingClientRect().top - top);
  focused()?.scrollIntoView({ block: "nearest" });
  updateSelection();
  offer();
}

// Lead to the new requests that the order puts on another page.
function showElsewhere() {
  const place = document.getElementById("elsewhere");
  const links = [...elsewhere].sort((one, other) => other - one).map((pk) => {
    const link = document.createElement("a");
    link.href = `../${pk}/change/${root.dataset.view}`;
    link.textContent = headlines.get(pk) ?? `#${pk}`;
    return link;
  });
  const shown = links.slice(0, MAX_ELSEWHERE).flatMap((link) => [" ", link]);
  if (links.length) place.replaceChildren(say("elsewhere", numbers.format(links.length)), ...shown);
  else place.replaceChildren();
}

function refocus(row, isBox) {
  if (row) ((isBox && boxOf(row)) || linkOf(row)).focus({ preventScroll: true });
}

function welcome(row) {
  row.classList.add("has-arrived");
  setTimeout(() => row.classList.remove("has-arrived"), ARRIVED_FOR);
}

joinButton.addEventListener("click", join);

// --- numbers and the connection -------------------------------------------------------------------

function put(name, text) {
  for (const element of document.querySelectorAll(`[data-number=${name}]`)) {
    if (element.textContent !== text) element.textContent = text;
  }
}

function showNumbers({ count, mine }) {
  put("count", numbers.format(count));
  put("mine", numbers.format(mine));
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
  changed.clear();
  news.textContent = "";
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
  form.querySelector(".typed-before")?.remove();
  sent.keep({});
  updateSelection();
}

// What was selected when the form was sent: a session that had ended takes it away, and who comes back
// without having decided finds it again, where it is still the same request.
const sent = draftOfMany("selected", root.dataset.person);
form.addEventListener("submit", () => {
  const items = rows().map(boxOf).filter((box) => box?.checked).map((box) => box.value);
  sent.keep({ items: items.join(" ") });
});

function selectAgain() {
  const items = new Set(sent.texts().items?.split(" "));
  const boxes = rows().map(boxOf).filter((box) => box && items.has(box.value));
  sent.keep({});
  if (!boxes.length) return;
  for (const box of boxes) box.checked = true;
  const note = document.createElement("p");
  note.className = "typed-before";
  note.setAttribute("role", "status");
  note.textContent = texts.selectedAgain;
  form.prepend(note);
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

// --- the filter ---------------------------------------------------------------------------------

const filter = document.getElementById("filter");
const folded = document.querySelectorAll(".filter-more, .keep-view, .more-views");

document.getElementById("id_sort").addEventListener("change", () => filter.requestSubmit());
document.addEventListener("click", (event) => {
  for (const each of folded) if (!each.contains(event.target)) each.open = false;
});
document.addEventListener("keydown", (event) => {
  const open = [...folded].find((each) => each.open);
  if (event.key !== "Escape" || !open) return;
  open.querySelector("summary").focus();
  open.open = false;
  event.preventDefault();
});

function search() {
  const field = document.getElementById("id_q");
  field.focus();
  field.select();
}

// --- keys -----------------------------------------------------------------------------------------

function move(step) {
  const current = rows().filter((row) => !isGone(row) || row === focused());
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
  n: (event) => {
    if (!event.repeat && !joinButton.hidden) join();
  },
  "/": search,
  Enter: (event) => {
    // With no row focused yet, open the first request.
    if (event.target !== document.body || event.repeat) return false;
    const first = rows().find((row) => !isGone(row));
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
selectAgain();
updateSelection();
announceWith((pk) => arrived.has(pk) || elsewhere.has(pk) || Boolean(rowWith(pk)));
follow(root.dataset.live, update, showConnection);
addEventListener("pageshow", (event) => {
  // On the way back from a request, the browser restores the ticks: clear them.
  if (event.persisted) clear();
});
