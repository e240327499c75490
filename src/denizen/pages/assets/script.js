// Comfort alone: every page does its work without it.
"use strict";

for (const found of document.querySelectorAll("[data-focus]")) found.focus();

for (const button of document.querySelectorAll("[data-show]")) {
  const input = document.getElementById(button.dataset.show);
  const [word] = button.childNodes;
  const [show, hide] = [word.data, button.dataset.hideWord];
  button.hidden = false;
  button.addEventListener("click", () => {
    const visible = input.type === "password";
    input.type = visible ? "text" : "password";
    word.data = visible ? hide : show;
  });
  // what is sent is never left readable for the next one at this machine
  input.form.addEventListener("submit", () => { input.type = "password"; });
}

for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    for (const button of form.querySelectorAll("button:not([type])")) button.setAttribute("aria-disabled", "true");
  });
}
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return; // back again from the browser's memory
  for (const form of document.forms) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-disabled]")) button.removeAttribute("aria-disabled");
  }
});

for (const button of document.querySelectorAll("[data-copy]")) {
  const word = button.textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = word; }, 2000);
  });
}

// what is under way is looked at every second; each tenth of it is said to who can't see it
const running = document.querySelector("[data-poll]");
if (running) {
  const spoken = document.querySelector("[data-spoken]");
  let tenth = 0;
  const look = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-poll]");
      if (!found) { location.reload(); return; }
      const bar = found.querySelector("progress");
      running.replaceChildren(...found.childNodes);
      const now = Math.floor(10 * bar.value / bar.max);
      if (bar.hasAttribute("value") && now > tenth) { tenth = now; spoken.textContent = `${now * 10} %`; }
    } catch { /* the network is away: the next look may find it */ }
    setTimeout(look, 1000);
  };
  setTimeout(look, 1000);
}

// times are told in the browser's zone from the next page on
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `__Host-zone=${zone}; Path=/; Secure; SameSite=Lax; Max-Age=31536000`;
