import { type Inside, parse } from "../../operations/findings/inside.ts";
import { type Machine, SCRIPTS } from "./machine-harness.ts";

/** A folder on the machine with a copy of the original scripts. Tests change the scripts that the machine runs. */
const PRISTINE = "/root/pristine-scripts";

/** Inspects a machine as `npm run drift` does, from a folder that is removed afterwards. */
export class Inspector {
  readonly #machine: Machine;
  readonly #expected: Record<string, string>;

  private constructor(machine: Machine, expected: Record<string, string>) {
    this.#machine = machine;
    this.#expected = expected;
  }

  /** @param expected the files of `expected/`, by name. */
  static async create(machine: Machine, expected: Record<string, string>): Promise<Inspector> {
    await machine.sh(`cp -r ${SCRIPTS} ${PRISTINE}`);
    return new Inspector(machine, expected);
  }

  async inspect(): Promise<Inside> {
    const files = Object.entries(this.#expected).map(
      ([name, content]) => `base64 -d <<< '${Buffer.from(content).toString("base64")}' > "$d/expected/${name}"`,
    );
    const told = await this.#machine.sh(
      `d=$(mktemp -d /run/convex-droplet-inspect.XXXXXX) && trap 'rm -rf "$d"' EXIT && cp -r ${PRISTINE}/. "$d" && mkdir "$d/expected"
      ${files.join("\n")}
      bash "$d/inspect.sh"`,
    );
    return parse(told);
  }
}
