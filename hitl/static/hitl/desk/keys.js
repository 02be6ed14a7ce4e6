// Keyboard shortcuts, except while somebody is typing.

// Chosen: milliseconds. Letters that follow each other sooner are a text, whatever has the focus.
const TEXT_FOR = 1000;
let pressed = [];

function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  return target.matches("input") && !["checkbox", "radio", "submit", "button"].includes(target.type);
}

// Return the letter that a key stands for. A Korean keyboard sends `a` as ㅁ or as "Process".
function letter(event) {
  if (/^[ -~]$/.test(event.key)) return event.key.toLowerCase();
  if (/^Key[A-Z]$/.test(event.code)) return event.code.slice(3).toLowerCase();
  return event.key;
}

// Remember the letters, also those in a field that may be gone before the next one. Who clicks, or
// presses Escape or Tab, has finished writing.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.timeStamp;
    const key = letter(event);
    if (["Escape", "Tab"].includes(key)) pressed = [];
    else if (key.length === 1 || key === "Process") pressed = [...pressed.filter((one) => at - one.at < TEXT_FOR), { key, at }];
  },
  true,
);
document.addEventListener(
  "pointerdown",
  () => {
    pressed = [];
    release();
  },
  true,
);

// Return whether a key is a letter of a text that somebody writes, and not meant for the page.
export function isInText(event) {
  return pressed.some(({ key, at }) => key !== letter(event) && event.timeStamp - at < TEXT_FOR);
}

// Give the focus to an element in which no key does anything, because what had the focus is going:
// the letters that are still coming are meant for that.
export function halt(element) {
  element.tabIndex = -1;
  element.dataset.halt = "";
  element.focus({ preventScroll: true });
  // An element keeps the focus while another window has it.
  element.addEventListener("blur", () => document.activeElement === element || release());
}

function release() {
  document.querySelector("[data-halt]")?.removeAttribute("data-halt");
}

// Call `actions[key]` for each key; where that returns false, the browser handles the key.
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open], #desk-menu:popover-open")) return;
    const key = letter(event);
    if (isTyping(event.target)) {
      if (key === "Escape") event.target.blur();
      return;
    }
    if (event.target.closest?.("[data-halt]")) {
      if (key === "Escape") event.target.blur();
      return;
    }
    const action = actions[key];
    if (action && action(event) !== false) event.preventDefault();
  });
  const help = document.getElementById("help");
  help.hidden = false;
  help.addEventListener("click", showHelp);
}

export function showHelp() {
  document.getElementById("keys").showModal();
}
