// Desktop notifications and a sound, each off until somebody turns it on, for this browser.

const own = document.getElementById("everywhere");

export function isTurnedOn(name) {
  try {
    return localStorage.getItem(`desk.${name}`) === "on";
  } catch {
    return false;
  }
}

function remember(name, isOn) {
  try {
    localStorage.setItem(`desk.${name}`, isOn ? "on" : "off");
  } catch {
    // Private windows may refuse to store anything.
  }
}

// Which of the new requests this page announces by itself, where somebody sees it; the inbox says.
let announces = () => false;

export function announceWith(isAnnounced) {
  announces = isAnnounced;
}

export function announced(pks) {
  return document.hidden ? [] : pks.filter((pk) => announces(String(pk)));
}

function toggle(name, allowed) {
  const button = document.getElementById(name);
  if (!button) return;
  const show = (isOn) => button.setAttribute("aria-pressed", String(isOn));
  button.hidden = false;
  show(isTurnedOn(name));
  button.addEventListener("click", async () => {
    const isOn = button.getAttribute("aria-pressed") !== "true" && (await allowed());
    show(isOn);
    remember(name, isOn);
  });
  // Another tab has turned it on or off.
  addEventListener("storage", (event) => {
    if (event.key === `desk.${name}`) show(isTurnedOn(name));
  });
}

// Ask for permission on a click only: browsers ignore pages that ask unprompted.
async function mayNotify() {
  if (!("Notification" in window)) return false;
  if (Notification.permission === "default") await Notification.requestPermission();
  if (Notification.permission === "granted") return true;
  document.getElementById("news").textContent = own.dataset.denied;
  return false;
}

let audio = null;

async function maySound() {
  audio ??= new AudioContext();
  await audio.resume();
  beep();
  return true;
}

export function canSound() {
  return isTurnedOn("sound") && audio?.state === "running";
}

// Play two short, soft tones.
export function beep() {
  for (const [start, pitch] of [[0, 660], [0.14, 880]]) {
    const at = audio.currentTime + start;
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(0.08, at + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.001, at + 0.22);
    tone.connect(volume).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.25);
  }
}

// Show a notification; a click on it opens the page, and leaves this one as it is.
export function notify(text, tag, url) {
  if (!isTurnedOn("notify") || !("Notification" in window) || Notification.permission !== "granted") return;
  try {
    const notification = new Notification(text, { tag });
    notification.onclick = () => {
      // The same window for the same page, so that a second click finds the first one's.
      window.open(url, tag)?.focus();
      notification.close();
    };
  } catch {
    // Phones only show notifications of service workers.
  }
}

// Show the buttons that turn alerts on, where the page has them.
export function start() {
  toggle("notify", mayNotify);
  toggle("sound", maySound);
  // Browsers allow sound on a newly opened page only after a click or a key.
  const wake = () => {
    if (!isTurnedOn("sound") || audio?.state === "running") return;
    audio ??= new AudioContext();
    audio.resume();
  };
  for (const touched of ["pointerup", "keydown"]) addEventListener(touched, wake);
}
