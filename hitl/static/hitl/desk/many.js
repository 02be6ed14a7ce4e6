// The page that asks for confirmation before many requests are decided.

import { draftOfMany, follow } from "./drafts.js";
import { watchReasons } from "./reasons.js";
import { texts } from "./texts.js";

const form = document.getElementById("many-form");
const button = form.querySelector("button[type=submit]:enabled");

if (form.querySelector(".reasons")) watchReasons(form, () => form.requestSubmit(button));

const fields = [...form.querySelectorAll("[name=comment], [name=reason]")];
const draft = draftOfMany(form.elements.decision.value, form.dataset.person);
if (follow(draft, fields)) {
  const note = document.createElement("p");
  note.className = "typed-before";
  note.textContent = texts.restored;
  fields[0].before(note);
}
