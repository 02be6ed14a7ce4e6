// A live stream that comes back by itself, and says when it will not.

// `hear` is called with each standing, `tell` with "live", "connecting" or "stopped".
export function follow(url, hear, tell) {
  let source = null;

  function open() {
    if (source) return;
    source = new EventSource(url);
    source.addEventListener("open", () => tell("live"));
    source.addEventListener("standing", (event) => hear(JSON.parse(event.data)));
    source.addEventListener("gone", stop);
    source.addEventListener("error", () => {
      // Any answer but 200 ends it for good: signed out, or not ours to see any more.
      if (source && source.readyState === EventSource.CLOSED) stop();
      else tell("connecting");
    });
  }

  function stop() {
    close();
    tell("stopped");
  }

  function close() {
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
