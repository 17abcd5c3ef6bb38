// Which key says which class.

/** Keys that do something else, whatever the classes: grid, examples, model, none, unsure, fit. */
const TAKEN = "gemnuf";
const KEYS = "1234567890" + [..."abcdefghijklmnopqrstuvwxyz"].filter((key) => !TAKEN.includes(key)).join("");
/** Classes that were used last and have digits, where there are more classes than keys. */
const RECENT = 10;

export class Keys {
  /** Whether there are more classes than keys: then letters search. */
  readonly isMany: boolean;
  private recent: string[];

  constructor(
    readonly classes: string[],
    recent: string[],
  ) {
    this.isMany = classes.length > KEYS.length;
    this.recent = recent.filter((name) => classes.includes(name)).slice(0, RECENT);
  }

  /** The classes in the order in which they are offered, each with its key. */
  offered(search: string): { name: string; key: string | null }[] {
    if (!this.isMany) return this.classes.map((name, at) => ({ name, key: KEYS[at] ?? null }));
    const keyOf = (name: string): string | null => {
      const at = this.recent.indexOf(name);
      return at < 0 ? null : (KEYS[at] ?? null);
    };
    const text = plain(search);
    if (text === "") {
      const rest = this.classes.filter((name) => !this.recent.includes(name));
      return [...this.recent, ...rest].map((name) => ({ name, key: keyOf(name) }));
    }
    // Those that begin with it first, then those with a word that does, then those that hold it.
    const rank = (name: string): number => {
      const known = plain(name);
      if (known === text) return 0;
      if (known.startsWith(text)) return 1;
      if (known.includes(` ${text}`)) return 2;
      return known.includes(text) ? 3 : 4;
    };
    const ranked = this.classes.map((name) => ({ name, key: keyOf(name), rank: rank(name) }));
    return ranked.filter((one) => one.rank < 4).sort((a, b) => a.rank - b.rank);
  }

  /** The class of a key. */
  class(key: string): string | null {
    const at = KEYS.indexOf(key.toLowerCase());
    if (at < 0 || key.length !== 1) return null;
    return (this.isMany ? this.recent[at] : this.classes[at]) ?? null;
  }

  /** Remembers that a class was used; gives those that are remembered. */
  use(name: string): string[] {
    // A class keeps its key for as long as it can: fingers learn it.
    if (!this.recent.includes(name)) this.recent = [...this.recent.slice(-RECENT + 1), name];
    return this.recent;
  }
}

/** Without case, accents and the signs that names are made of. */
function plain(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[_\-./]+/g, " ").trim();
}
