import { expect, test } from "vitest";
import { checkEndpoint } from "../../sandbox/plugins/digitalocean/api.ts";
import { getSizes } from "../../sandbox/plugins/digitalocean/sizes.ts";
import { dnsRecord } from "../../sandbox/plugins/digitalocean/dns-record.ts";
import { domain } from "../../sandbox/plugins/digitalocean/domain.ts";
import { droplet } from "../../sandbox/plugins/digitalocean/droplet.ts";
import { firewall } from "../../sandbox/plugins/digitalocean/firewall.ts";
import { digitalocean } from "../../sandbox/plugins/digitalocean/plugin.ts";
import { project } from "../../sandbox/plugins/digitalocean/project.ts";
import { projectResources } from "../../sandbox/plugins/digitalocean/project-resources.ts";
import { reservedIp } from "../../sandbox/plugins/digitalocean/reserved-ip.ts";
import { reservedIpAssignment } from "../../sandbox/plugins/digitalocean/reserved-ip-assignment.ts";
import { spacesBucket } from "../../sandbox/plugins/digitalocean/spaces-bucket.ts";
import { spacesKey } from "../../sandbox/plugins/digitalocean/spaces-key.ts";
import { sshKey } from "../../sandbox/plugins/digitalocean/ssh-key.ts";
import { volume } from "../../sandbox/plugins/digitalocean/volume.ts";
import { volumeSnapshot } from "../../sandbox/plugins/digitalocean/volume-snapshot.ts";
import { expectSdkArguments, expectSdkProperties } from "./plugin-declarations.ts";

test.each([
  ["dnsRecord", "DnsRecord", dnsRecord],
  ["domain", "Domain", domain],
  ["droplet", "Droplet", droplet],
  ["firewall", "Firewall", firewall],
  ["project", "Project", project],
  ["projectResources", "ProjectResources", projectResources],
  ["reservedIp", "ReservedIp", reservedIp],
  ["reservedIpAssignment", "ReservedIpAssignment", reservedIpAssignment],
  ["spacesBucket", "SpacesBucket", spacesBucket],
  ["spacesKey", "SpacesKey", spacesKey],
  ["sshKey", "SshKey", sshKey],
  ["volume", "Volume", volume],
  ["volumeSnapshot", "VolumeSnapshot", volumeSnapshot],
])("%s has the properties of the npm SDK", (module, className, resource) => {
  expectSdkProperties(resource, "digitalocean", module, className);
});

test("the provider and its function have the arguments of the npm SDK", () => {
  expectSdkArguments(digitalocean().config, "digitalocean", "provider", "ProviderArgs");
  expectSdkArguments(getSizes.inputs, "digitalocean", "getSizes", "GetSizesArgs");
});

test.each(["http://127.0.0.1:8080", "http://127.9.8.7", "http://localhost:1", "http://[::1]:1"])(
  "reaches %s",
  (own) => {
    expect(() => {
      checkEndpoint(own);
    }).not.toThrow();
  },
);

test.each(["https://api.digitalocean.com", "http://10.0.0.1", "http://127.0.0.1.example.com", "http://128.0.0.1", "x"])(
  "refuses to reach %s",
  (endpoint) => {
    expect(() => {
      checkEndpoint(endpoint);
    }).toThrow(
      `apiEndpoint: ${endpoint} is not an address of this computer, it should be the sandbox's cloud simulator (http://127.0.0.1:PORT).`,
    );
  },
);
