// One request: shows its state and its session live, and decides by button or key.

import * as clock from "./clock.js";
import * as drafts from "./drafts.js";
import { listen, showHelp } from "./keys.js";
import { showLink } from "./link.js";
import { lacksReason, watchReasons } from "./reasons.js";
import { follow } from "./stream.js";
import { say, texts, setNow } from "./texts.js";
import { watch } from "./timeline.js";

// Chosen: milliseconds in which nobody reads a request; a key or click that comes sooner was meant
// for the request before.
const UNSEEN_FOR = 600;
const root = document.getElementById("request");
const state = document.getElementById("state");
let shownAt = performance.now();
let isSent = false;
// Buttons are to appear, as soon as nobody is typing.
let isReloadDue = false;

const isSeen = () => document.visibilityState === "visible" && performance.now() - shownAt >= UNSEEN_FOR;

function shownAnew() {
  shownAt = performance.now();
  isSent = false;
}

// --- its state ----------------------------------------------------------------------------------

function update(snapshot) {
  setNow(snapshot.now);
  // Only what has changed is sent.
  if ("state" in snapshot.pieces) showState(snapshot.pieces.state, snapshot.isPending);
  for (const name of ["policy", "facts"]) if (name in snapshot.pieces) replace(name, snapshot.pieces[name]);
  if (snapshot.isPending) allow(snapshot);
  else if (isSent) over();
  else decided();
  clock.draw();
}

function showState(html, isPending) {
  const fresh = document.createElement("div");
  fresh.innerHTML = html;
  const before = state.querySelector("[data-status]");
  const after = fresh.querySelector("[data-status]");
  if (before.dataset.status !== after.dataset.status || isPending) state.replaceChildren(...fresh.children);
  else tellAftermath(fresh.querySelector(".aftermath"));
  // An escalation moves the time at which it expires.
  const expires = document.getElementById("expires");
  if (expires.dateTime !== after.dataset.expiresTime) {
    expires.dateTime = after.dataset.expiresTime;
    expires.textContent = after.dataset.expiresAt;
  }
}

// Replace what an element holds, unless it says the same: a screen reader reads what is replaced.
function replace(id, html) {
  const element = document.getElementById(id);
  const fresh = element.cloneNode(false);
  fresh.innerHTML = html;
  if (said(fresh) !== said(element)) element.replaceChildren(...fresh.childNodes);
}

// Return an element's text, with times as they were sent: scripts write them otherwise.
function said(element) {
  const copy = element.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.textContent = time.dateTime;
  return copy.textContent;
}

// Only this changes once it is decided. The element stays: a screen reader says what is new in it.
function tellAftermath(after) {
  const before = state.querySelector(".aftermath");
  if (!before || !after) {
    before?.remove();
    if (after) state.append(after);
  } else if (said(before) !== said(after)) {
    before.className = after.className;
    before.replaceChildren(...after.childNodes);
  }
}

// Show the buttons of who may decide now: a vote, an escalation or a membership may change that.
function allow({ mayApprove, mayReject }) {
  if (isSent) return;
  isReloadDue = false;
  const missing = (id, may) => may && !document.getElementById(id);
  if (missing("approval", mayApprove) || missing("rejection", mayReject)) {
    // Nobody is interrupted in a word; what is typed is there after the reload.
    if (isTyping()) isReloadDue = true;
    else location.reload();
    return;
  }
  if (!mayApprove) remove("#approval, button.approve");
  if (!mayReject) remove("#rejection, button.reject");
}

function remove(parts) {
  for (const part of document.querySelectorAll(parts)) part.remove();
}

function over() {
  const decision = document.getElementById("decision");
  if (!decision) return;
  const hadFocus = document.activeElement?.closest("#decision, #buttons");
  remove("#decision, #buttons");
  if (hadFocus) document.querySelector(".pager a")?.focus();
}

// --- what is typed ------------------------------------------------------------------------------

const { pk, digest, person } = root.dataset;
const draft = drafts.draftOf(drafts.nameOfRequest(pk), digest, person);
const typedBefore = document.getElementById("typed-before");

const isTyping = () => Boolean(document.activeElement?.matches("#decision textarea, #decision input[type=text]"));

// Show what was typed for a request that somebody else has decided, once, to be read or copied.
function decided() {
  const typed = Object.values(draft.texts()).filter(Boolean).join("\n");
  if (typed) {
    typedBefore.textContent = say("hadTyped", typed);
    typedBefore.hidden = false;
  }
  draft.forget();
  over();
}

if (state.querySelector("[data-status]").dataset.status !== "pending") {
  decided();
} else if (drafts.follow(draft, [...document.querySelectorAll("#decision textarea, #decision input[type=text]")])) {
  typedBefore.textContent = texts.restored;
  typedBefore.hidden = false;
}
document.getElementById("decision")?.addEventListener("focusout", () => {
  // After a click that took the focus has done what it does.
  setTimeout(() => {
    if (isReloadDue && !isSent && !isTyping()) location.reload();
  }, UNSEEN_FOR);
});

function showConnection(connection, since) {
  showLink(connection, since);
  if (connection === "stopped") {
    over();
    const note = document.createElement("p");
    note.className = "errornote";
    note.setAttribute("role", "alert");
    note.textContent = texts.stopped;
    state.replaceChildren(note);
  }
}

// --- deciding -----------------------------------------------------------------------------------

for (const form of document.querySelectorAll("#approval, #rejection")) {
  form.addEventListener("submit", (event) => {
    if (isSent || !isSeen()) {
      event.preventDefault();
      return;
    }
    if (form === rejection && lacksReason(form)) {
      event.preventDefault();
      goToReasons();
      return;
    }
    const offline = document.getElementById("offline");
    offline.hidden = navigator.onLine;
    if (!navigator.onLine) {
      event.preventDefault();
      return;
    }
    isSent = true;
    for (const button of document.querySelectorAll("#buttons button")) {
      button.setAttribute("aria-disabled", "true");
    }
  });
}

function approve(event) {
  if (event.repeat || !isSeen()) return;
  document.getElementById("approval")?.requestSubmit(document.querySelector("button.approve"));
}

const rejection = document.getElementById("rejection");
// A script says what is missing in its own words, beside the field.
if (rejection) rejection.noValidate = true;
const goToReasons =
  rejection && watchReasons(rejection, () => rejection.requestSubmit(document.querySelector("button.reject")));

function reject(event) {
  if (event.repeat || !isSeen()) return;
  goToReasons?.();
}

function comment(event) {
  if (!event.repeat) document.getElementById("id_comment")?.focus();
}

function go(url) {
  if (url) location.assign(url);
}

listen({
  a: approve,
  r: reject,
  c: comment,
  j: (event) => (event.repeat ? undefined : go(root.dataset.next)),
  k: (event) => (event.repeat ? undefined : go(root.dataset.previous)),
  Escape: () => go(root.dataset.inbox),
  "?": showHelp,
});

addEventListener("online", () => (document.getElementById("offline").hidden = true));
clock.start();
const streams = [follow(root.dataset.live, update, showConnection), watch(document.getElementById("timeline"))];
// A browser opens six connections to one server: hidden tabs, also those opened in the background,
// leave theirs to the visible ones.
function share() {
  for (const stream of streams) document.hidden ? stream.close() : stream.open();
}
share();
document.addEventListener("visibilitychange", () => {
  share();
  if (!document.hidden) shownAnew();
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  shownAnew();
  for (const button of document.querySelectorAll("#buttons button")) button.removeAttribute("aria-disabled");
});
