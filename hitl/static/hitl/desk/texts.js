// The page's texts in the reader's language, and the server's clock.

const root = document.querySelector("[data-texts]");
export const texts = JSON.parse(root.dataset.texts);

let offset = Number(root.dataset.now) * 1000 - Date.now();

export function setNow(milliseconds) {
  offset = milliseconds - Date.now();
}

export function now() {
  return Date.now() + offset;
}

// Put values in the places of `{}`.
export function say(name, ...values) {
  return texts[name].replace(/\{\}/g, () => values.shift());
}
