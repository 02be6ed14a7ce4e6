// Notices that a stream is silent: a server that is frozen neither sends nor ends the connection.

// The server sends something every 5 s. Chosen: two pings may be late.
export const SILENT_AFTER = 12000;
const CHECK_EVERY = 1000;

// Call `onSilence` when nothing was heard for so long, and again after as long.
export function watchdog(onSilence) {
  let since = Date.now();
  let timer = 0;

  // By the clock, because timers of hidden tabs run late, and those of a suspended computer not at all.
  function check() {
    if (!timer || Date.now() - since <= SILENT_AFTER) return;
    since = Date.now();
    onSilence();
  }

  document.addEventListener("visibilitychange", check);
  return {
    // Begin to wait for the first sign.
    start() {
      since = Date.now();
      timer ||= setInterval(check, CHECK_EVERY);
    },
    heard() {
      since = Date.now();
    },
    stop() {
      clearInterval(timer);
      timer = 0;
    },
  };
}
