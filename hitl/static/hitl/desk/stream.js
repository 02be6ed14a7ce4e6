// A live stream that comes back by itself, and says when it will not.

import { whenRefused } from "./refused.js";

// `hear` is called with each standing, `tell` with "live", "connecting" or "stopped".
export function follow(url, hear, tell) {
  let source = null;
  let isStopped = false;
  const refused = whenRefused(url, () => open(), () => stop());

  function open() {
    if (source || isStopped) return;
    source = new EventSource(url);
    source.addEventListener("open", () => {
      refused.worked();
      tell("live");
    });
    source.addEventListener("standing", (event) => hear(JSON.parse(event.data)));
    source.addEventListener("gone", stop);
    source.addEventListener("error", () => {
      tell("connecting");
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      refused.later();
    });
  }

  function stop() {
    isStopped = true;
    close();
    tell("stopped");
  }

  function close() {
    refused.forget();
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
