import http from "node:http";
import https from "node:https";

const EVERY_MILLISECONDS = 100;
const TIMEOUT_MILLISECONDS = 2000;

/** How well an instance was served while it moved from one URL to another; in seconds. */
interface Move {
  /** From the last good answer at the old URL to the first at the new one; negative if both answered for a while. */
  between: number;
  /** The longest time without a good answer at either URL. */
  gap: number;
}

/** Asks two URLs every 100 ms, each time with a new connection. */
export class Availability {
  readonly #old: number[] = [];
  readonly #new: number[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(from: string, to: string) {
    this.#timer = setInterval(() => {
      void isGood(from).then((good) => good && this.#old.push(performance.now()));
      void isGood(to).then((good) => good && this.#new.push(performance.now()));
    }, EVERY_MILLISECONDS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** @throws Error if one of the URLs never answered */
  moved(): Move {
    const [lastOld, firstNew] = [this.#old.at(-1), this.#new[0]];
    if (lastOld === undefined) throw new Error("the old URL never answered");
    if (firstNew === undefined) throw new Error("the new URL never answered");
    const answers = [...this.#old, ...this.#new].sort((left, right) => left - right);
    const gaps = answers.slice(1).map((at, index) => at - (answers[index] ?? at));
    return { between: (firstNew - lastOld) / 1000, gap: Math.max(...gaps) / 1000 };
  }
}

function isGood(url: string): Promise<boolean> {
  const signal = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
  return new Promise((resolve) => {
    const { get } = url.startsWith("https:") ? https : http;
    get(url, { agent: false, signal }, (response) => {
      response.on("error", () => undefined).resume();
      resolve(response.statusCode === 200);
    }).on("error", () => {
      resolve(false);
    });
  });
}
