// The page that asks for confirmation before many requests are decided.

import { draftOf, follow, nameOfMany } from "./drafts.js";
import { watchReasons } from "./reasons.js";
import { texts } from "./texts.js";

// Chosen: of each digest so many characters as tell two versions of a request apart.
const DIGEST_LENGTH = 16;
const form = document.getElementById("many-form");
const button = form.querySelector("button[type=submit]:enabled");

if (form.querySelector(".reasons")) watchReasons(form, () => form.requestSubmit(button));

// What was typed is about these requests and no others.
const items = [...form.querySelectorAll("input[name=item]")].map((item) => {
  const [pk, digest] = item.value.split(":");
  return `${pk}:${digest.slice(0, DIGEST_LENGTH)}`;
});
const fields = [...form.querySelectorAll("[name=comment], [name=reason]")];
const draft = draftOf(nameOfMany(form.elements.decision.value), items.join(" "), form.dataset.person);
if (follow(draft, fields)) {
  const note = document.createElement("p");
  note.className = "typed-before";
  note.textContent = texts.restored;
  fields[0].before(note);
}
