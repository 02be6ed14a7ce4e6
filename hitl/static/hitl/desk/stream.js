// A live stream that reconnects by itself, and reports when it will not.

import { whenRefused } from "./refused.js";
import { SILENT_AFTER, watchdog } from "./watchdog.js";

// Call `onSnapshot` with each snapshot, and `onConnection` with "live", "connecting", "silent" or
// "stopped"; "silent" comes with the time of the last sign. `url` may be a function. A hidden page
// leaves its connection to the visible ones, unless it listens for all of them.
export function follow(url, onSnapshot, onConnection, { isForAll = false } = {}) {
  const address = typeof url === "function" ? url : () => url;
  let source = null;
  let isStopped = false;
  let isAway = true;
  let isLive = false;
  let heardAt = Date.now();
  const refused = whenRefused(address, () => open(), () => stop());
  const silence = watchdog(() => {
    lost();
    // Where the server refuses, another attempt is on its way.
    if (source) reopen();
  });

  function open() {
    if (source || isStopped || isAway) return;
    const opened = new EventSource(address());
    source = opened;
    silence.start();
    const on = (name, react) =>
      opened.addEventListener(name, (event) => {
        if (source === opened) react(event);
      });
    on("open", () => {
      heard();
      refused.reset();
      isLive = true;
      onConnection("live");
    });
    on("ping", heard);
    on("standing", (event) => {
      heard();
      onSnapshot(JSON.parse(event.data));
    });
    on("gone", stop);
    on("error", () => {
      lost();
      if (opened.readyState !== EventSource.CLOSED) return;
      opened.close();
      source = null;
      refused.retryLater();
    });
  }

  function heard() {
    heardAt = Date.now();
    silence.heard();
  }

  function lost() {
    isLive = false;
    if (Date.now() - heardAt > SILENT_AFTER) onConnection("silent", heardAt);
    else onConnection("connecting");
  }

  function reopen() {
    source.close();
    source = null;
    open();
  }

  function stop() {
    isStopped = true;
    close();
    onConnection("stopped");
  }

  function enter() {
    isAway = false;
    open();
  }

  // Leave the connection to others; what is shown is not live meanwhile.
  function close() {
    isAway = true;
    refused.cancel();
    silence.stop();
    if (source) source.close();
    source = null;
    if (isLive && !isStopped) onConnection("connecting");
    isLive = false;
  }

  // Close for good, and say nothing.
  function end() {
    isStopped = true;
    close();
  }

  whileSeen(enter, close, { isForAll });
  return { end };
}

// Call `open` now and whenever the page is shown again, and `close` when it is hidden or left: a
// browser opens six connections to one server, and hidden tabs would take them from the visible one.
export function whileSeen(open, close, { isForAll = false } = {}) {
  const share = () => (document.hidden && !isForAll ? close() : open());
  document.addEventListener("visibilitychange", share);
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted) share();
  });
  share();
}
