import { unsupported } from "../framework/definition.ts";
import type { Plugin } from "../framework/definition.ts";
import { certRequest } from "./cert-request.ts";
import { locallySignedCert } from "./locally-signed-cert.ts";
import { privateKey } from "./private-key.ts";
import { selfSignedCert } from "./self-signed-cert.ts";

/** Stand-in for the plugin `tls`: keys and certificates that are made once and kept. */
export const tls: Plugin<undefined> = {
  name: "tls",
  kind: "framework",
  config: unsupported("proxy"),
  configure: () => undefined,
  resources: {
    "tls:index/privateKey:PrivateKey": privateKey,
    "tls:index/certRequest:CertRequest": certRequest,
    "tls:index/selfSignedCert:SelfSignedCert": selfSignedCert,
    "tls:index/locallySignedCert:LocallySignedCert": locallySignedCert,
  },
};
