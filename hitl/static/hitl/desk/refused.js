// Finds out why a live stream was refused: an EventSource gives up for good on any status but 200,
// and does not say which it was.

// Chosen: milliseconds between attempts, at first and at most.
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;

// Call `again` when another attempt at `address()` is worthwhile, or `stop` where the reader has no
// access.
export function whenRefused(address, again, stop) {
  let pause = FIRST_PAUSE;
  let timer = 0;

  async function ask() {
    const probe = new AbortController();
    const deadline = setTimeout(() => probe.abort(), LONGEST_PAUSE);
    let status = 0;
    try {
      status = (await fetch(address(), { signal: probe.signal, cache: "no-store" })).status;
    } catch {
      // Nobody answered.
    }
    clearTimeout(deadline);
    probe.abort();
    if (status === 204) stop();
    else if (status >= 400 && status < 500 && status !== 429) stop();
    else again();
  }

  return {
    // Spread the attempts, so that not every page comes back at once after a restart.
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
