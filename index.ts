import * as pulumi from "@pulumi/pulumi";

import { findVolume } from "./digitalocean/adopted-volume.ts";
import { hasCluster, refuseUnknownCluster } from "./digitalocean/former-cluster.ts";
import { findDatabaseSize } from "./digitalocean/database-sizes.ts";
import { refuseShrinking } from "./digitalocean/sizes.ts";
import { findSize } from "./digitalocean/catalogue.ts";
import { findSnapshot, Safeguard } from "./digitalocean/volume-snapshots.ts";
import { appsOf } from "./components/apps.ts";
import { Backups } from "./components/backups.ts";
import { Convex } from "./components/convex.ts";
import { Database } from "./components/database.ts";
import { databasePlace } from "./components/database-place.ts";
import { Edge } from "./components/edge.ts";
import { FileStorage } from "./components/file-storage.ts";
import { furtherDatabases } from "./components/further-databases.ts";
import { functionsOf } from "./components/function-deployment.ts";
import { FunctionEnvironment } from "./components/function-environment.ts";
import { Host } from "./components/host.ts";
import { ManagedCluster } from "./components/managed-cluster.ts";
import { ManagedPostgres } from "./components/managed-postgres.ts";
import { Postgres } from "./components/postgres.ts";
import { refuseRemovalInMove } from "./components/protected-databases.ts";
import { Repository } from "./components/repository.ts";
import { Spaces } from "./components/spaces.ts";
import { tellCost } from "./components/tell-cost.ts";
import { refuseOtherShape } from "./components/database-shape.ts";
import { refuseSwitch } from "./components/storage-switch.ts";
import { databaseName, ID, label, NETWORK, ROLES } from "./contract/names.ts";
import { AppPackage } from "./functions/app-package.ts";
import { refuseConnections, refuseManagedConnections } from "./settings/connections.ts";
import { refuseLimits } from "./settings/limits.ts";
import { loadSettings } from "./settings/load.ts";
import { openEmptyAgent } from "./ssh/agent.ts";
import { Boot } from "./ssh/boot.ts";
import { fileFor } from "./ssh/near-end.ts";
import { runLogged } from "./ssh/run-logged.ts";
import { openRunTunnel } from "./ssh/run-tunnel.ts";
import "./unmapped.ts";

const { exposure, ...settings } = loadSettings();
const { region, size, volumeSizeGb, volumeSnapshot, volumeSnapshots, adoptVolume, protectData, bootTimeoutSeconds } =
  settings.host;
const { postgresPoolSize, databases, migratePostgres, moveDatabase, tunnelPort, databaseSize, databaseStandbys } =
  settings.postgres;
const isManaged = settings.postgres.database === "managed";
const stack = pulumi.getStack();
const [{ memoryMb, vcpus, offers }, databaseOffers, keepsCluster, snapshotId, adopted] = await Promise.all([
  findSize(size, region),
  isManaged ? findDatabaseSize(databaseSize, region, databaseStandbys) : [],
  moveDatabase && !isManaged ? hasCluster(label(stack)) : false,
  findSnapshot(volumeSnapshot, region, volumeSizeGb),
  findVolume(adoptVolume, label(stack), region, volumeSizeGb),
  refuseShrinking(label(stack), region, volumeSizeGb),
]);
if (isManaged) refuseManagedConnections(settings.postgres, databaseSize, databaseOffers);
else refuseConnections(settings.postgres, size, memoryMb, offers);
refuseLimits(settings.apps, size, { memoryMb, vcpus });

const safeguard = new Safeguard(label(stack), volumeSnapshots, snapshotId);
const boot = Boot.ofRun(bootTimeoutSeconds);
const host = new Host(ID, {
  ...settings.host,
  exposure,
  label: label(stack),
  offers,
  snapshotId,
  adopted,
  instanceName: settings.convex.instanceName,
  instanceSecret: settings.convex.instanceSecret,
  safeguard,
  packagesOf: ["host", isManaged ? "managed" : "postgres", ...(exposure.hosts === undefined ? [] : ["edge" as const])],
  sshAgent: openEmptyAgent,
  onChange: boot.begin,
});
const { connection, mountpoint, onMachine } = host;

