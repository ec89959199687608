import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");

const INDEX = 'import * as pulumi from "@pulumi/pulumi";\n\nexport const stack = pulumi.getStack();\n';

/** Programs that only load the SDK; they differ in how Node loads them. */
const PROJECTS = {
  /** As from `pulumi new typescript`: the SDK compiles it in each run. */
  template: {
    "Pulumi.yaml": "name: empty\nruntime: nodejs\n",
    "package.json": '{ "main": "index.ts" }\n',
    "tsconfig.json": '{ "compilerOptions": { "target": "es2020", "module": "nodenext", "strict": true } }\n',
    "index.ts": INDEX,
  },
  /** Like this project: Node itself strips the types. */
  stripped: {
    "Pulumi.yaml": "name: empty\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n",
    "package.json": '{ "main": "index.ts", "type": "module" }\n',
    "index.ts": INDEX,
  },
};

/** A minimal program: the engine's time for it is part of every program's time. */
export class EmptyProject implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(kind: keyof typeof PROJECTS): Promise<EmptyProject> {
    const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-empty-"));
    for (const [name, text] of Object.entries(PROJECTS[kind])) await writeFile(path.join(folder, name), text);
    await symlink(path.join(CHECKOUT, "node_modules"), path.join(folder, "node_modules"));
    return new EmptyProject(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
