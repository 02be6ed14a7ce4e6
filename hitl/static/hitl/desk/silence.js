// What a page says, over its other parts and without moving them, while it hears nothing from the
// server: whether one can still decide. While nobody answers, no form is sent.

const own = document.getElementById("everywhere");
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
// Chosen: milliseconds that the server may take to answer, and between two questions.
const ANSWER_WITHIN = 3000;
const ASK_EVERY = 5000;
const strip = document.createElement("p");
strip.className = "silence";
strip.setAttribute("role", "status");
document.body.append(strip);

let timer = 0;
// When the connection was lost, and whether that is long enough ago to say so.
let since = 0;
let isSilent = false;
// Whether the server answers; null while that is not known.
let isAnswering = null;
// Whether somebody has tried to send a form meanwhile.
let isUnsent = false;

// Show a connection as `follow` reports it.
export function show(state, at) {
  isSilent = state === "silent";
  if (isSilent || state === "connecting") {
    if (at) since = at;
    else if (!timer) since = Date.now();
    if (!timer) {
      timer = setInterval(ask, ASK_EVERY);
      ask();
    }
  } else {
    clearInterval(timer);
    timer = 0;
    isAnswering = null;
    isUnsent = false;
  }
  draw();
}

async function ask() {
  // Nobody sees a hidden page, and it has left its connection to others.
  if (document.hidden) return;
  let isAnswered = false;
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN);
    isAnswered = (await fetch(own.dataset.health, { signal, cache: "no-store" })).status < 500;
  } catch {
    // Nobody answered.
  }
  if (!timer) return;
  isAnswering = isAnswered;
  isUnsent &&= !isAnswered;
  draw();
}

function draw() {
  let text = "";
  if (isUnsent) text = `${own.dataset.unsent} ${own.dataset.unreachable}`;
  else if (isSilent && isAnswering !== null) text = isAnswering ? own.dataset.silent : own.dataset.unreachable;
  const full = text.replace("{}", new Date(since).toLocaleTimeString([], TIME));
  // The same words again would be read aloud again.
  if (strip.textContent !== full) strip.textContent = full;
}

// Before the page's own scripts: what is not sent has not been decided for them either.
addEventListener(
  "submit",
  (event) => {
    if (isAnswering !== false) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    isUnsent = true;
    draw();
  },
  true,
);
