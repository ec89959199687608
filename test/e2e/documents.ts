import { readFile } from "node:fs/promises";

/** The commands of a document: the content of its `sh` blocks, in their order. */
export function blocksIn(text: string): string[] {
  return [...text.matchAll(/^( *)```sh\n([^]*?)^ *```$/gm)].map(([, indent = "", block = ""]) =>
    block.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  );
}

/** The commands of the runbook in docs/backups.md, one after the other, in the sandbox's form. */
export class Runbook {
  readonly left: string[];

  private constructor(left: string[]) {
    this.left = left;
  }

  /** @param stack  the name that replaces the document's `prod` */
  static async read(stack: string): Promise<Runbook> {
    const [, section = ""] = /^## The bad day$([^]*?)^## /m.exec(await readFile("docs/backups.md", "utf8")) ?? [];
    return new Runbook(
      blocksIn(section).map((block) => onSandbox(block.trim()).replace("--stack prod", `--stack ${stack}`)),
    );
  }

  /**
   * @param moment  what replaces the document's moment, if the command contains one
   * @throws Error if the document has no more commands
   */
  next(moment = ""): string {
    const command = this.left.shift();
    if (command === undefined) throw new Error("the runbook has no more commands");
    return command.replace("2026-11-26T14:05:00Z", moment);
  }
}

/** A command for a real stack, as the sandbox needs it typed. */
function onSandbox(command: string): string {
  return command
    .replace(/^npx pulumi /, "npm run sandbox -- pulumi ")
    .replace(/^npm run (?!sandbox )(\S+) -- /, "npm run sandbox -- $1 ");
}