const refuseOtherDatabase = refuseOtherShape(ID, settings.postgres);
const refuseRemoval = refuseRemovalInMove(ID, settings.postgres);
const cluster =
  isManaged || keepsCluster
    ? new ManagedCluster(ID, {
        ...settings.postgres,
        label: label(stack),
        region,
        dropletId: host.machineId,
        // A move can be given up, or confirmed, by a run that deletes the cluster.
        protectData: protectData && !moveDatabase,
        refuseNew: isManaged ? [refuseOtherDatabase, refuseRemoval] : [refuseUnknownCluster(ID, label(stack))],
      })
    : undefined;
const used = isManaged ? cluster : undefined;

const tunnel = openRunTunnel(
  tunnelPort,
  { host: host.publicIp, privateKey: host.deployKey, hostKey: host.hostKey },
  boot,
  used,
);

const { fileStorage, ...place } = settings.files;
const usesSpaces = [settings.backups.backups, fileStorage].includes("spaces");
const spaces = usesSpaces ? new Spaces(ID, { label: label(stack) }) : undefined;
const repository = new Repository(ID, {
  ...settings.backups,
  database: settings.postgres.database,
  fileStorage,
  label: label(stack),
  volumeId: host.volumeId,
  protectData,
  spaces,
});
const refuseOtherFiles = refuseSwitch(ID, settings.files);
const files =
  fileStorage === "volume"
    ? undefined
    : new FileStorage(ID, {
        ...place,
        label: label(stack),
        backupDays: settings.backups.backupDays,
        protectData,
        spaces: fileStorage === "spaces" ? spaces : undefined,
        refuseSwitch: refuseOtherFiles,
      });

const cost = tellCost(
  { size: host.size, volumeSizeGb: host.volumeSizeGb, cluster: cluster?.nodes, usesSpaces },
  offers,
  volumeSnapshots,
);

const owned = { database: databaseName(settings.convex.instanceName), role: ROLES.owner };
// The roles' passwords are made with the databases, which need the server. A move needs them before.
const [passwords, resolvePasswords] = pulumi.deferredOutput<string[]>();
const client = {
  ...owned,
  place: databasePlace(ID, settings.postgres.database),
  ...{ connection, machineId: host.machineId, mountpoint, tunnelPort: tunnel.postgresPort },
  ...{ databases, protectData, onMachine, moveDatabase, passwords: moveDatabase ? passwords : [] },
  refuseRemovalInMove: refuseRemoval,
  refuseOtherShape: refuseOtherDatabase,
};
const postgres =
  used === undefined
    ? new Postgres(ID, {
        ...client,
        cluster,
        volumeSizeGb,
        network: NETWORK,
        postgresPoolSize,
        migratePostgres,
        repository: repository.values,
        onVolume: host.onVolume,
      })
    : new ManagedPostgres(ID, {
        ...client,
        cluster: used,
        authorityFile: pulumi
          .all([host.hostKey, used.authority])
          .apply(([hostKey, pem]) => fileFor(hostKey, "postgres-authority.pem", pem)),
      });
const { address } = postgres;
const inside = { snapshotId, adopted, protectData, address, inCluster: postgres.inCluster };
const database = new Database(ID, { ...owned, ...inside });
const further = furtherDatabases(ID, { databases, ...inside });
resolvePasswords(pulumi.all([database.password, ...(further?.passwords ?? [])]));

const edge = new Edge(ID, {
  ...settings.edge,
  appHosts: settings.apps.apps.flatMap(({ hosts }) => hosts),
  exposure,
  label: label(stack),
  connection,
  machineId: host.machineId,
  mountpoint,
  publicIp: host.publicIp,
  onMachine,
});

