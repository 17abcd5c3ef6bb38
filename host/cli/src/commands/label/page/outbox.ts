// Answers on their way to the disk: kept in the browser until the server says that they are there, sent again under the
// same key for as long as it does not.

import { kept } from "./dom.js";
import { Refused, send, unique } from "./net.js";
import type { Answer, Recorded, Sent, Who } from "./types.js";

export interface Entry {
  key: string;
  annotator: string;
  id: number;
  name: string;
  answer: Answer;
  seconds: number | null;
  guess_shown: boolean;
  third_look: boolean;
  /** Orders entries. */
  at: number;
}

/** Answers that are sent at once. */
const MOST = 50;
/** Milliseconds between two tries, at first and at most. */
const [SOON, LATE] = [250, 4000];

export class Outbox {
  private entries: Entry[] = [];
  private inFlight = new Set<string>();
  private sending = false;
  private wait = SOON;
  private timer = 0;
  private at = Date.now();
  /** Number of each person's answer of a picture that counts, as far as it is known here. */
  private numbers = new Map<string, number>();
  /** The largest number of an answer that is known here: a state that counts fewer is one of before. */
  latest = -1;
  /** Why the last try failed. */
  trouble: string | null = null;

  constructor(
    /** What all names in the browser begin with. */
    private readonly prefix: string,
    private readonly seat: string,
    private readonly changed: () => void,
    private readonly recorded: (entry: Entry, recorded: Recorded) => void,
    private readonly refused: (entry: Entry, why: string) => void,
  ) {
    for (const name of kept.names()) {
      if (!name.startsWith(prefix)) continue;
      try {
        this.entries.push(JSON.parse(kept.get(name) ?? "") as Entry);
      } catch {
        kept.remove(name);
      }
    }
    this.entries.sort((a, b) => a.at - b.at);
  }

  get waiting(): number {
    return this.entries.length;
  }

  /** Pictures with answers that the server may not know. */
  get pictures(): number[] {
    return [...new Set(this.entries.map((entry) => entry.id))];
  }

  /** Learns which answer the server has. */
  learn(annotator: string, id: number, number: number | null): void {
    const place = `${id} ${annotator}`;
    if (number === null) this.numbers.delete(place);
    else this.numbers.set(place, number);
    this.latest = Math.max(this.latest, number ?? -1);
  }

  add(entry: Omit<Entry, "key" | "at">): string {
    this.at = Math.max(this.at + 1, Date.now());
    const whole = { ...entry, key: unique(), at: this.at };
    this.entries.push(whole);
    kept.set(this.prefix + whole.key, JSON.stringify(whole));
    this.changed();
    void this.flush();
    return whole.key;
  }

  /** Takes an answer back that was not sent yet; whether it was. */
  drop(key: string): boolean {
    if (this.inFlight.has(key)) return false;
    const at = this.entries.findIndex((entry) => entry.key === key);
    if (at < 0) return false;
    this.remove(key);
    return true;
  }

  /** Tries at once, whatever the last try came to. */
  hurry(): void {
    this.wait = SOON;
    void this.flush();
  }

  private remove(key: string): void {
    this.entries = this.entries.filter((entry) => entry.key !== key);
    kept.remove(this.prefix + key);
    this.changed();
  }

  /** The first entries of one person, each of another picture: what follows needs to know what became of them. */
  private next(): Entry[] {
    const [first] = this.entries;
    const ids = new Set<number>();
    const next: Entry[] = [];
    for (const entry of this.entries) {
      if (next.length === MOST || entry.annotator !== first?.annotator || ids.has(entry.id)) break;
      ids.add(entry.id);
      next.push(entry);
    }
    return next;
  }

  private async flush(): Promise<void> {
    if (this.sending) return;
    this.sending = true;
    clearTimeout(this.timer);
    try {
      while (this.entries.length > 0) await this.sendSome(this.next());
      this.trouble = null;
      this.wait = SOON;
    } catch (error) {
      this.trouble = error instanceof Error ? error.message : String(error);
      this.timer = setTimeout(() => void this.flush(), this.wait);
      this.wait = Math.min(2 * this.wait, LATE);
    } finally {
      this.sending = false;
      this.inFlight.clear();
      this.changed();
    }
  }

  private async sendSome(some: Entry[]): Promise<void> {
    const [first] = some;
    if (first === undefined) return;
    const who: Who = { annotator: first.annotator, seat: this.seat };
    for (const entry of some) this.inFlight.add(entry.key);
    try {
      const answers = some.map((entry) => this.sent(entry));
      const { results } = await send<{ results: Recorded[] }>("answers", { who, answers });
      if (results.length !== some.length) throw new Error("the program answered something else");
      some.forEach((entry, at) => this.settle(entry, results[at] as Recorded));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // One of them is not taken: which one is seen when each goes alone.
      if (some.length === 1) {
        this.remove(first.key);
        this.refused(first, error.message);
      } else {
        for (const entry of some) await this.sendSome([entry]);
      }
    } finally {
      for (const entry of some) this.inFlight.delete(entry.key);
    }
  }

  private sent(entry: Entry): Sent {
    const { key, id, answer, seconds, guess_shown, third_look } = entry;
    const seen = this.numbers.get(`${id} ${entry.annotator}`) ?? null;
    return { key, id, answer, seconds, guess_shown, third_look, seen };
  }

  private settle(entry: Entry, recorded: Recorded): void {
    if (recorded.said === "new" || recorded.said === "known") {
      if (entry.answer === "undo") this.learn(entry.annotator, entry.id, null);
      else if (entry.answer !== "skip") this.learn(entry.annotator, entry.id, recorded.number);
    } else if (recorded.said === "conflict") {
      this.learn(entry.annotator, entry.id, recorded.number);
    }
    this.remove(entry.key);
    this.recorded(entry, recorded);
  }
}
