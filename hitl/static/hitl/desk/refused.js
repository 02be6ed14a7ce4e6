// Why a live stream was refused: an EventSource gives up for good at any answer but 200, and does
// not say which it was.

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

// Calls `again` when it is worth another try, or `stop` where there is nothing for this reader.
export function whenRefused(url, again, stop) {
  let pause = FIRST_PAUSE;
  let timer = 0;

  async function ask() {
    const probe = new AbortController();
    let status = 0;
    try {
      status = (await fetch(url, { signal: probe.signal, cache: "no-store" })).status;
    } catch {
      // Nobody answered.
    }
    probe.abort();
    if (status === 204) stop();
    else if (status >= 400 && status < 500 && status !== 429) stop();
    else again();
  }

  return {
    // A server that restarts, or its database: not everybody comes back at once.
    retryLater() {
      clearTimeout(timer);
      timer = setTimeout(ask, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    },
    reset() {
      pause = FIRST_PAUSE;
    },
    cancel() {
      clearTimeout(timer);
    },
  };
}
