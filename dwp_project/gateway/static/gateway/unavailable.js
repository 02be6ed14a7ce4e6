// The answer to a form that could not be served: a reload leads back and does not send it again.
history.replaceState(null, "", document.getElementById("back").href);
