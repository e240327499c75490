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

// times are told in the browser's zone from the next page on
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `__Host-zone=${zone}; Path=/; Secure; SameSite=Lax; Max-Age=31536000`;
