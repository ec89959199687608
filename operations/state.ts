import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { PULUMI, pulumiCommand } from "../contract/commands.ts";
import { sandboxCommand } from "./typed.ts";

/** A resource from the stack's state, with secrets decrypted. */
export interface Resource {
  type: string;
  /** Logical name. */
  name: string;
  /** The provider's id; empty if the resource is a component. */
  id: string;
  inputs: Record<string, unknown>;
  outputs: Record<string, unknown>;
  /** Whether the engine refuses to delete it. */
  protect?: boolean;
}

/** What a run was doing with a resource when it was killed. */
export interface Pending {
  /** Logical name. */
  name: string;
  /** `creating`, `updating`, `deleting`, `reading` or `importing`. */
  operation: string;
}

/** The state of a stack's last deployment: what the cloud and the machine should be like. */
export class State {
  readonly stack: string;
  readonly resources: Resource[];
  readonly pending: Pending[];
  /** When the last run ended that recorded something, RFC 3339; empty if the state does not say so. */
  readonly recorded: string;

  constructor(stack: string, resources: Resource[], pending: Pending[] = [], recorded = "") {
    this.stack = stack;
    this.resources = resources;
    this.pending = pending;
    this.recorded = recorded;
  }

  /**
   * Reads a stack's state through the engine, from any backend; calls neither cloud nor machine.
   *
   * @throws Error if the stack is unknown or its secrets cannot be read
   */
  static async read(stack: string): Promise<State> {
    const args = ["stack", "export", "--show-secrets", "--stack", stack];
    const { stdout } = await promisify(execFile)("pulumi", args, { maxBuffer: 64 * 1024 * 1024 }).catch(
      (error: unknown) => {
        const reason = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : String(error);
        const list = reason.includes("no stack named") ? `\nSee which there are with: ${PULUMI} stack ls` : "";
        const onSandbox = sandboxCommand(stack, process.argv.slice(2));
        throw new Error(
          onSandbox === undefined
            ? `stack ${stack}: its state cannot be read. ${reason}${list}`
            : `stack ${stack}: belongs to the sandbox, so it should be used through it. Run: ${onSandbox}\n` +
                `If you mean another stack of this name, its state cannot be read. ${reason}`,
        );
      },
    );
    const { deployment } = JSON.parse(stdout) as {
      deployment: {
        manifest?: { time?: string };
        resources?: RawResource[];
        pending_operations?: { resource: RawResource; type: string }[];
      };
    };
    return new State(
      stack,
      // A resource that is pending deletion is no longer declared.
      (deployment.resources ?? []).filter((raw) => raw.delete !== true).map(parse),
      (deployment.pending_operations ?? []).map(({ resource, type }) => ({ name: nameOf(resource), operation: type })),
      deployment.manifest?.time,
    );
  }

  all(type: string): Resource[] {
    return this.resources.filter((resource) => resource.type === type);
  }

  find(type: string, name: string): Resource | undefined {
    return this.resources.find((resource) => resource.type === type && resource.name === name);
  }

  /** @throws Error if the stack does not have this resource: then no deployment of it was completed */
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
  protect?: boolean;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

function nameOf({ urn }: RawResource): string {
  return urn.slice(urn.lastIndexOf("::") + 2);
}

function parse(raw: RawResource): Resource {
  const { type, id = "", inputs = {}, outputs = {}, protect = false } = raw;
  return {
    type,
    id,
    protect,
    name: nameOf(raw),
    inputs: reveal(inputs) as Record<string, unknown>,
    outputs: reveal(outputs) as Record<string, unknown>,
  };
}

/** The engine's mark of a secret value; an export with secrets contains its plaintext as JSON. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";

function reveal(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reveal);
  if (typeof value !== "object" || value === null) return value;
  if (SIGNATURE in value && "plaintext" in value) return reveal(JSON.parse(String(value.plaintext)));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, reveal(member)]));
}
