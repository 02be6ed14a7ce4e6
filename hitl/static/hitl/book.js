/* Verifies a chain: posts the form, reads the progress line by line, and shows the result. */
"use strict";

for (const form of document.querySelectorAll(".book-verify")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    verify(form);
  });
}

async function verify(form) {
  const button = form.querySelector("button");
  const bar = form.querySelector("progress");
  const output = form.querySelector("output");
  if (form.dataset.state === "running") {
    return;
  }
  form.dataset.state = "running";
  button.setAttribute("aria-disabled", "true");
  bar.hidden = false;
  bar.removeAttribute("value");
  output.textContent = form.dataset.running;
  let last;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!answer.ok) {
      const envelope = await answer.json().catch(() => ({}));
      throw new Error(envelope.message || form.dataset.failed);
    }
    for await (const line of lines(answer.body)) {
      const progress = JSON.parse(line);
      if (progress.of) {
        bar.max = progress.of;
        bar.value = progress.done;
      }
      if ("result" in progress) {
        last = progress;
      }
    }
    show(form, output, last);
  } catch (error) {
    form.dataset.state = "failed";
    output.textContent = error instanceof TypeError ? form.dataset.failed : error.message;
  }
  bar.hidden = true;
  button.removeAttribute("aria-disabled");
}

function show(form, output, last) {
  if (!last || !last.result) {
    form.dataset.state = "failed";
    output.textContent = last ? form.dataset.stopped : form.dataset.failed;
    return;
  }
  const result = last.result;
  form.dataset.state = !result.holds ? "broken" : result.verdict === "whole" ? "holds" : result.verdict;
  const sentences = result.holds ? [form.dataset.holds, `${form.dataset.count}: ${result.records}.`] : [form.dataset.broken, result.why];
  if (result.vouched) {
    sentences.push(`${form.dataset.vouched} ${result.vouched}.`);
  }
  if (result.differing) {
    sentences.push(`${form.dataset.differs}: ${result.differing}.`, ...result.differences);
  }
  output.textContent = [...sentences, ...(result.notes || [])].join(" ");
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    rest += value;
    const whole = rest.split("\n");
    rest = whole.pop();
    yield* whole.filter((line) => line);
  }
}
