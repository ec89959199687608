import * as pulumi from "@pulumi/pulumi";

import type { Offer } from "../digitalocean/catalogue.ts";
import { costReport, type MonthlyCost, monthlyCost, type Nodes } from "../digitalocean/cost.ts";

/** What is charged for, as the resources have it. */
interface Parts {
  size: pulumi.Input<string>;
  volumeSizeGb: pulumi.Input<number>;
  cluster: pulumi.Input<Nodes> | undefined;
  usesSpaces: boolean;
}

/**
 * Tells, in a preview and in a run, what a stack costs and how much that differs from what is deployed, as soon as the parts are there.
 *
 * @param snapshots  how many snapshots of the volume the program keeps
 * @returns what each part costs, for the stack's output `monthlyCost`, with which the next run compares
 */
export function tellCost(
  { size, volumeSizeGb, cluster, usesSpaces }: Parts,
  offers: readonly Offer[],
  snapshots: number,
): pulumi.Output<MonthlyCost> {
  // Read beside everything else, and before this run records anything.
  const former = formerCost();
  return pulumi.all([size, volumeSizeGb, cluster]).apply(async ([dropletSize, sizeGb, nodes]) => {
    const cost = monthlyCost({ size: dropletSize, volumeSizeGb: sizeGb, cluster: nodes, usesSpaces }, offers);
    await pulumi.log.info(costReport(cost, await former, snapshots));
    return cost;
  });
}

/** What the last complete run has recorded; empty if there was none, or if the state cannot be read. */
function formerCost(): Promise<MonthlyCost> {
  const name = [pulumi.getOrganization(), pulumi.getProject(), pulumi.getStack()].join("/");
  return pulumi.runtime
    .invoke("pulumi:pulumi:readStackOutputs", { name })
    .then(({ outputs }: { outputs: { monthlyCost?: MonthlyCost } }) => outputs.monthlyCost ?? {})
    .catch(() => ({}));
}
