// What the server and the page say to each other; `said.rs` and `site.rs` are the other side.

export type Answer = { class: string } | "none-of-these" | "unsure" | "skip" | "undo";

export type Outcome = "open" | "disputed" | "label" | "rejected" | "unsure";

export interface Mine {
  number: number;
  answer: Answer;
}

export interface Picture {
  id: number;
  place: number;
  name: string;
  score: number | null;
  guess: { class: string; probability: number } | null;
  skipped: boolean;
  disputed: Answer[] | null;
  outcome: Outcome;
  mine: Mine | null;
}

export interface Batch {
  key: string;
  run: string;
  annotator: string | null;
  generation: number;
  stage: string;
  strategy: string;
  classes: string[];
  looks: number;
  pictures: number;
  guesses: boolean;
}

export interface Agreement {
  annotators: [string, string];
  pictures: number;
  agreed: number;
  kappa: number | null;
  classes: { class: string; kappa: number | null }[];
}

export interface State {
  generation: number;
  waits: boolean;
  answers: number;
  outcomes: Record<Outcome, number>;
  mine: { answered: number; left: number };
  seconds: number | null;
  agreement: Agreement[];
  trouble: string | null;
  /** The curve so far, and whether to stop, where the server knows. */
  advice?: Advice | null;
}

export interface Advice {
  /** Sentences. */
  says: string[];
  /** Labels bought, the score, and its interval. */
  curve: { labelled: number; value: number; low: number; high: number }[];
}

export interface Dealt {
  generation: number;
  pictures: Picture[];
}

export interface Listed extends Dealt {
  all: number;
}

export interface Who {
  annotator: string;
  seat: string;
}

export interface Sent {
  key: string;
  id: number;
  answer: Answer;
  seconds: number | null;
  guess_shown: boolean;
  third_look: boolean;
  seen: number | null;
}

export interface Said {
  annotator: string;
  answer: Answer;
  third_look: boolean;
}

export type Recorded = { id: number; everybody?: Said[] } & (
  | { said: "new" | "known"; number: number }
  | { said: "conflict"; number: number | null; answer: Answer | null }
  | { said: "foreign" | "unknown-class" }
);

/** An answer in words. */
export function words(answer: Answer | null): string {
  if (answer === null) return "taken back";
  if (typeof answer === "object") return answer.class;
  const said = { "none-of-these": "none of these", unsure: "unsure", skip: "skipped", undo: "taken back" };
  return said[answer];
}
