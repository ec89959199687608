import { rm } from "node:fs/promises";
import Docker from "dockerode";
import { endAcmeServer } from "./acme-server.ts";
import { SANDBOX_LABEL, type SandboxHome } from "../home.ts";
import { removeDisks } from "./disk.ts";
import { tolerate } from "../docker.ts";
import { removePacketRules } from "./firewall.ts";
import { guestsFolder } from "./guest.ts";
import { endNameServer } from "./name-server.ts";
import { stateFile } from "./state.ts";

/**
 * Removes everything that a sandbox's droplets and volumes left on this computer: containers, Docker volumes, network,
 * name server, ACME server, packet rules, loop devices, disks with their data, state. It finds them by labels and names, so it works without state
 * and after any crash; idempotent. The image stays, because all sandboxes share it. No process may have the machine room
 * open.
 */
export async function removeEverything(home: SandboxHome): Promise<void> {
  const docker = new Docker();
  const filters = { label: [`${SANDBOX_LABEL}=${home.id}`] };
  for (const { Id } of await docker.listContainers({ all: true, filters })) {
    await docker.getContainer(Id).remove({ force: true, v: true }).catch(tolerate(404));
  }
  for (const { Name } of (await docker.listVolumes({ filters })).Volumes) {
    await docker.getVolume(Name).remove({ force: true });
  }
  for (const { Id } of await docker.listNetworks({ filters })) {
    await docker.getNetwork(Id).remove().catch(tolerate(404));
  }
  await endNameServer(home);
  await endAcmeServer(home);
  await removePacketRules(home);
  await removeDisks(home);
  await rm(guestsFolder(home), { recursive: true, force: true });
  await rm(stateFile(home), { force: true });
}
