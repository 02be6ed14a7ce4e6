// A live stream that reconnects by itself, and reports when it will not.

import { whenRefused } from "./refused.js";

// Call `onSnapshot` with each snapshot, and `onConnection` with "live", "connecting" or "stopped".
export function follow(url, onSnapshot, onConnection) {
  let source = null;
  let isStopped = false;
  const refused = whenRefused(url, () => open(), () => stop());

  function open() {
    if (source || isStopped) return;
    source = new EventSource(url);
    source.addEventListener("open", () => {
      refused.reset();
      onConnection("live");
    });
    source.addEventListener("standing", (event) => onSnapshot(JSON.parse(event.data)));
    source.addEventListener("gone", stop);
    source.addEventListener("error", () => {
      onConnection("connecting");
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      refused.retryLater();
    });
  }

  function stop() {
    isStopped = true;
    close();
    onConnection("stopped");
  }

  function close() {
    refused.cancel();
    if (source) source.close();
    source = null;
  }

  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted) open();
  });
  open();
  return { open, close };
}
