// Times in the reader's own zone: puts each `<time datetime>` of the page into it, in the form that
// the server wrote, with UTC as its title. What is added or changed later follows.

// A time alone, or a day and a time, with or without seconds.
const FORM = /^(\d{4}-\d\d-\d\d )?\d\d:\d\d(:\d\d)?$/;
// Other scripts write their texts once a second.
const DRAWN = ".countdown > time, .age > time";

const two = (number) => String(number).padStart(2, "0");

function day(moment) {
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}

function clock(moment, hasSeconds) {
  const time = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
  return hasSeconds ? `${time}:${two(moment.getSeconds())}` : time;
}

function utc(moment) {
  return `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

// How far the reader's zone was from UTC then: with it, both hours of a change of clocks differ.
function offset(moment) {
  const minutes = -moment.getTimezoneOffset();
  const far = Math.floor(Math.abs(minutes));
  return `${minutes < 0 ? "−" : "+"}${two(Math.floor(far / 60))}:${two(far % 60)}`;
}

// Show a time as it was sent, or in the reader's zone again: without a mouse there is no title.
function toggle(event) {
  const time = event.target.closest?.("time.sent[data-sent]");
  if (!time || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  const { sent, converted } = time.dataset;
  time.textContent = time.textContent === converted ? sent : converted;
}

function localize(element) {
  const moment = new Date(element.dateTime);
  if (!element.dateTime || Number.isNaN(moment.getTime())) return;
  if (element.matches(DRAWN)) {
    element.title = `${day(moment)} ${clock(moment, true)} · ${utc(moment)}`;
    return;
  }
  // What an agent wrote stays readable as it was sent: with its own zone, and what is below a second.
  if (element.classList.contains("sent")) {
    const sent = element.dataset.sent ?? element.textContent;
    const converted = `${day(moment)} ${clock(moment, true)}${sent.match(/\.\d+/)?.[0] ?? ""} ${offset(moment)}`;
    element.dataset.sent = sent;
    element.dataset.converted = converted;
    element.title = `${sent} · ${utc(moment)}`;
    element.textContent = converted;
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    return;
  }
  const form = FORM.exec(element.textContent.trim());
  if (!form) return;
  element.title = utc(moment);
  element.textContent = `${form[1] ? `${day(moment)} ` : ""}${clock(moment, Boolean(form[2]))}`;
}

function within(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return;
  if (node.matches("time[datetime]")) localize(node);
  for (const element of node.querySelectorAll("time[datetime]")) localize(element);
  for (const element of node.querySelectorAll("[data-zone]")) name(element);
}

// The zone's name, and how far it is from UTC now.
function name(element) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (element.matches("input")) {
    element.value = zone;
    return;
  }
  const minutes = -new Date().getTimezoneOffset();
  const far = Math.abs(minutes);
  const offset = `UTC${minutes < 0 ? "−" : "+"}${Math.floor(far / 60)}${far % 60 ? `:${two(far % 60)}` : ""}`;
  element.textContent = zone === "UTC" ? zone : `${zone} (${offset})`;
}

within(document.body);
for (const type of ["click", "keydown"]) document.addEventListener(type, toggle);
new MutationObserver((changes) => {
  for (const change of changes) {
    if (change.type === "attributes") localize(change.target);
    for (const node of change.addedNodes) within(node);
  }
}).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["datetime"] });
