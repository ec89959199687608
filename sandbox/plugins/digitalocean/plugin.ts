import { unsupported, type Plugin } from "../framework/definition.ts";
import { type Clock, systemClock } from "../framework/state-change.ts";
import { Api, type ApiSettings } from "./api.ts";
import { getSizes } from "./sizes.ts";
import type { Client } from "./client.ts";
import { getDatabaseCa } from "./database-ca.ts";
import { databaseCluster } from "./database-cluster.ts";
import { databaseFirewall } from "./database-firewall.ts";
import { dnsRecord } from "./dns-record.ts";
import { domain } from "./domain.ts";
import { droplet } from "./droplet.ts";
import { firewall } from "./firewall.ts";
import { project } from "./project.ts";
import { projectResources } from "./project-resources.ts";
import { reservedIp } from "./reserved-ip.ts";
import { reservedIpAssignment } from "./reserved-ip-assignment.ts";
import type { SpacesSettings } from "./s3.ts";
import { spacesBucket } from "./spaces-bucket.ts";
import { spacesKey } from "./spaces-key.ts";
import { sshKey } from "./ssh-key.ts";
import { volume } from "./volume.ts";
import { volumeSnapshot } from "./volume-snapshot.ts";

/**
 * Stand-in for the plugin `digitalocean`, for the sandbox's cloud simulator only: any other endpoint is refused.
 *
 * @param clock measures the waits
 */
export function digitalocean(clock: Clock = systemClock): Plugin<Client> {
  return {
    name: "digitalocean",
    kind: "bridged",
    config: {
      // Not marked as a secret here: the SDK or the stack's configuration marks it.
      token: { type: "string", env: ["DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"] },
      apiEndpoint: { type: "string", env: ["DIGITALOCEAN_API_URL"], default: "https://api.digitalocean.com" },
      httpRetryMax: { type: "integer", env: ["DIGITALOCEAN_HTTP_RETRY_MAX"], default: 4 },
      httpRetryWaitMin: { type: "number", env: ["DIGITALOCEAN_HTTP_RETRY_WAIT_MIN"], default: 1 },
      httpRetryWaitMax: { type: "number", env: ["DIGITALOCEAN_HTTP_RETRY_WAIT_MAX"], default: 30 },
      spacesAccessId: { type: "string", env: ["SPACES_ACCESS_KEY_ID"] },
      spacesSecretKey: { type: "string", env: ["SPACES_SECRET_ACCESS_KEY"] },
      spacesEndpoint: {
        ...{ type: "string", env: ["SPACES_ENDPOINT_URL"] },
        default: "https://{{.Region}}.digitaloceanspaces.com",
      },
      ...unsupported("requestsPerSecond"),
    },
    configure: (settings) => ({
      api: new Api(settings as unknown as ApiSettings, clock),
      spaces: settings as unknown as SpacesSettings,
      clock,
    }),
    resources: {
      "digitalocean:index/databaseCluster:DatabaseCluster": databaseCluster,
      "digitalocean:index/databaseFirewall:DatabaseFirewall": databaseFirewall,
      "digitalocean:index/dnsRecord:DnsRecord": dnsRecord,
      "digitalocean:index/domain:Domain": domain,
      "digitalocean:index/droplet:Droplet": droplet,
      "digitalocean:index/firewall:Firewall": firewall,
      "digitalocean:index/project:Project": project,
      "digitalocean:index/projectResources:ProjectResources": projectResources,
      "digitalocean:index/reservedIp:ReservedIp": reservedIp,
      "digitalocean:index/reservedIpAssignment:ReservedIpAssignment": reservedIpAssignment,
      "digitalocean:index/spacesBucket:SpacesBucket": spacesBucket,
      "digitalocean:index/spacesKey:SpacesKey": spacesKey,
      "digitalocean:index/sshKey:SshKey": sshKey,
      "digitalocean:index/volume:Volume": volume,
      "digitalocean:index/volumeSnapshot:VolumeSnapshot": volumeSnapshot,
    },
    functions: {
      "digitalocean:index/getDatabaseCa:getDatabaseCa": getDatabaseCa,
      "digitalocean:index/getSizes:getSizes": getSizes,
    },
  };
}
