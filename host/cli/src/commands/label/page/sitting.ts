// One person at work: which picture is shown, what was answered before it, what comes next.

import { kept, part, say, seat } from "./dom.js";
import { read, send, unique } from "./net.js";
import { Outbox } from "./outbox.js";
import { load, Stage } from "./stage.js";
import type { Loaded } from "./stage.js";
import { words } from "./types.js";
import type { Answer, Batch, Dealt, Picture, Recorded, State, Who } from "./types.js";
import type { Entry } from "./outbox.js";

/** Pictures that wait in the page, with their files; fewer than half, and more are asked for. */
const AHEAD = 12;
/** Answers that can be taken back. */
const MOST_PAST = 200;

interface Past {
  picture: Picture;
  key: string;
  answer: Answer;
}

export type Queue = "open" | "disputed";

/** What the rest of the page does when something happens here. */
export interface Watcher {
  /** Another picture is shown, or none. */
  turned(picture: Picture | null): void;
  /** Something about saving changed. */
  saving(): void;
  conflict(entry: Entry, before: Answer | null): void;
  /** Something was not recorded, or something else is worth knowing. */
  notice(text: string): void;
}

export class Sitting {
  readonly seat = seat(unique());
  readonly outbox: Outbox;
  readonly stage = new Stage();
  current: Picture | null = null;
  queue: Queue = "open";
  guessOn = false;
  state: State | null = null;
  private ahead: Picture[] = [];
  private files = new Map<number, Loaded>();
  private past: Past[] = [];
  private shownAt = performance.now();
  private guessSeen = false;
  /** More pictures on their way. */
  private filling: Promise<boolean> | null = null;
  /** Whether the server had nothing more to deal. */
  private dry = false;
  private keyAt: number | null = null;

  constructor(
    public batch: Batch,
    public annotator: string,
    private readonly watcher: Watcher,
  ) {
    const { key } = batch;
    const recorded = (entry: Entry, recorded: Recorded): void => this.recorded(entry, recorded);
    const refused = (entry: Entry, why: string): void => this.roll(entry, why);
    this.outbox = new Outbox(`querist:${key}:answer:`, this.seat, () => watcher.saving(), recorded, refused);
  }

  get who(): Who {
    return { annotator: this.annotator, seat: this.seat };
  }

  /** Begins, or begins anew with another queue, batch or person. */
  async begin(): Promise<void> {
    this.ahead = [];
    this.files.clear();
    this.current = null;
    this.dry = false;
    // What an earlier page could not save any more.
    this.outbox.hurry();
    await this.fill();
    await this.turn();
  }

  /** Looks whether others did something. */
  async look(): Promise<void> {
    const state = await send<State>("state", { who: this.who });
    this.state = state;
    if (state.generation !== this.batch.generation) {
      this.batch = await read<Batch>("batch");
      this.past = [];
      await this.begin();
    } else if (this.current === null && this.hasMore(state)) {
      this.dry = false;
      await this.fill();
      await this.turn();
    }
    this.watcher.saving();
  }

  private hasMore(state: State): boolean {
    return this.queue === "open" ? state.mine.left > 0 : state.outcomes.disputed > 0;
  }

  setGuess(on: boolean): void {
    this.guessOn = on;
    this.guessSeen ||= on && this.current?.guess != null;
  }

  /** Answers the picture that is shown, and shows the next one at once. */
  answer(answer: Answer): void {
    const picture = this.current;
    if (picture === null) return;
    this.keyAt = performance.now();
    const key = this.record(picture, answer, (this.keyAt - this.shownAt) / 1000, this.guessSeen);
    this.past.push({ picture, key, answer });
    if (this.past.length > MOST_PAST) this.past.shift();
    say(`${picture.name}: ${words(answer)}`);
    void this.turn();
  }

  /** Records an answer to any picture. */
  record(picture: Picture, answer: Answer, seconds: number | null, guess_shown: boolean): string {
    const third_look = picture.disputed !== null && answer !== "skip";
    const { id, name } = picture;
    return this.outbox.add({ annotator: this.annotator, id, name, answer, seconds, guess_shown, third_look });
  }

  /** Takes the last answer back and shows its picture again. */
  undo(): void {
    const last = this.past.pop();
    if (last === undefined) {
      this.watcher.notice("There is nothing to take back.");
      return;
    }
    const { picture, key, answer } = last;
    // Who skips says nothing that could be taken back.
    if (!this.outbox.drop(key) && answer !== "skip") this.record({ ...picture, disputed: null }, "undo", null, false);
    say(`taken back: ${picture.name}`);
    this.keyAt = performance.now();
    this.open({ ...picture, mine: null });
  }

