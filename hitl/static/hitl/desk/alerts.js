// Desktop notifications and a sound, each off until somebody turns it on.

import { texts } from "./texts.js";

function isTurnedOn(name) {
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

function toggle(name, allowed) {
  const button = document.getElementById(name);
  button.hidden = false;
  button.setAttribute("aria-pressed", String(isTurnedOn(name)));
  button.addEventListener("click", async () => {
    let isOn = button.getAttribute("aria-pressed") !== "true";
    if (isOn && !(await allowed())) isOn = false;
    button.setAttribute("aria-pressed", String(isOn));
    remember(name, isOn);
  });
  return () => button.getAttribute("aria-pressed") === "true";
}

// Ask for permission on a click only: browsers ignore pages that ask unprompted.
async function mayNotify() {
  if (!("Notification" in window)) return false;
  if (Notification.permission === "default") await Notification.requestPermission();
  if (Notification.permission === "granted") return true;
  document.getElementById("news").textContent = texts.denied;
  return false;
}

let audio = null;

async function maySound() {
  audio ??= new AudioContext();
  await audio.resume();
  beep();
  return true;
}

// Play two short, soft tones.
function beep() {
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

export function start() {
  const notifies = toggle("notify", mayNotify);
  const sounds = toggle("sound", maySound);
  // Browsers allow sound on a newly opened page only after a click or a key.
  const wake = () => {
    if (!sounds() || audio?.state === "running") return;
    audio ??= new AudioContext();
    audio.resume();
  };
  for (const touched of ["pointerup", "keydown"]) addEventListener(touched, wake);
  return (title) => {
    if (notifies() && document.hidden && Notification.permission === "granted") {
      try {
        // One notification at a time; `renotify` alerts again for each.
        new Notification(title, { tag: "desk", renotify: true });
      } catch {
        // Phones only show notifications of service workers.
      }
    }
    if (sounds() && audio?.state === "running") beep();
  };
}
