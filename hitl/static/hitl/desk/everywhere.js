// On every page: how many requests are the reader's to decide stands in the title, and a new one is
// alerted once. One tab of the browser, the leader, listens for all tabs and tells the others.

import * as alerts from "./alerts.js";
import * as silence from "./silence.js";
import { follow } from "./stream.js";

const own = document.getElementById("everywhere");
// As many alerted requests are remembered, so that no reconnect or other tab alerts again. Chosen.
const MAX_REMEMBERED = 500;
// More new requests than this at once make one notification. Chosen.
const MAX_NOTIFICATIONS = 3;
// Chosen: milliseconds in which one tab alone sounds.
const SOUND_FOR = 1000;
const LEADER = "desk.alerts";
const SOUNDING = "desk.sounding";
// Held by each inbox that somebody sees: that announces by itself what it lists.
const SEEN_INBOX = "desk.inbox";
// Chosen: milliseconds until an inbox has heard of the same request, and until it has answered.
const HEARD_AFTER = 1000;
const ANSWERED_AFTER = 200;
const isInbox = Boolean(document.getElementById("inbox"));
// These pages say by a stream of their own whether they are up to date.
const hasOwnLink = Boolean(document.getElementById("link"));
const title = document.title;
// Between the tabs of this browser.
let channel = null;
let mine = null;
// When the connection was heard last; null while it is live.
let silentSince = null;
// What inboxes of this browser have said that they announce.
const shown = new Set();

// --- the count ------------------------------------------------------------------------------------

function show(count) {
  mine = count;
  // The last count must not stand as if it were true.
  const text = silentSince === null ? count : "?";
  document.title = text ? `(${text}) ${title}` : title;
}

function showState(state, since) {
  silentSince = state === "silent" ? since : null;
  show(mine);
  if (!hasOwnLink) silence.show(state, since);
}

function tell(message) {
  channel?.postMessage(message);
}

function hear({ data }) {
  if ("mine" in data) show(data.mine);
  if ("state" in data) showState(data.state, data.since);
  if (data.asks && stream) {
    tell({ mine });
    if (silentSince !== null) tell({ state: "silent", since: silentSince });
  }
  if (data.isShown) tell({ shown: alerts.announced(data.isShown) });
  for (const pk of data.shown ?? []) shown.add(pk);
  // On an address without TLS, one hidden inbox listens.
  if (data.listensHidden && document.hidden) stop();
  if (data.left && document.hidden && isInbox) setTimeout(share, Math.random() * HEARD_AFTER);
  if (data.sounds) soundAlone();
}

// --- alerts ---------------------------------------------------------------------------------------

// The highest key that this browser has heard of, and the keys of what it has alerted last.
function remembered() {
  try {
    return { last: null, keys: [], ...JSON.parse(localStorage.getItem(LEADER)) };
  } catch {
    return { last: null, keys: [] };
  }
}

function remember(last, keys) {
  try {
    localStorage.setItem(LEADER, JSON.stringify({ last, keys: keys.slice(-MAX_REMEMBERED) }));
  } catch {
    // Private windows may refuse to store anything.
  }
}

function address() {
  const { last } = remembered();
  return last === null ? own.dataset.live : `${own.dataset.live}?after=${last}`;
}

function update(message) {
  show(message.mine);
  tell({ mine });
  const { last, keys } = remembered();
  const arrived = message.arrived.filter(({ pk }) => !keys.includes(pk));
  remember(Math.max(last ?? 0, message.last), [...keys, ...arrived.map(({ pk }) => pk)]);
  if (arrived.length) alert_(arrived);
}

async function alert_(arrived) {
  sound();
  const seen = await announcedOf(arrived.map(({ pk }) => pk));
  arrived = arrived.filter(({ pk }) => !seen.has(pk));
  if (arrived.length > MAX_NOTIFICATIONS) {
    alerts.notify(own.dataset.newMany.replace("{}", arrived.length), "desk", own.dataset.inbox);
    return;
  }
  for (const { pk, text, url } of arrived) {
    alerts.notify(own.dataset.newOne.replace("{}", () => text), `desk-${pk}`, url);
  }
}

// Return which of the new requests an inbox announces that somebody sees.
async function announcedOf(pks) {
  if (!(await isInboxSeen())) return new Set();
  await pause(HEARD_AFTER);
  tell({ isShown: pks });
  await pause(ANSWERED_AFTER);
  const seen = new Set([...alerts.announced(pks), ...shown]);
  for (const pk of pks) shown.delete(pk);
  return seen;
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function isInboxSeen() {
  if (isInbox && !document.hidden) return true;
  // Without locks, it is asked.
  if (!navigator.locks) return true;
  return (await navigator.locks.query()).held.some(({ name }) => name === SEEN_INBOX);
}

// Sound here, or where the browser allows it: a page may sound once somebody has clicked on it.
function sound() {
  if (alerts.canSound()) alerts.beep();
  else if (alerts.isTurnedOn("sound")) tell({ sounds: true });
}

function soundAlone() {
  if (!alerts.canSound()) return;
  navigator.locks?.request(SOUNDING, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    alerts.beep();
    await pause(SOUND_FOR);
  });
}

// --- who listens ------------------------------------------------------------------------------------

let stream = null;
// Aborted when the page is left, and when nobody sees the inbox any more.
let leaving = null;
let unseen = null;

function listen(resign = () => {}) {
  const react = (state, since) => {
    showState(state, since);
    tell({ state, since });
    if (state !== "stopped") return;
    stop();
    show(null);
    tell({ mine });
    // Another tab tries. Where the reader has no access any more, each does once.
    resign();
  };
  stream = follow(address, update, react, { isForAll: true });
}

function stop() {
  stream?.end();
  stream = null;
}

// Hold a lock from when it is free until `until` is aborted or the function that `begin` gets is
// called.
function hold(name, mode, until, begin = () => {}) {
  const wait = () =>
    new Promise((resolve) => {
      until.signal.addEventListener("abort", resolve);
      begin(resolve);
    });
  navigator.locks.request(name, { mode, signal: until.signal }, wait).catch(() => {});
}

function share() {
  unseen?.abort();
  if (!navigator.locks) {
    // On an address without TLS each tab listens for itself, of hidden ones one inbox alone: a
    // browser opens six connections to one server.
    if (document.hidden && !isInbox) stop();
    else if (!stream) listen();
    if (document.hidden && isInbox) tell({ listensHidden: true });
  } else if (isInbox && !document.hidden) {
    unseen = new AbortController();
    hold(SEEN_INBOX, "shared", unseen);
  }
}

function enter() {
  leaving = new AbortController();
  channel = new BroadcastChannel(LEADER);
  channel.addEventListener("message", hear);
  if (navigator.locks) hold(LEADER, "exclusive", leaving, listen);
  tell({ asks: true });
  share();
}

// A page that holds a lock or a channel is not kept for the way back.
function leave() {
  leaving.abort();
  unseen?.abort();
  if (!navigator.locks && stream && document.hidden) tell({ left: true });
  stop();
  channel.close();
  channel = null;
}

alerts.start();
enter();
document.addEventListener("visibilitychange", share);
addEventListener("pagehide", leave);
addEventListener("pageshow", (event) => {
  if (event.persisted) enter();
});
