import type * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

/**
 * A password of 40 letters and digits, so that nothing on its way to a server must quote it.
 *
 * @param keepers  values that give another password when they change
 */
export function generatedPassword(
  name: string,
  opts: pulumi.CustomResourceOptions,
  keepers?: Record<string, string>,
): random.RandomPassword {
  return new random.RandomPassword(name, { length: 40, special: false, ...(keepers && { keepers }) }, opts);
}
