// The dot and the words that say whether a page is up to date.

import { say, texts } from "./texts.js";

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

// Show a connection as `follow` reports it; `since` is when a silent one was heard last.
export function showLink(state, since) {
  const link = document.getElementById("link");
  link.classList.toggle("is-live", state === "live");
  link.classList.toggle("is-silent", state === "silent");
  // Of a connection that has stopped, an alert on the page says why.
  let text = state === "stopped" ? "" : texts[state];
  if (state === "silent") text = say("silent", new Date(since).toLocaleTimeString([], TIME));
  // The same words again would be read aloud again.
  if (link.textContent !== text) link.textContent = text;
}
