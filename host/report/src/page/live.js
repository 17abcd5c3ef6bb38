// Asks the server whether the report has changed, and takes the new one without losing what the reader did.
"use strict";
(() => {
  const EVERY = 2000;
  const place = document.getElementById("report");
  const connection = document.getElementById("connection");
  const { keyOf, memory, start } = globalThis.report;
  const focusable = "a[href], button, input, select, summary, [tabindex]";

  const inLocalTime = () => {
    const made = document.getElementById("made");
    const when = new Date(made.textContent);
    if (!Number.isNaN(when.getTime())) made.textContent = when.toLocaleString();
  };
  const say = (text, isTrouble) => {
    if (connection.textContent !== text) connection.textContent = text;
    connection.classList.toggle("trouble", isTrouble);
  };

  /** What has the focus, by the part of the page that it is in, and its place there. */
  const focused = () => {
    const part = document.activeElement?.closest("[data-key], .scroll, section");
    if (!part || !place.contains(part)) return null;
    return { key: keyOf(part), at: [part, ...part.querySelectorAll(focusable)].indexOf(document.activeElement) };
  };
  /** The first part in sight, and how far below the top of the window it begins. */
  const sighted = () => {
    const parts = [...place.querySelectorAll("[data-key], .scroll")];
    const part = parts.find((one) => one.offsetParent !== null && one.getBoundingClientRect().bottom > 0);
    return part ? { key: keyOf(part), top: part.getBoundingClientRect().top } : null;
  };
  const find = (key) => [...place.querySelectorAll("[data-key], .scroll, section")].find((one) => keyOf(one) === key);

  const take = (text) => {
    const next = new DOMParser().parseFromString(text, "text/html");
    const [focus, sight, top] = [focused(), sighted(), scrollY];
    const open = new Set([...place.querySelectorAll("details[open]")].map(keyOf));
    const aside = new Map([...place.querySelectorAll(".scroll")].map((one) => [keyOf(one), one.scrollLeft]));
    const fresh = next.getElementById("report");
    place.replaceChildren(...fresh.childNodes);
    place.dataset.digest = fresh.dataset.digest;
    document.getElementById("figures").textContent = next.getElementById("figures").textContent;
    place.querySelectorAll("details").forEach((one) => { one.open = open.has(keyOf(one)); });
    start();
    inLocalTime();
    place.querySelectorAll(".scroll").forEach((one) => { one.scrollLeft = aside.get(keyOf(one)) ?? 0; });
    const now = sight && find(sight.key);
    scrollTo(scrollX, now && top > 0 ? scrollY + now.getBoundingClientRect().top - sight.top : top);
    const part = focus && find(focus.key);
    if (part) [part, ...part.querySelectorAll(focusable)][focus.at]?.focus({ preventScroll: true });
  };

  const get = async (address) => {
    const answer = await fetch(address, { cache: "no-store" });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    return answer;
  };
  const poll = async () => {
    try {
      const { digest, trouble } = await (await get("state")).json();
      if (digest !== place.dataset.digest) {
        memory.remember();
        take(await (await get(location.pathname)).text());
      }
      say(trouble ?? "Live: changes are shown as they happen.", Boolean(trouble));
    } catch (error) {
      say(`The server cannot be reached (${error.message}). What is shown stays as it was.`, true);
    }
    setTimeout(poll, EVERY);
  };
  inLocalTime();
  poll();
})();
