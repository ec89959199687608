import { readFileSync, writeFileSync } from "node:fs";

import { expect } from "vitest";

import { withTable } from "../../docs/generate.ts";
import type { Run, TestCloud } from "../e2e/harness.ts";
import { probe } from "../e2e/probe.ts";

// For tests that disturb a stack again and again, and measure what it takes to complete the work.
//
//   CONVEX_DROPLET_CRASHES_TABLE=write   writes the measured rows into the table of docs/crashes.md

const DOCUMENT = "docs/crashes.md";
const HEADING = "## What happened";
/** A disturbed command needs fewer runs than this. */
const MANY = 150;

/** How many of each kind the account has, with a deployed stack that has backups. One project is the account's own. */
export const DEPLOYED = { droplets: 1, volumes: 1, firewalls: 2, ssh_keys: 1, projects: 2, keys: 2, domains: 0 };
export const EMPTY = { droplets: 0, volumes: 0, firewalls: 0, ssh_keys: 0, projects: 1, keys: 0, domains: 0 };

const ROUTES: Record<keyof typeof DEPLOYED, string> = {
  droplets: "/v2/droplets",
  volumes: "/v2/volumes",
  firewalls: "/v2/firewalls",
  ssh_keys: "/v2/account/keys",
  projects: "/v2/projects",
  keys: "/v2/spaces/keys",
  domains: "/v2/domains",
};

/** A stack that a test disturbs. */
export class DisturbedStack {
  readonly #cloud: TestCloud;
  readonly #name: string;
  readonly #rows: string[][] = [];
  /** What a person had to do since the last row. */
  readonly #byPerson: string[] = [];

  constructor(cloud: TestCloud, name: string) {
    this.#cloud = cloud;
    this.#name = name;
  }

  /** Notes what a person has to do. */
  note(byPerson: string): void {
    this.#byPerson.push(byPerson);
  }

  /**
   * Measures a row of the table.
   *
   * @param disturb  returns how often the command ran until the work was complete
   */
  async row(what: string, how: string, disturb: () => Promise<number>): Promise<void> {
    const started = performance.now();
    const runs = await disturb();
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const row = [what, how, String(runs), counted(this.#byPerson.splice(0)), seconds];
    console.log(row.join(" | "));
    this.#rows.push(row);
  }

  /** At the end of a test: the measured rows take the place of those about the same. */
  writeTable(): void {
    if (process.env["CONVEX_DROPLET_CRASHES_TABLE"] !== "write") return;
    const text = readFileSync(DOCUMENT, "utf8");
    const rows = tableIn(text);
    for (const row of this.#rows) {
      const at = rows.findIndex(([what, how]) => what === row[0] && how === row[1]);
      rows.splice(at === -1 ? rows.length : at, 1, row);
    }
    writeFileSync(DOCUMENT, withTable(text, HEADING, rows));
  }

  /**
   * Repeats a command until it ends by itself, and does what the runs that fail tell a person to do.
   *
   * @param run  one run with these words added; undefined if the test has killed it
   * @param isDisturbed  whether the next run may fail without telling what to do
   * @returns how often it ran
   */
  async completed(
    run: (words: string[]) => Promise<Run | undefined>,
    isDisturbed: () => boolean | Promise<boolean> = () => false,
  ): Promise<number> {
    let more: string[] = [];
    for (let runs = 1; runs < MANY; runs += 1) {
      const mayFail = await isDisturbed();
      const ended = await run(more);
      if (ended?.exitCode === 0) return runs;
      const advised = ended && (await this.#followAdvice(ended));
      if (ended && advised === undefined && !mayFail) throw new Error(ended.all);
      more = advised ?? [];
    }
    throw new Error(`it had not ended after ${MANY} runs`);
  }

  /** Does what a run that failed tells a person to do. Returns the words that the next run also has; undefined if it tells nothing. */
  async #followAdvice({ all }: Run): Promise<string[] | undefined> {
    const [, volume] = /is empty: delete it with doctl compute volume delete ([\da-f-]{36})/.exec(all) ?? [];
    if (volume !== undefined) {
      this.note("the empty volume was deleted");
      await this.#delete(`/v2/volumes/${volume}`);
      return [];
    }
    const [, suffix] = /Use another one: npm run sandbox -- pulumi up --stack \w+ --replace '([^']+)'/.exec(all) ?? [];
    if (suffix !== undefined) {
      this.note("another bucket was made");
      const up = await this.#cloud.up(this.#name, "--replace", suffix);
      expect(up.exitCode, up.all).toBe(0);
      return [];
    }
    const [, target] =
      /state with: npm run sandbox -- pulumi refresh --stack \w+ --target '([^']+)'; then run the same command again/.exec(
        all,
      ) ?? [];
    if (target !== undefined) {
      this.note("what was gone already was removed from the state");
      const refresh = await this.#cloud.pulumi(["refresh", "--target", target, "--yes", "--stack", this.#name]);
      expect(refresh.exitCode, refresh.all).toBe(0);
      return [];
    }
    const [, options] =
      /check what really exists: npm run sandbox -- pulumi up --stack \w+ ((?:--[a-z-]+ ?)+)/.exec(all) ?? [];
    if (options === undefined) return undefined;
    this.note("a run checked what really exists");
    return options.trim().split(" ");
  }

  /** Releases the lock of a killed run. */
  async unlock(): Promise<void> {
    await this.#cloud.pulumi(["cancel", "--yes", "--stack", this.#name]);
  }

  /** Checks that the stack is as declared and serves, and that the account has each of its parts once. */
  async expectComplete(expected: typeof DEPLOYED, ports?: number[]): Promise<void> {
    const again = await this.#cloud.up(this.#name, "--expect-no-changes");
    expect(again.exitCode, again.all).toBe(0);
    await probe(this.#cloud, this.#name, `mark ${Date.now()}`, ports);
    const drift = () => this.#cloud.operate("drift", this.#name, ["--ignore", "backups"]);
    for (const [, key = ""] of (await drift()).all.matchAll(/doctl spaces keys delete (\w+)/g)) {
      await this.#delete(`/v2/spaces/keys/${key}`);
    }
    const { exitCode, all } = await drift();
    expect(exitCode, all).toBe(0);
    await this.expectAccount(expected);
  }

  /** As a person does, who repeats a call that was not answered. */
  async #delete(route: string): Promise<void> {
    const call = () => this.#cloud.cloud("DELETE", route);
    const { status } = await call().catch(call);
    expect([204, 404]).toContain(status);
  }

  async expectAccount(expected: typeof DEPLOYED): Promise<void> {
    const counts = Object.entries(ROUTES).map(async ([kind, route]) => [kind, (await this.listed(route, kind)).length]);
    expect(Object.fromEntries(await Promise.all(counts))).toEqual(expected);
  }

  async listed<T = { id: number | string }>(route: string, kind: string): Promise<T[]> {
    const answer = (await (await this.#cloud.cloud("GET", route)).json()) as Record<string, T[]>;
    return answer[kind] ?? [];
  }
}

/** Each different text, and how often it is there. */
function counted(texts: string[]): string {
  return [...new Set(texts)].map((text) => `${texts.filter((other) => other === text).length} × ${text}`).join(", ");
}

/** The rows of the document's table, with its head. */
function tableIn(text: string): string[][] {
  const lines = text
    .slice(text.indexOf(HEADING))
    .split("\n")
    .filter((line) => /^\| (?!--)/.test(line));
  return lines.map((line) =>
    line
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim()),
  );
}
