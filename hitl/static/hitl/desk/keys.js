// Keyboard shortcuts, except while somebody is typing.

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
