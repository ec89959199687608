import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { pulumiCommand } from "./typed.ts";

/** A resource as the stack's state has it, secrets in clear. */
export interface Resource {
  type: string;
  /** Logical name. */
  name: string;
  /** The provider's; empty where the resource is a component. */
  id: string;
  inputs: Record<string, unknown>;
  outputs: Record<string, unknown>;
}

/** What a stack was last deployed with: what `pulumi up` wrote down is what the cloud and the machine should be like. */
export class State {
  readonly stack: string;
  readonly resources: Resource[];

  constructor(stack: string, resources: Resource[]) {
    this.stack = stack;
    this.resources = resources;
  }

  /**
   * Reads a stack's state through the engine, so from whatever backend it is in; asks neither cloud nor machine.
   *
   * @throws Error when the stack is unknown or its secrets cannot be read
   */
  static async read(stack: string): Promise<State> {
    const args = ["stack", "export", "--show-secrets", "--stack", stack];
    const { stdout } = await promisify(execFile)("pulumi", args, { maxBuffer: 64 * 1024 * 1024 }).catch(
      (error: unknown) => {
        const reason = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : String(error);
        throw new Error(`stack ${stack}: its state cannot be read. ${reason}`);
      },
    );
    const { deployment } = JSON.parse(stdout) as { deployment: { resources?: RawResource[] } };
    return new State(
      stack,
      // A resource that waits for its deletion is no longer declared.
      (deployment.resources ?? []).filter((raw) => raw.delete !== true).map(parse),
    );
  }

  all(type: string): Resource[] {
    return this.resources.filter((resource) => resource.type === type);
  }

  find(type: string, name: string): Resource | undefined {
    return this.resources.find((resource) => resource.type === type && resource.name === name);
  }

  /** @throws Error when the stack has no such resource: then it was never deployed to its end */
  get(type: string, name: string): Resource {
    const resource = this.find(type, name);
    if (resource === undefined) {
      throw new Error(
        `stack ${this.stack}: has no ${name}, it should be deployed. Deploy it with: ${pulumiCommand(this.stack, "up")}`,
      );
    }
    return resource;
  }
}

interface RawResource {
  urn: string;
  type: string;
  id?: string;
  delete?: boolean;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

function parse({ urn, type, id = "", inputs = {}, outputs = {} }: RawResource): Resource {
  return {
    type,
    id,
    name: urn.slice(urn.lastIndexOf("::") + 2),
    inputs: reveal(inputs) as Record<string, unknown>,
    outputs: reveal(outputs) as Record<string, unknown>,
  };
}

/** The engine's mark of a value that is a secret; in an export with secrets its text is JSON in clear. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";

function reveal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reveal);
  if (typeof value !== "object" || value === null) return value;
  if (SIGNATURE in value && "plaintext" in value) return reveal(JSON.parse(String(value.plaintext)));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, reveal(member)]));
}
