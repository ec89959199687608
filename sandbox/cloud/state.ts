import { randomInt, randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";

import type { SandboxHome } from "../home.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { newDefaultProject } from "./project-resources.ts";
import type { CloudState } from "./records.ts";

/**
 * The state of one cloud, in a file. `state` is always on the disk already, so a crash loses nothing that was answered
 * to a client.
 */
export class Store {
  readonly #file: string;
  #state: CloudState;
  #lastChange: Promise<unknown> = Promise.resolve();
  readonly #listeners: (() => void)[] = [];

  private constructor(file: string, state: CloudState) {
    this.#file = file;
    this.#state = state;
  }

  /** Opens `<root>/cloud/state.json`, or starts with an empty account. */
  static async open(home: SandboxHome): Promise<Store> {
    const file = path.join(await cloudFolder(home), "state.json");
    const content = await readFile(file, "utf8").catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    });
    return new Store(file, content === undefined ? emptyState() : parseState(file, content));
  }

  /** A snapshot: later changes replace it, they do not modify it. Do not write to it. */
  get state(): Readonly<CloudState> {
    return this.#state;
  }

  /**
   * Applies one change, completely or not at all: `edit` works on a copy, which becomes the state when it is on the disk.
   * If `edit` throws, nothing changes, and the caller gets the error. Changes happen one after the other, so a check in
   * `edit` is still true when `edit` acts.
   */
  change<T>(edit: (draft: CloudState) => T): Promise<T> {
    const change = this.#lastChange.then(async () => {
      const draft = structuredClone(this.#state);
      const result = edit(draft);
      await writeFileAtomically(this.#file, JSON.stringify(draft));
      this.#state = draft;
      for (const listener of this.#listeners) listener();
      return result;
    });
    this.#lastChange = change.catch(() => undefined);
    return change;
  }

  /** Calls `listener` after each change, when it is on the disk. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

/** `<root>/cloud`, made if absent. Only its owner can read it, because it contains user-data and the token. */
export async function cloudFolder(home: SandboxHome): Promise<string> {
  const folder = path.join(home.root, "cloud");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

function parseState(file: string, content: string): CloudState {
  const state = JSON.parse(content) as Partial<CloudState>;
  if (state.format !== 1) {
    throw new Error(`${file}: has format ${String(state.format)}, must have 1. Use the version that wrote it.`);
  }
  // Earlier versions had no domains, no reserved addresses, no Spaces, no snapshots and no databases.
  const empty = emptyState();
  return { ...empty, ...(state as CloudState), next: { ...empty.next, ...state.next } };
}

function emptyState(): CloudState {
  const account = { uuid: randomUUID(), vpc_uuid: randomUUID() };
  return {
    format: 1,
    account,
    // As large as in the real cloud today: clients that keep ids in 32 bits fail here too.
    next: {
      droplet: 500_000_000 + randomInt(10_000_000),
      action: 2_500_000_000 + randomInt(10_000_000),
      key: 45_000_000 + randomInt(1_000_000),
      dns_record: 1_700_000_000 + randomInt(10_000_000),
    },
    droplets: [],
    volumes: [],
    snapshots: [],
    keys: [],
    firewalls: [],
    tags: [],
    projects: [newDefaultProject(account.uuid)],
    domains: [],
    reserved_ips: [],
    spaces_keys: [],
    databases: [],
    actions: [],
  };
}
