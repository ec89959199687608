import http from "node:http";
import { text } from "node:stream/consumers";

import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";

/** The path of a type of resource in the Docker engine's API. */
const COLLECTION: Record<string, string> = {
  "docker:index/container:Container": "containers",
  "docker:index/network:Network": "networks",
};

/**
 * For the `onError` of containers and networks on a machine that only this stack uses. If a run is killed while it creates one,
 * it exists but is in no state, and no other can be created with its name. This hook stops and removes it, and tries again.
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
      `${lost} is on the droplet but not in the stack's state: a run was killed while creating it. Removing it, to create it again.`,
    );
    const socket = socketOf(await valueOf(dockerHost));
    const request = (method: string, route: string, body?: object) => ask(socket, method, route, body);
    if (collection === "containers") {
      await request("POST", `/containers/${lost}/stop?t=10`);
    } else {
      // A network with containers cannot be removed. Containers are replaced with their network.
      const { answer } = await request("GET", `/networks/${lost}`);
      for (const container of Object.keys((answer as { Containers?: object }).Containers ?? {})) {
        await request("POST", `/networks/${lost}/disconnect`, { Container: container, Force: true });
      }
    }
    return (await request("DELETE", `/${collection}/${lost}`)).status === 204;
  });
}

/**
 * For the `onError` of containers on such a machine. If the engine is killed while it starts a container, it remembers the container's ports, and
 * does not give them back when the container is removed: https://github.com/moby/libnetwork/issues/1790. Only a restart frees them. If no container has
 * the port, this hook restarts the engine, once in a run, and tries again. Other containers stop for some seconds.
 *
 * @param dockerHost the engine's address, `unix:///…`
 * @param restart restarts the engine, and returns once it answers
 */
export function freeLostPorts(
  name: string,
  dockerHost: pulumi.Input<string>,
  restart: () => Promise<void>,
): pulumi.ErrorHook {
  const tried = new Set<string>();
  let restarted: Promise<void> | undefined;
  return new pulumi.ErrorHook(`${name}-lost-port`, async ({ failedOperation, newInputs = {}, errors }) => {
    const [, ip, port] = /Bind for (\S+):(\d+) failed: port is already allocated/.exec(errors[0] ?? "") ?? [];
    const container = String(newInputs["name"]);
    if (failedOperation !== "create" || port === undefined || tried.has(container)) return false;
    tried.add(container);
    const socket = socketOf(await valueOf(dockerHost));
    const { answer } = await ask(socket, "GET", "/containers/json");
    const published = (answer as { Ports?: { IP?: string; PublicPort?: number }[] }[]).flatMap(
      ({ Ports = [] }) => Ports,
    );
    if (published.some(({ IP, PublicPort }) => IP === ip && PublicPort === Number(port))) return false;
    restarted ??= pulumi.log
      .warn(
        `Docker keeps port ${port} of ${ip} for a container that is gone: it was killed while it started one. Restarting it; all containers stop for some seconds.`,
      )
      .then(restart);
    await restarted;
    // It exists, but could not be started.
    await ask(socket, "DELETE", `/containers/${container}`);
    return true;
  });
}

function socketOf(address: string): string {
  return address.replace(/^unix:\/\//, "");
}

/** One request to the engine. */
function ask(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; answer: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const request = http.request({ socketPath, method, path, headers, timeout: 60_000 }, (response) => {
      text(response).then((said) => {
        const isJson = (response.headers["content-type"] ?? "").includes("json");
        resolve({ status: response.statusCode ?? 0, answer: isJson ? (JSON.parse(said) as unknown) : {} });
      }, reject);
    });
    request.on("timeout", () => request.destroy(new Error(`Docker: did not answer ${method} ${path} within 60 s`)));
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
