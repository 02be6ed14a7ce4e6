// The dot and the word that say whether a page is up to date. They always take the same room.

import * as silence from "./silence.js";
import { texts } from "./texts.js";

// Show a connection as `follow` reports it; `since` is when a silent one was heard last.
export function showLink(state, since) {
  const link = document.getElementById("link");
  link.classList.toggle("is-live", state === "live");
  link.classList.toggle("is-silent", state === "silent");
  // Of a connection that has stopped, an alert on the page says why.
  const text = state === "stopped" ? "" : texts[state];
  // The same words again would be read aloud again.
  if (link.textContent !== text) link.textContent = text;
  silence.show(state, since);
}