  /** Shows a picture, and after it those that were next. */
  open(picture: Picture): void {
    if (this.current !== null && this.current.id !== picture.id) this.ahead.unshift(this.current);
    this.ahead = this.ahead.filter((other) => other.id !== picture.id);
    this.ahead.unshift(picture);
    void this.turn();
  }

  private async turn(): Promise<void> {
    const picture = this.ahead.shift() ?? null;
    this.current = picture;
    // The people's time begins anew when the picture is seen, which is after this.
    this.shownAt = performance.now();
    this.guessSeen = this.guessOn && picture?.guess != null;
    if (picture === null) {
      this.stage.clear();
      this.watcher.turned(null);
      // Nothing waits here, but the server may have more.
      if (!this.dry && (await this.fill())) await this.turn();
      return;
    }
    this.learn(picture);
    const shown = this.stage.show(picture, this.file(picture));
    this.watcher.turned(picture);
    for (const next of this.ahead.slice(0, AHEAD)) this.file(next);
    const keep = new Set([picture, ...this.ahead].map((one) => one.id));
    for (const id of this.files.keys()) if (!keep.has(id)) this.files.delete(id);
    const seen = await shown;
    if (this.current === picture) {
      this.shownAt = seen;
      if (this.keyAt !== null) performance.measure("next picture", { start: this.keyAt, end: seen });
      else if (performance.getEntriesByName("first picture").length === 0) {
        performance.measure("first picture", { start: 0, end: seen });
      }
      this.keyAt = null;
    }
    if (this.ahead.length < AHEAD / 2 && !this.dry) void this.fill();
  }

  private file(picture: Picture): Loaded {
    const known = this.files.get(picture.id);
    if (known !== undefined && !known.failed) return known;
    const loaded = load(picture);
    this.files.set(picture.id, loaded);
    return loaded;
  }

  /** Learns which answer the server has, but not while a later one is on its way. */
  learn(picture: Picture): void {
    if (this.outbox.pictures.includes(picture.id)) return;
    if (picture.mine !== null) this.outbox.learn(this.annotator, picture.id, picture.mine.number);
  }

  /** Has more pictures dealt; whether some came. */
  private fill(): Promise<boolean> {
    this.filling ??= this.deal().finally(() => {
      this.filling = null;
    });
    return this.filling;
  }

  private async deal(): Promise<boolean> {
    try {
      const { queue } = this;
      const here = [...(this.current === null ? [] : [this.current]), ...this.ahead].map((picture) => picture.id);
      // Answers that are on their way are no reason to ask for the same pictures again.
      const held = [...new Set([...here, ...this.outbox.pictures])].slice(0, 500);
      const dealt = await send<Dealt>("deal", { who: this.who, queue, want: AHEAD, held });
      if (queue !== this.queue) return false;
      const known = new Set(held);
      const fresh = dealt.pictures.filter((picture) => !known.has(picture.id) && !this.has(picture.id));
      this.dry = dealt.pictures.length === 0 && held.length === here.length;
      this.ahead.push(...fresh);
      for (const picture of fresh) this.file(picture);
      return fresh.length > 0;
    } catch {
      // The banner says that the server is away; looks at its state go on.
      return false;
    }
  }

  private has(id: number): boolean {
    return this.current?.id === id || this.ahead.some((picture) => picture.id === id);
  }

  private recorded(entry: Entry, recorded: Recorded): void {
    if (recorded.said === "conflict") {
      this.watcher.conflict(entry, recorded.answer);
    } else if (recorded.said === "foreign") {
      this.roll(entry, "this picture is not asked for any more");
    } else if (recorded.said === "unknown-class") {
      this.roll(entry, "there is no such class any more");
    } else if (recorded.everybody !== undefined && entry.third_look) {
      const others = recorded.everybody.filter((one) => one.annotator !== entry.annotator);
      const said = others.map((one) => `${one.annotator} said ${words(one.answer)}`).join(", ");
      this.watcher.notice(`${entry.name}: you decided on ${words(entry.answer)}; ${said}.`);
    }
  }

  /** What was not recorded is shown as what it is. */
  private roll(entry: Entry, why: string): void {
    this.past = this.past.filter((one) => one.key !== entry.key);
    this.watcher.notice(`Not recorded: ${entry.name} as ${words(entry.answer)}: ${why}.`);
  }
}

/** Who answers in this browser. */
export const names = {
  get(batch: Batch): string | null {
    return new URLSearchParams(location.search).get("annotator") ?? batch.annotator ?? kept.get("querist:annotator");
  },
  set(name: string): void {
    kept.set("querist:annotator", name);
  },
};

/** Where answers are typed that are no commands. */
export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement && target.type !== "range" && target !== part("search");
}
