// What somebody has typed and not yet sent, kept for this tab: a sign-in session that ended, a
// reload or a refused form takes nothing away. On every page, so that it is forgotten in time.

const NAME = "dwp.drafts";
// Chosen: more forms than anybody leaves half filled in.
const MAX_DRAFTS = 20;
const MANY = "many ";
// Chosen: milliseconds, long enough to sign in again. Nobody expects later what belongs to no one request.
const MANY_FOR = 60 * 60 * 1000;

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(NAME)) ?? {};
  } catch {
    return {};
  }
}

function write(drafts) {
  const newest = Object.entries(drafts).slice(-MAX_DRAFTS);
  try {
    if (newest.length) sessionStorage.setItem(NAME, JSON.stringify(Object.fromEntries(newest)));
    else sessionStorage.removeItem(NAME);
  } catch {
    // There is no room, or the browser keeps nothing: what is typed lives as long as the page.
  }
}

function forget(isOver) {
  write(Object.fromEntries(Object.entries(read()).filter(([name]) => !isOver(name))));
}

// The draft of one form: of a request by key and digest, or of many. `person` is who types: nobody
// else gets it, and after `lifetime` milliseconds nobody.
export function draftOf(name, digest, person, lifetime = Infinity) {
  const isMine = (draft) => draft?.person === person && draft.digest === digest && Date.now() - draft.at < lifetime;
  return {
    texts() {
      const draft = read()[name];
      return isMine(draft) ? draft.texts : {};
    },
    keep(texts) {
      const { [name]: _before, ...drafts } = read();
      if (Object.values(texts).some((text) => text.trim())) drafts[name] = { person, digest, texts, at: Date.now() };
      write(drafts);
    },
    // There is nothing left to send it with: it stays until another page is opened.
    end() {
      const drafts = read();
      if (drafts[name]) write({ ...drafts, [name]: { ...drafts[name], isOver: true } });
    },
  };
}

export const nameOfRequest = (pk) => `request ${pk}`;
// Of many requests, whichever they are: which they were may have changed meanwhile.
export const draftOfMany = (what, person) => draftOf(`${MANY}${what}`, "", person, MANY_FOR);

// Keep what is typed into these fields, and fill those that are empty; return whether any was.
export function follow(draft, fields) {
  const before = draft.texts();
  let isFilled = false;
  for (const field of fields) {
    const text = before[field.name];
    if (!text || field.value) continue;
    field.value = text;
    isFilled = true;
  }
  const keep = () => {
    const there = Object.fromEntries(fields.filter((field) => field.isConnected).map((field) => [field.name, field.value]));
    draft.keep({ ...draft.texts(), ...there });
  };
  for (const field of fields) field.addEventListener("input", keep);
  // Somebody may have typed before this script was there.
  if (fields.some((field) => field.value !== field.defaultValue)) keep();
  return isFilled;
}

// --- forgetting -----------------------------------------------------------------------------------

const shown = document.getElementById("request")?.dataset.pk;
const ended = read();
forget((name) => ended[name].isOver && name !== nameOfRequest(shown));
// A message says of which request the decision is made, and the results page that many are.
for (const message of document.querySelectorAll(".messagelist [class*='decided-']")) {
  const pk = /\bdecided-(\d+)\b/.exec(message.className)?.[1];
  forget((name) => name === nameOfRequest(pk));
}
if (document.querySelector(".card.results")) forget((name) => name.startsWith(MANY));
document.getElementById("logout-form")?.addEventListener("submit", () => forget(() => true));