const convex = new Convex(ID, {
  ...settings.convex,
  exposure,
  origins: edge.origins,
  connection,
  machineId: host.machineId,
  mountpoint,
  dockerHost: tunnel.dockerHost,
  registries: settings.apps.registries,
  dataDirectory: host.dataDirectory,
  buckets: files?.buckets,
  bucketsInPreview: files?.inPreview ?? [],
  refuseSwitches: [refuseOtherFiles, refuseOtherDatabase],
  network: NETWORK,
  postgresUrl: database.url,
  postgresAddress: address,
  postgresAuthority: postgres.authority,
  postgresPoolSize,
  memoryMb,
  protectData,
  stack,
  runLogged,
  beforeNewImage: safeguard.beforeChange(`${ID}-image`, () => host.volumeId),
  onMachine,
});

const functionEnvironment = new FunctionEnvironment(ID, {
  ...settings.functions,
  connection,
  mountpoint,
  apiPort: exposure.ports.api,
  adminKey: convex.adminKey,
  onMachine,
});

const functions = functionsOf(ID, {
  ...settings.functions,
  connection,
  apiPort: exposure.ports.api,
  instanceName: settings.convex.instanceName,
  adminKey: convex.adminKey,
  source: new AppPackage(settings.functions.functionPackage),
  after: [functionEnvironment],
  onMachine,
  onVolume: host.onVolume,
});

const apps = appsOf(ID, {
  ...settings.apps,
  exposure,
  origins: exposure.originsAt(host.publicIp),
  databaseUrls: further?.urls ?? {},
  postgresAuthority: postgres.authority,
  connection,
  machineId: host.machineId,
  mountpoint,
  network: NETWORK,
  convex: [convex, ...(functions === undefined ? [] : [functions])],
  adminKey: convex.adminKey,
  edge,
  inEngine: convex.inEngine,
  onMachine,
});

new Backups(ID, {
  connection,
  machineId: host.machineId,
  mountpoint,
  repository: repository.values,
  inPreview: repository.inPreview,
  dumped: isManaged ? [owned.database, ...databases.map(({ name }) => name)] : [],
  moveDatabase,
  after: [convex, ...(further === undefined ? [] : [further])],
  onMachine,
});

/** URL of the API, once the backend is healthy: `CONVEX_SELF_HOSTED_URL` */
export const backendUrl = convex.backendUrl;
/** URL of the HTTP actions */
export const siteUrl = convex.siteUrl;
/** URL of the dashboard: at its name, or while `npm run tunnel` runs */
export const dashboardUrl = edge.dashboardUrl;
/** secret; with dashboardAccess password: the password of user convex at dashboardUrl; otherwise empty */
export const dashboardPassword = edge.dashboardPassword;
/** secret; `CONVEX_SELF_HOSTED_ADMIN_KEY`, accepted by the running backend before it is output */
export const adminKey = convex.adminKey;
/** secret; a key for CI and monitoring: reads everything, also variables and data, changes nothing; absent if the backend refused the key that this program made */
export const readOnlyAdminKey = convex.readOnlyAdminKey;
/** secret; the URL of each further database for containers on the droplet, by its name, and of each shadow */
export const databaseUrls = further?.urls ?? {};
/** the URL of each app that is public, once it is healthy and requests reach it */
export const appUrls = apps?.urls ?? {};
/** name of the instance */
export const instanceName = settings.convex.instanceName;
/** what the stack costs a month at list prices, in USD, by part; see [Cost](#cost) */
export const monthlyCost = cost;
/** with a domain: its DNS records, as lines of a zone file */
export const dnsRecords = edge.dnsRecords;
/** address of the droplet: the reserved one, if there is one */
export const publicIp = host.publicIp;
/** command that opens a shell on the droplet */
export const sshCommand = `npm run ssh -- --stack ${stack}`;
/** secret; the deploy key */
export const sshPrivateKey = host.deployKey;
/** the droplet's host key, to pin */
export const sshHostKey = host.hostKey;
