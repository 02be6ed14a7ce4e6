// Countdowns and ages, drawn once a second.

import { now, say, texts } from "./texts.js";

// Chosen: seconds before the end at which a countdown changes its colour.
const SOON = 120;
const URGENT = 30;

function left(seconds) {
  if (seconds >= 86400) {
    return say("days", Math.floor(seconds / 86400), Math.floor((seconds % 86400) / 3600));
  }
  if (seconds >= 3600) {
    return say("hours", Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60));
  }
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function age(seconds) {
  if (seconds < 60) return texts.now;
  if (seconds < 3600) return say("minutes", Math.floor(seconds / 60));
  if (seconds < 86400) {
    return say("hours", Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60));
  }
  return say("days", Math.floor(seconds / 86400), Math.floor((seconds % 86400) / 3600));
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function draw() {
  for (const element of document.querySelectorAll(".countdown[data-expires]")) {
    const seconds = Math.ceil((Number(element.dataset.expires) - now()) / 1000);
    const state = seconds <= 0 ? "is-over" : seconds <= URGENT ? "is-urgent" : seconds <= SOON ? "is-soon" : "";
    const name = `countdown ${state}`.trim();
    if (element.className !== name) element.className = name;
    put(element.firstElementChild, seconds <= 0 ? texts.over : left(seconds));
  }
  for (const element of document.querySelectorAll(".age[data-created]")) {
    put(element.firstElementChild, age(Math.max(0, (now() - Number(element.dataset.created)) / 1000)));
  }
}

export function start() {
  draw();
  setInterval(draw, 1000);
}

export { draw };
