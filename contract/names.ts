/**
 * The names of an instance's parts, for program, machine, drift, doctor and tests. All derive from one id, so another id makes
 * another instance. Never rename one without need, because to the engine, a resource with another name is another resource.
 */
export const ID = "convex";

/** Logical names of the resources that are used outside of their component. */
export const RESOURCES = {
  deployKey: `${ID}-deploy-key`,
  hostKey: `${ID}-host-key`,
  sshKey: `${ID}-ssh-key`,
  volume: `${ID}-volume`,
  droplet: `${ID}-droplet`,
  firewall: `${ID}-firewall`,
  publicFirewall: `${ID}-public-firewall`,
  httpsFirewall: `${ID}-https-firewall`,
  reservedIp: `${ID}-reserved-ip`,
  project: `${ID}-project`,
  scripts: `${ID}-scripts`,
  setup: `${ID}-setup`,
  authority: `${ID}-postgres-authority`,
  certificate: `${ID}-postgres-certificate`,
  server: `${ID}-server`,
  cluster: `${ID}-cluster`,
  clusterFirewall: `${ID}-cluster-firewall`,
  databaseClient: `${ID}-database-client`,
  edge: `${ID}-edge`,
  postgresql: `${ID}-provider`,
  role: `${ID}-role`,
  password: `${ID}-password`,
  database: `${ID}-database`,
  privacy: `${ID}-privacy`,
  network: `${ID}-network`,
  backend: `${ID}-backend`,
  dashboard: `${ID}-dashboard`,
  buckets: `${ID}-buckets`,
  rehearsal: `${ID}-rehearsal`,
  acceptance: `${ID}-acceptance`,
  backupPassphrase: `${ID}-backup-passphrase`,
  backups: `${ID}-backups`,
  functionEnvironment: `${ID}-function-environment`,
  functions: `${ID}-functions`,
  apps: `${ID}-apps`,
} as const;

/** The containers of an instance, as Docker knows them. */
export function containersOf(id: string): { backend: string; dashboard: string } {
  return { backend: `${id}-backend`, dashboard: `${id}-dashboard` };
}
export const CONTAINERS = containersOf(ID);

/** Logical name of an app's container. Its name at Docker has the version's digits behind it. */
export function appResource(id: string, app: string): string {
  return `${id}-app-${app}`;
}

/** The app that a container belongs to, by its name at Docker; undefined if it is none. */
export function appOf(id: string, container: string): string | undefined {
  return new RegExp(`^${id}-app-(.+)-[0-9a-f]{6}$`).exec(container)?.[1];
}

/** Logical name of a job, and the name of its container at Docker while it runs. */
export function jobResource(id: string, job: string): string {
  return `${id}-job-${job}`;
}

/** The job that a container runs, by its name at Docker; undefined if it is none. */
export function jobOf(id: string, container: string): string | undefined {
  return new RegExp(`^${id}-job-(.+)$`).exec(container)?.[1];
}

/** The app for which a container runs a command once, by its name at Docker; undefined if it is none. */
export function taskOf(id: string, container: string): string | undefined {
  return new RegExp(`^${id}-task-(.+)-[0-9a-f]{6}$`).exec(container)?.[1];
}

/** The port of a public app at its version's own loopback address. Its port in the container may be one that others have on the droplet. */
export const APP_PORT = 8080;

/** The containers' network: PostgreSQL admits its subnet, and listens at its gateway, which is the droplet itself. */
export interface ContainerNetwork {
  name: string;
  /** In CIDR notation. */
  subnet: string;
  gateway: string;
}
export const NETWORK: ContainerNetwork = { name: ID, subnet: "172.30.0.0/24", gateway: "172.30.0.1" };

/** Ports inside the containers, fixed by their images. */
export const PORTS = { api: 3210, site: 3211, dashboard: 6791 } as const;

/** PostgreSQL's roles: the backend's own one owns its database and nothing else, the stack's tools use the administrator. */
export function rolesOf(id: string): { owner: string; administrator: string } {
  return { owner: id, administrator: `${id}_admin` };
}
export const ROLES = rolesOf(ID);

/** Logical name of a further database. Those of its role, password, shadow and grants begin with it. */
export function furtherDatabase(id: string, database: string): string {
  return `${id}-database-${database}`;
}

/** The database that a Convex backend of this name opens: dashes become underscores. */
export function databaseName(instanceName: string): string {
  return instanceName.replaceAll("-", "_");
}

/**
 * The name of a stack's droplet, firewall and project in the DigitalOcean account, which accepts lower-case letters, digits and
 * dashes.
 */
export function label(stack: string): string {
  const name = `${ID}-${stack}`.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-");
  return name.slice(0, 50).replace(/-+$/, "");
}

/** On the droplet: the certificate that PostgreSQL's clients trust. */
export const AUTHORITY_FILE = "/etc/convex-droplet/postgres-authority.pem";

/** On the droplet: the volume's mount point, and the folder for the backend's files. */
export const MOUNTPOINT = `/mnt/${ID}`;
export const DATA = `${MOUNTPOINT}/data`;

/** The containers' name for the droplet itself, and the port of PostgreSQL there. */
export const HOST_IN_CONTAINERS = "host.docker.internal";
export const POSTGRES_PORT = 5432;

/** Types of the resources that are searched for in a stack's state. */
export const TYPES = {
  droplet: "digitalocean:index/droplet:Droplet",
  firewall: "digitalocean:index/firewall:Firewall",
  reservedIp: "digitalocean:index/reservedIp:ReservedIp",
  record: "digitalocean:index/dnsRecord:DnsRecord",
  volume: "digitalocean:index/volume:Volume",
  cluster: "digitalocean:index/databaseCluster:DatabaseCluster",
  spacesKey: "digitalocean:index/spacesKey:SpacesKey",
  key: "tls:index/privateKey:PrivateKey",
  command: "command:remote:Command",
  container: "docker:index/container:Container",
  network: "docker:index/network:Network",
  postgresql: "pulumi:providers:postgresql",
  role: "postgresql:index/role:Role",
  database: "postgresql:index/database:Database",
} as const;
