import { UnreachableError } from "../../ssh/connect.ts";
import type { Inside } from "../findings/inside.ts";
import { dropletStatus, findDroplet } from "../droplet.ts";
import type { State } from "../state.ts";
import { type Problem, unhealthy, type Check, unknown, healthy } from "./check.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { costsOf, REMAKE, repairText } from "../findings/repair.ts";

/**
 * Checks that the droplet runs and accepts this computer's SSH connection.
 *
 * @param inside  the result of the inspection of the droplet
 */
export async function examineDroplet(state: State, inside: Inside | Error): Promise<Check> {
  const name = "droplet";
  const droplet = findDroplet(state);
  if (droplet === undefined) return unknown(name, `is not deployed yet: ${pulumiCommand(state.stack, "up")}`);
  if (!(inside instanceof UnreachableError)) return healthy(name, "runs, and this computer can connect over SSH");
  return unhealthy(name, [explain(state.stack, droplet.id, await dropletStatus(state), inside)]);
}

function explain(stack: string, id: string, status: string | undefined, { message }: Error): Problem {
  if (status === "gone") {
    return {
      symptom: `DigitalOcean has no droplet ${id}`,
      cause: "somebody deleted it; the volume with the data is a separate resource",
      cure: repairText(stack, REMAKE),
      costs: costsOf(REMAKE),
    };
  }
  if (status !== undefined && status !== "active") {
    return {
      symptom: `is ${status}, it should be active`,
      cure: `switch it on in DigitalOcean's control panel, or with: doctl compute droplet-action power-on ${id}`,
    };
  }
  return { symptom: message, cure: `open the console of droplet ${id} in DigitalOcean's control panel` };
}
