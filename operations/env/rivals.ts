import { RIVALS } from "../../examples/app-repo/scripts/target/rivals.ts";

/**
 * Refuses a variable that makes the Convex CLI use another deployment than a self-hosted one.
 *
 * @param place  where it is set, for the message
 * @param cure   how to remove it there
 * @throws Error naming the variable, never its value
 */
export function refuseRivals(
  variables: Record<string, string | undefined>,
  place: (name: string) => string,
  cure: (name: string) => string = () => "Remove it there, then run this again.",
): void {
  for (const [name, reason] of Object.entries(RIVALS)) {
    if ((variables[name] ?? "") === "") continue;
    throw new Error(`${place(name)}: sets ${name}, it should not: ${reason}. ${cure(name)}`);
  }
}
