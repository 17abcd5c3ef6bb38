// The classes to choose from, as buttons with their keys, and a search where there are many.

import { kept, make, part } from "./dom.js";
import { Keys } from "./keys.js";

/** Buttons of classes at most: more are found by searching. */
const MOST_BUTTONS = 200;

export class Classes {
  private readonly list = part("classes");
  readonly search = part<HTMLInputElement>("search");
  private readonly keys: Keys;
  private readonly place: string;
  private chosen: string | null = null;
  private guess: string | null = null;

  constructor(
    classes: string[],
    key: string,
    private readonly choose: (name: string) => void,
  ) {
    this.place = `querist:${key}:recent`;
    this.keys = new Keys(classes, recent(this.place));
    this.search.hidden = !this.keys.isMany;
    this.search.value = "";
    this.search.oninput = () => this.draw();
    this.search.onkeydown = (event) => this.searched(event);
    part("none").querySelector("kbd")?.replaceChildren(this.keys.isMany ? "." : "N");
    part("unsure").querySelector("kbd")?.replaceChildren(this.keys.isMany ? "?" : "U");
    this.draw();
  }

  get isMany(): boolean {
    return this.keys.isMany;
  }

  /** The class of a key. */
  class(key: string): string | null {
    return this.keys.class(key);
  }

  /** Marks what a person said before, and what the model takes the picture for. */
  mark(chosen: string | null, guess: string | null): void {
    [this.chosen, this.guess] = [chosen, guess];
    for (const button of this.list.querySelectorAll("button")) this.dress(button);
  }

  /** A class was used. */
  used(name: string): void {
    if (!this.keys.isMany) return;
    kept.set(this.place, JSON.stringify(this.keys.use(name)));
    this.search.value = "";
    this.draw();
  }

  private dress(button: HTMLButtonElement): void {
    const name = button.dataset["name"] ?? "";
    button.setAttribute("aria-pressed", String(name === this.chosen));
    button.classList.toggle("guessed", name === this.guess);
  }

  private draw(): void {
    const offered = this.keys.offered(this.search.value);
    const buttons = offered.slice(0, MOST_BUTTONS).map(({ name, key }) => {
      const button = make("button", "class", make("kbd", "", key?.toUpperCase() ?? ""), make("span", "", name));
      button.dataset["name"] = name;
      if (key !== null) button.setAttribute("aria-keyshortcuts", key);
      button.onclick = () => this.choose(name);
      this.dress(button);
      return button;
    });
    const rest = offered.length - buttons.length;
    const more = rest > 0 ? [make("p", "soft", `and ${rest} more: search`)] : [];
    const none = offered.length === 0 ? [make("p", "soft", "no class has this in its name")] : [];
    this.list.replaceChildren(...buttons, ...more, ...none);
    this.list.classList.toggle("long", offered.length > 12);
    this.list.scrollTop = 0;
  }

  private searched(event: KeyboardEvent): void {
    if (event.key === "Enter") {
      event.preventDefault();
      const [first] = this.search.value === "" ? [] : this.keys.offered(this.search.value);
      if (first !== undefined) this.choose(first.name);
    } else if (event.key === "Escape") {
      this.search.value = "";
      this.draw();
      this.search.blur();
    }
  }
}

function recent(place: string): string[] {
  try {
    const found: unknown = JSON.parse(kept.get(place) ?? "[]");
    return Array.isArray(found) ? found.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}
