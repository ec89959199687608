import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");

/** The least that can be a program: what the engine needs for it, any program needs. It is loaded as this project's own is. */
export class EmptyProject implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<EmptyProject> {
    const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-empty-"));
    const files = {
      "Pulumi.yaml": "name: empty\nmain: index.ts\nruntime:\n  name: nodejs\n  options:\n    typescript: false\n",
      "package.json": '{ "type": "module" }\n',
      "index.ts": "export {};\n",
    };
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
    await symlink(path.join(CHECKOUT, "node_modules"), path.join(folder, "node_modules"));
    return new EmptyProject(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
