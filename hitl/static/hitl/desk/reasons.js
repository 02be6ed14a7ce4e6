// The reasons of a rejection. None is chosen until somebody chooses it, and Enter sends only a reason
// that is there; without one, a rejection takes the button.

const isText = (target) => target.matches("input[type=text]");

// Say whether the policy wants a reason and the form has none.
export function lacksReason(form) {
  const isGiven = form.querySelector("input[type=radio]:checked") || form.reason.value.trim();
  return "required" in form.querySelector(".reasons").dataset && !isGiven;
}

// Return what a form's `r` key does; `send` sends the rejection.
export function watchReasons(form, send) {
  const group = form.querySelector(".reasons");
  const presets = [...group.querySelectorAll("input[type=radio]")];
  const text = group.querySelector("input[type=text]");
  const hint = group.querySelector(".reasons-hint");
  for (const key of group.querySelectorAll("kbd")) key.hidden = false;

  function ask() {
    hint.textContent = hint.dataset.hint;
  }

  function pick(preset) {
    preset.checked = true;
    preset.focus();
  }

  function enter(event) {
    event.preventDefault();
    if (event.repeat) return;
    const isChosen = presets.some((preset) => preset.checked);
    const isThere = isText(event.target) ? text.value.trim() || isChosen : event.target.checked;
    if (isThere) send();
    else ask();
  }

  function press(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") return enter(event);
    if (isText(event.target)) return;
    // What is typed here is about the reason: neither `a` nor `j` does what it does elsewhere.
    event.stopPropagation();
    const preset = /^[1-9]$/.test(event.key) ? presets[event.key - 1] : undefined;
    const isArrow = event.target === group && ["ArrowDown", "ArrowUp"].includes(event.key);
    if (preset || (isArrow && presets.length)) {
      event.preventDefault();
      pick(preset ?? presets.at(event.key === "ArrowDown" ? 0 : -1));
    } else if (event.key === "Escape") {
      event.target.blur();
    } else if (event.key !== " " && (event.key.length === 1 || event.key === "Process")) {
      // The letter goes into the field, because the focus moves before it is written.
      text.focus();
    }
  }

  group.addEventListener("keydown", press);
  return () => {
    ask();
    (presets.length ? group : text).focus();
    group.scrollIntoView({ block: "nearest" });
  };
}
