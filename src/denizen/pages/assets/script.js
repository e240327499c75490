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
  // a search and a file to be saved may be asked for again
  if (form.method === "get" || form.className === "again") continue;
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

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue; // over plain HTTP
  const word = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = word; }, 2000);
  });
}

// ticks: all at once, and how many there are
const tick = () => {
  const boxes = [...document.querySelectorAll("tbody [name=id]")];
  const ticked = boxes.filter((box) => box.checked).length;
  for (const shown of document.querySelectorAll("[data-selected]")) {
    shown.hidden = false;
    shown.querySelector("b").textContent = ticked;
  }
  for (const label of document.querySelectorAll("[data-all]")) {
    const all = label.querySelector("input");
    label.hidden = boxes.length === 0;
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }
};
document.addEventListener("change", (event) => {
  if (event.target.closest("[data-all]")) {
    for (const box of document.querySelectorAll("tbody [name=id]")) box.checked = event.target.checked;
  }
  if (event.target.closest(".list")) tick();
});
tick();

// the way back to the list leads to it as it was left, in this tab
const keepList = () => sessionStorage.setItem("list", location.search);
if (document.querySelector("[data-live]")) keepList();
for (const link of document.querySelectorAll('.back a[href="/console/users"]')) {
  link.href += sessionStorage.getItem("list") ?? "";
}

// search as one types: the same form, asked for in between
for (const form of document.querySelectorAll("[data-live]")) {
  let timer, asked;
  const said = document.createElement("p");
  said.className = "hidden";
  said.setAttribute("role", "status");
  form.after(said);
  const search = async () => {
    asked?.abort();
    const mine = asked = new AbortController();
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const address = `${form.getAttribute("action")}?${query}`;
    const old = document.getElementById(form.dataset.live);
    const dim = setTimeout(() => old.classList.add("stale"), 400);
    try {
      const answer = await fetch(address, { signal: mine.signal, redirect: "manual" });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      old.replaceWith(document.adoptNode(page.getElementById(form.dataset.live)));
      history.replaceState(null, "", address);
      keepList();
      said.textContent = (document.querySelector("[data-count]") ?? document.querySelector(".empty p")).textContent;
      tick();
    } catch (error) {
      if (!mine.signal.aborted) form.submit(); // whatever it is, the page can say it
    } finally {
      clearTimeout(dim);
    }
  };
  const soon = (event) => {
    clearTimeout(timer);
    timer = setTimeout(search, event.target.matches("select") ? 0 : 250);
  };
  form.addEventListener("input", soon);
  form.addEventListener("submit", () => { clearTimeout(timer); asked?.abort(); });
}

// the key to the search field; who speaks to the machine, or types by accident, switches it off
const field = document.querySelector("[data-live] [type=search]");
const off = "denizen-keys-off";
for (const hint of document.querySelectorAll("[data-keys]")) {
  const button = hint.querySelector("button");
  const show = () => {
    const isOff = localStorage.getItem(off) !== null;
    button.textContent = isOff ? button.dataset.on : button.dataset.off;
    if (isOff) field.removeAttribute("aria-keyshortcuts");
    else field.setAttribute("aria-keyshortcuts", "/");
  };
  hint.hidden = false;
  show();
  button.addEventListener("click", () => {
    if (localStorage.getItem(off) === null) localStorage.setItem(off, "1");
    else localStorage.removeItem(off);
    show();
  });
}
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
  if (!field || localStorage.getItem(off) !== null) return;
  event.preventDefault();
  field.focus();
});
