// A session's events, live. Pieces of one answer are joined into one entry.

import { whenRefused } from "./refused.js";
import { whileSeen } from "./stream.js";
import { texts } from "./texts.js";
import { watchdog } from "./watchdog.js";

// Chosen: pixels from the end within which the list scrolls along.
const NEAR_THE_END = 40;

export function watch(section) {
  const list = section.querySelector("ol");
  const note = document.getElementById("timeline-note");
  let source = null;
  let last = 0;
  let isOver = false;
  let isAway = true;
  const refused = whenRefused(() => section.dataset.url, () => open(), () => stop());
  const silence = watchdog(() => {
    note.textContent = texts.connecting;
    // Where the server refuses, another attempt is on its way.
    if (!source) return;
    source.close();
    source = null;
    open();
  });

  function add(entry, number) {
    if (number <= last) return;
    last = number;
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_THE_END;
    const end = list.lastElementChild;
    if (entry.kind === "content" && end?.dataset.kind === "content") {
      end.querySelector(".piece").insertAdjacentHTML("beforeend", entry.piece);
    } else {
      list.insertAdjacentHTML("beforeend", entry.html);
    }
    note.textContent = "";
    if (follows) list.scrollTop = list.scrollHeight;
  }

  function open() {
    if (source || isOver || isAway) return;
    source = new EventSource(`${section.dataset.url}?after=${last}`);
    silence.start();
    source.addEventListener("ping", silence.heard);
    source.addEventListener("happened", (event) => {
      silence.heard();
      add(JSON.parse(event.data), Number(event.lastEventId));
    });
    source.addEventListener("quiet", () => {
      if (!list.children.length) note.textContent = texts.noEvents;
    });
    source.addEventListener("over", () => {
      isOver = true;
      close();
    });
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      refused.retryLater();
    });
    source.addEventListener("open", () => {
      silence.heard();
      refused.reset();
      if (note.textContent === texts.connecting) note.textContent = "";
    });
  }

  function stop() {
    isOver = true;
    close();
    note.textContent = list.children.length ? texts.timelineStopped : texts.noTimeline;
  }

  function close() {
    refused.cancel();
    silence.stop();
    source?.close();
    source = null;
  }

  whileSeen(
    () => {
      isAway = false;
      open();
    },
    () => {
      isAway = true;
      close();
    },
  );
}
