// One request: shows its state and its session live, and decides by button or key.

import * as clock from "./clock.js";
import { listen, showHelp } from "./keys.js";
import { follow } from "./stream.js";
import { texts, setNow } from "./texts.js";
import { watch } from "./timeline.js";

// Chosen: milliseconds in which nobody reads a request; a key or click that comes sooner was meant
// for the request before.
const UNSEEN_FOR = 600;
const root = document.getElementById("request");
const state = document.getElementById("state");
let shownAt = performance.now();
let isSent = false;

const isSeen = () => document.visibilityState === "visible" && performance.now() - shownAt >= UNSEEN_FOR;

function shownAnew() {
  shownAt = performance.now();
  isSent = false;
}

// --- its state ----------------------------------------------------------------------------------

function update(snapshot) {
  setNow(snapshot.now);
  const html = snapshot.pieces.state;
  const fresh = document.createElement("div");
  fresh.innerHTML = html;
  const before = state.querySelector("[data-status]");
  const after = fresh.querySelector("[data-status]");
  if (before.dataset.status !== after.dataset.status || snapshot.isPending) state.replaceChildren(...fresh.children);
  // An escalation moves the time at which it expires.
  const expires = document.getElementById("expires");
  if (expires.dateTime !== after.dataset.expiresTime) {
    expires.dateTime = after.dataset.expiresTime;
    expires.textContent = after.dataset.expiresAt;
  }
  if (snapshot.isPending) allow(snapshot);
  else over();
  clock.draw();
}

// Show the buttons of who may decide now: a vote, an escalation or a membership may change that.
function allow({ mayApprove, mayReject }) {
  if (isSent) return;
  const missing = (id, may) => may && !document.getElementById(id);
  const typed = document.querySelector("#rejection input[type=text]")?.value;
  if ((missing("approval", mayApprove) || missing("rejection", mayReject)) && !typed) {
    location.reload();
    return;
  }
  if (!mayApprove) document.getElementById("approval")?.remove();
  if (!mayReject) document.getElementById("rejection")?.remove();
}

function over() {
  const decision = document.getElementById("decision");
  if (!decision) return;
  const hadFocus = decision.contains(document.activeElement);
  decision.remove();
  if (hadFocus) document.querySelector(".pager a")?.focus();
}

function showConnection(connection) {
  const link = document.getElementById("link");
  link.classList.toggle("is-live", connection === "live");
  link.textContent = connection === "stopped" ? "" : texts[connection];
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
    const offline = document.getElementById("offline");
    offline.hidden = navigator.onLine;
    if (!navigator.onLine) {
      event.preventDefault();
      return;
    }
    isSent = true;
    for (const button of document.querySelectorAll("#decision button")) {
      button.setAttribute("aria-disabled", "true");
    }
  });
}

function approve(event) {
  if (event.repeat || !isSeen()) return;
  document.getElementById("approval")?.requestSubmit(document.querySelector("button.approve"));
}

function reject(event) {
  if (event.repeat || !isSeen()) return;
  document.querySelector("#rejection input[type=radio], #rejection input[type=text]")?.focus();
}

function go(url) {
  if (url) location.assign(url);
}

listen({
  a: approve,
  r: reject,
  j: (event) => (event.repeat ? undefined : go(root.dataset.next)),
  k: (event) => (event.repeat ? undefined : go(root.dataset.previous)),
  Escape: () => go(root.dataset.inbox),
  "?": showHelp,
});

// Enter on a preset reason picks it and sends the rejection, as Enter in the text field does.
document.getElementById("rejection")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("input[type=radio]") && !event.repeat) {
    event.preventDefault();
    event.target.checked = true;
    event.currentTarget.requestSubmit(event.currentTarget.querySelector("button.reject"));
  }
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
  for (const button of document.querySelectorAll("#decision button")) button.removeAttribute("aria-disabled");
});
