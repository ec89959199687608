import { UnreachableError } from "../../ssh/connect.ts";
import type { Inside } from "../drift/inside.ts";
import { dropletStatus, findDroplet } from "../droplet.ts";
import type { State } from "../state.ts";
import { type Ailment, ill, type Station, unknown, well } from "./station.ts";
import { pulumiCommand } from "../typed.ts";
import { REMAKE } from "../drift/finding.ts";
import { costsOf } from "../drift/repairs.ts";
import { repairText } from "../drift/report.ts";

/**
 * Whether the droplet runs and lets this computer in.
 *
 * @param inside  what looking inside it gave
 */
export async function examineDroplet(state: State, inside: Inside | Error): Promise<Station> {
  const name = "droplet";
  const droplet = findDroplet(state);
  if (droplet === undefined) return unknown(name, `is not deployed yet: ${pulumiCommand(state.stack, "up")}`);
  if (!(inside instanceof UnreachableError)) return well(name, "runs, and lets this computer in over SSH");
  return ill(name, [explain(state.stack, droplet.id, await dropletStatus(state), inside)]);
}

function explain(stack: string, id: string, status: string | undefined, { message }: Error): Ailment {
  if (status === "gone") {
    return {
      symptom: `DigitalOcean has no droplet ${id}`,
      cause: "somebody deleted it; the volume with the data is a resource of its own",
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
  return { symptom: message, cure: `look at the console of droplet ${id} in DigitalOcean's control panel` };
}
