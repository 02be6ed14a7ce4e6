// One request: shows its state and its session live, and decides by button or key.

import * as clock from "./clock.js";
import * as drafts from "./drafts.js";
import { halt, isInText, listen, showHelp } from "./keys.js";
import { showLink } from "./link.js";
import { lacksReason, watchReasons } from "./reasons.js";
import { follow } from "./stream.js";
import { say, texts, setNow } from "./texts.js";
import { watch } from "./timeline.js";

// Chosen: milliseconds in which nobody reads a request; a key or click that comes sooner was meant
// for the request before.
const UNSEEN_FOR = 600;
const FIELDS = "textarea, input[type=text]";
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
    // Nobody is interrupted, also not before the first letter; what is typed is there after the reload.
    if (isDeciding()) isReloadDue = true;
    else location.reload();
    return;
  }
  if (!mayApprove) remove("#approval, button.approve");
  if (!mayReject) remove("#rejection, button.reject");
}

// Remove what is no longer to be used. What is typed there stays to be read, and what somebody goes on
// typing must neither press nor follow anything.
function remove(parts) {
  const going = [...document.querySelectorAll(parts)];
  const hadFocus = going.some((part) => part.contains(document.activeElement));
  showTyped(going.flatMap((part) => [...part.querySelectorAll(FIELDS)]).map((field) => field.value));
  const question = document.querySelector("dialog[id^=other-][open]");
  if (going.length) question?.close("");
  if (hadFocus || (going.length && question)) halt(state);
  for (const part of going) part.remove();
}

const over = () => remove("#decision, #buttons");

// --- what is typed ------------------------------------------------------------------------------

const { pk, digest, person } = root.dataset;
const draft = drafts.draftOf(drafts.nameOfRequest(pk), digest, person);
const typedBefore = document.getElementById("typed-before");

const isDeciding = () => Boolean(document.activeElement?.closest("#decision, #buttons"));

function showTyped(fields) {
  const typed = fields.filter(Boolean).join("\n");
  if (!typed) return;
  typedBefore.textContent = say("hadTyped", typed);
  typedBefore.hidden = false;
}

// Show what was typed for a request that somebody else has decided, to be read or copied until another
// page is opened.
function decided() {
  over();
  showTyped(Object.values(draft.texts()));
  draft.end();
}

if (state.querySelector("[data-status]").dataset.status !== "pending") {
  decided();
} else if (drafts.follow(draft, [...document.querySelectorAll(`#decision :is(${FIELDS})`)])) {
  typedBefore.textContent = texts.restored;
  typedBefore.hidden = false;
}
document.getElementById("decision")?.addEventListener("focusout", () => {
  // After a click that took the focus has done what it does.
  setTimeout(() => {
    if (isReloadDue && !isSent && !isDeciding()) location.reload();
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
    if (askAboutOther(form)) {
      event.preventDefault();
      return;
    }
    isSent = true;
    for (const button of document.querySelectorAll("#buttons button")) {
      button.setAttribute("aria-disabled", "true");
    }
  });
}

// What is written for the other decision goes with this one only if the person says so.

const commentField = document.getElementById("id_comment");
const reasonField = document.getElementById("id_reason");
const chosenReason = () => document.querySelector("#rejection input[name=preset]:checked");
const others = {
  approval: {
    text: () => [chosenReason()?.value, reasonField?.value.trim()].filter(Boolean).join(" – "),
    take: (text) => (commentField.value = [commentField.value.trim(), text].filter(Boolean).join("\n")),
    drop() {
      if (chosenReason()) chosenReason().checked = false;
      reasonField.value = "";
    },
  },
  rejection: {
    text: () => commentField?.value.trim() ?? "",
    // A reason has one line.
    take: (text) => (reasonField.value = [reasonField.value.trim(), text.replace(/\s*\n\s*/g, " ")].filter(Boolean).join(" – ")),
    drop: () => (commentField.value = ""),
  },
};

// The other text stays in its field where the form is sent without it: that may yet be refused.
let isAnswered = false;

function askAboutOther(form) {
  if (isAnswered) return false;
  const text = others[form.id].text();
  const question = document.getElementById(`other-${form.id}`);
  if (!text || !question || !document.getElementById("approval") || !document.getElementById("rejection")) return false;
  question.querySelector(".typed-before").textContent = text;
  question.returnValue = "";
  question.showModal();
  return true;
}

for (const [id, other] of Object.entries(others)) {
  document.getElementById(`other-${id}`)?.addEventListener("close", ({ target }) => {
    if (!target.returnValue) return;
    if (target.returnValue === "with") {
      other.take(other.text());
      other.drop();
      for (const field of [commentField, reasonField]) field.dispatchEvent(new Event("input"));
    }
    isAnswered = true;
    document.getElementById(id)?.requestSubmit(document.querySelector(`[form=${id}]`));
    isAnswered = false;
  });
}

function approve() {
  if (!isSeen()) return;
  document.getElementById("approval")?.requestSubmit(document.querySelector("button.approve"));
}

const rejection = document.getElementById("rejection");
// A script says what is missing in its own words, beside the field.
if (rejection) rejection.noValidate = true;
const goToReasons =
  rejection && watchReasons(rejection, () => rejection.requestSubmit(document.querySelector("button.reject")));

function reject() {
  if (isSeen()) goToReasons?.();
}

function comment() {
  document.getElementById("id_comment")?.focus();
}

function go(url) {
  if (url) location.assign(url);
}

// Each letter decides or leads to another request: one of a text does nothing.
const alone = (action) => (event) => (event.repeat || isInText(event) ? undefined : action());

listen({
  a: alone(approve),
  r: alone(reject),
  c: alone(comment),
  j: alone(() => go(root.dataset.next)),
  k: alone(() => go(root.dataset.previous)),
  Escape: () => go(root.dataset.inbox),
  "?": showHelp,
});

addEventListener("online", () => (document.getElementById("offline").hidden = true));
clock.start();
follow(root.dataset.live, update, showConnection);
watch(document.getElementById("timeline"));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) shownAnew();
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  shownAnew();
  for (const button of document.querySelectorAll("#buttons button")) button.removeAttribute("aria-disabled");
});
