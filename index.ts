import * as pulumi from "@pulumi/pulumi";

import { refuseShrinking } from "./digitalocean/sizes.ts";
import { findSize } from "./digitalocean/catalogue.ts";
import { Convex } from "./components/convex.ts";
import { FunctionEnvironment } from "./components/function-environment.ts";
import { Host } from "./components/host.ts";
import { Postgres } from "./components/postgres.ts";
import { ID, NETWORK } from "./contract/names.ts";
import { databaseName, endpoints, label, loadSettings, publicPorts } from "./settings.ts";
import { openEmptyAgent } from "./ssh/agent.ts";
import { Boot } from "./ssh/boot.ts";
import { openRunTunnel } from "./ssh/run-tunnel.ts";
import "./unmapped.ts";

const settings = loadSettings();
const stack = pulumi.getStack();
const [{ memoryMb, offers }] = await Promise.all([
  findSize(settings.size, settings.region),
  refuseShrinking(label(stack), settings.region, settings.volumeSizeGb),
]);

const boot = Boot.ofRun(settings.bootTimeoutSeconds);
const host = new Host(ID, {
  ...settings,
  label: label(stack),
  offers,
  publicPorts: publicPorts(settings),
  sshAgent: openEmptyAgent,
  onChange: boot.begin,
});

const tunnel = openRunTunnel(
  settings.tunnelPort,
  { host: host.publicIp, privateKey: host.deployKey, hostKey: host.hostKey },
  boot,
);

const postgres = new Postgres(ID, {
  subnet: NETWORK.subnet,
  gateway: NETWORK.gateway,
  connection: host.connection,
  machineId: host.machineId,
  mountpoint: host.mountpoint,
  tunnelPort: tunnel.postgresPort,
  database: databaseName(settings.instanceName),
  poolSize: settings.postgresPoolSize,
  protectData: settings.protectData,
  onMachine: host.onMachine,
  onVolume: host.onVolume,
});

const convex = new Convex(ID, {
  ...settings,
  subnet: NETWORK.subnet,
  gateway: NETWORK.gateway,
  ...endpoints(settings, host.publicIp),
  connection: host.connection,
  dockerHost: tunnel.dockerHost,
  dataDirectory: host.dataDirectory,
  postgresUrl: postgres.url,
  memoryMb,
  environment: settings.backendEnvironment,
  onMachine: host.onMachine,
});

new FunctionEnvironment(ID, {
  connection: host.connection,
  mountpoint: host.mountpoint,
  apiPort: settings.apiPort,
  adminKey: convex.adminKey,
  variables: settings.functionEnvironment,
  authKeys: settings.authKeys,
  onMachine: host.onMachine,
});

/** URL of the API, once the backend is healthy: `CONVEX_SELF_HOSTED_URL` */
export const backendUrl = convex.backendUrl;
/** URL of the HTTP actions */
export const siteUrl = convex.siteUrl;
/** URL of the dashboard while `npm run tunnel` runs */
export const dashboardUrl = convex.dashboardUrl;
/** secret; `CONVEX_SELF_HOSTED_ADMIN_KEY`, accepted by the running backend before it is output */
export const adminKey = convex.adminKey;
/** secret; a key for CI and monitoring: reads everything, also variables and data, changes nothing; absent if the backend accepts only keys of its own tool */
export const readOnlyAdminKey = convex.readOnlyAdminKey;
/** name of the instance */
export const instanceName = settings.instanceName;
/** address of the droplet */
export const publicIp = host.publicIp;
/** command that opens a shell on the droplet */
export const sshCommand = `npm run ssh -- --stack ${stack}`;
/** secret; the deploy key */
export const sshPrivateKey = host.deployKey;
/** the droplet's host key, to pin */
export const sshHostKey = host.hostKey;
