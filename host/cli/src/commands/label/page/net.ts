// Questions to the server.

/** The server does not answer, or cannot do its work now. */
export class Away extends Error {}

/** The server does not take this. */
export class Refused extends Error {}

/** How long an answer may take, in milliseconds. */
const PATIENCE = 15_000;

async function answered<T>(path: string, options: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Away("the program does not answer");
  }
  if (response.ok) {
    try {
      return (await response.json()) as T;
    } catch {
      throw new Away("the answer of the program broke off");
    }
  }
  const why = await response.text().catch(() => "");
  // Another server may listen where ours did, and knows nothing of this page.
  const isOurs = response.status === 400 || response.status === 413;
  throw isOurs ? new Refused(why) : new Away(why || `status ${response.status}`);
}

export function read<T>(path: string): Promise<T> {
  return answered<T>(path, {});
}

export function send<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return answered<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Says something that nobody waits for, even while the page is closed. */
export function tell(path: string, body: unknown): void {
  navigator.sendBeacon(path, new Blob([JSON.stringify(body)], { type: "application/json" }));
}

/** A name that nobody else makes. */
export function unique(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
