import http from "node:http";

import * as pulumi from "@pulumi/pulumi";

/** Where the Docker engine keeps a kind of resource. */
const COLLECTION: Record<string, string> = {
  "docker:index/container:Container": "containers",
  "docker:index/network:Network": "networks",
};

/**
 * For the `onError` of containers and networks on a machine that is the stack's alone. A run that is killed while one is
 * made leaves one that no state knows, and as it has the name, no other can be made. This stops and removes it, and the
 * creation is tried again.
 *
 * @param dockerHost the engine's address, `unix:///…`
 */
export function removeLostFromEngine(name: string, dockerHost: pulumi.Input<string>): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-in-engine`, async ({ failedOperation, type, newInputs = {}, errors }) => {
    const collection = COLLECTION[type];
    const nameTaken = /already in use by container|already exists/.test(errors[0] ?? "");
    if (failedOperation !== "create" || collection === undefined || !nameTaken) return false;
    const lost = String(newInputs["name"]);
    await pulumi.log.warn(
      `${lost} is on the droplet but not in the stack's state: a run was ended while it was made. Removing it, to make it again.`,
    );
    const address = await new Promise<string>((resolve) => pulumi.output(dockerHost).apply(resolve));
    const request = (method: string, route: string) => ask(address.replace(/^unix:\/\//, ""), method, route);
    if (collection === "containers") await request("POST", `/containers/${lost}/stop?t=10`);
    return (await request("DELETE", `/${collection}/${lost}`)) === 204;
  });
}

/** @returns the status of the engine's answer */
function ask(socketPath: string, method: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path, timeout: 60_000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("timeout", () => request.destroy(new Error(`Docker: did not answer ${method} ${path} within 60 s`)));
    request.on("error", reject);
    request.end();
  });
}
