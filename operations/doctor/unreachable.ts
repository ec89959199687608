import dns from "node:dns/promises";
import { isIP } from "node:net";

import { RESOURCES } from "../../contract/names.ts";
import type { DeclaredEdge } from "../findings/expected.ts";
import { RUN_EDGE, repairText } from "../findings/repair.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { npmCommand } from "../typed.ts";
import type { Problem } from "./check.ts";

/** Why something fails, and the fix. */
export type Explanation = Pick<Problem, "cause" | "cure">;

/** The stack whose URLs are asked. */
export interface Asked {
  stack: string;
  /** Undefined without names. */
  edge: DeclaredEdge | undefined;
}

/** Explains by the error of a request why a URL does not answer. Looks up its name from this computer. */
export async function explain(url: string, failure: unknown, asked: Asked): Promise<Explanation> {
  const { hostname, protocol } = new URL(url);
  if (hostname === "127.0.0.1") {
    return {
      cause: "it is reachable only through a tunnel, and no tunnel is open",
      cure: npmCommand(asked.stack, "tunnel"),
    };
  }
  return (
    (await leadsAstray(hostname, asked)) ??
    (protocol === "https:" ? explainTls(hostname, codeOf(failure), asked) : undefined) ??
    closed(url, codeOf(failure), asked)
  );
}

/** If a name cannot be looked up from here, or is one of the stack's and leads elsewhere: why, and the fix. */
export async function leadsAstray(host: string, { stack, edge }: Asked): Promise<Explanation | undefined> {
  if (isIP(host.replaceAll(/[[\]]/g, "")) !== 0) return undefined;
  const isOwn = edge?.hosts.includes(host) === true;
  const record = `the record A ${host}${isOwn ? ` ${edge.address}` : ""}`;
  const found = await dns.lookup(host, { all: true }).catch((error: unknown) => codeOf(error) ?? "ENOTFOUND");
  if (found === "EAI_AGAIN") {
    return {
      cause: "this computer's name servers do not answer",
      cure: `check this computer's network: nslookup ${host}`,
    };
  }
  if (typeof found === "string") {
    return {
      cause: "the name has no record, or this computer's name server does not know it yet",
      cure: `if it is new, wait some minutes; otherwise make ${record}: see what ${npmCommand(stack, "drift")} reports about it`,
    };
  }
  // A network with IPv6 only makes the other addresses from the IPv4 ones.
  const others = found
    .map(({ address }) => address)
    .filter((address) => address !== edge?.address && !address.startsWith("64:ff9b:"));
  if (!isOwn || edge.hasProxies || others.length === 0) return undefined;
  return {
    cause: `from here, the name leads to ${others.join(" and ")}, it should lead only to ${edge.address}`,
    cure: `see what ${npmCommand(stack, "drift")} reports about edge.names[${host}]. If nothing, wait some minutes until this computer's name server forgets the former address`,
  };
}

const CLOCK = "set this computer's clock";

/** The codes of Node and OpenSSL. Undefined if the failure is not about TLS. */
function explainTls(host: string, code: string | undefined, { stack, edge }: Asked): Explanation | undefined {
  const isOwn = edge?.hosts.includes(host) === true && !edge.hasProxies;
  const renewal = isOwn ? repairText(stack, RUN_EDGE) : `renew it at the proxy that serves ${host}`;
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return { cause: "its certificate has expired, or this computer's clock is wrong", cure: renewal };
    case "CERT_NOT_YET_VALID":
      return { cause: "this computer's clock is behind: the certificate is not valid yet", cure: CLOCK };
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return {
        cause:
          "this computer does not trust the certificate: it is from a private or a staging authority, or something between here and the droplet replaces it",
        cure:
          "for a private authority: export NODE_EXTRA_CA_CERTS=authority.pem, also for apps on Node; " +
          `for a public one: ${pulumiCommand(stack, "config rm", "acmeDirectory")} && ${pulumiCommand(stack, "up")}`,
      };
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        cause: "its certificate is for other names: another server or a proxy answers, or the certificate is old",
        cure: isOwn ? renewal : `get a certificate for ${host} at the proxy that serves it`,
      };
    case "ERR_SSL_TLSV1_UNRECOGNIZED_NAME":
    case "ERR_SSL_SSL/TLS_ALERT_UNRECOGNIZED_NAME":
      return { cause: "the server that answers does not serve this name", cure: renewal };
    default:
      return undefined;
  }
}

function closed(url: string, code: string | undefined, { stack, edge }: Asked): Explanation {
  const { hostname, protocol, port } = new URL(url);
  const isOwn = edge?.hosts.includes(hostname) === true;
  const drift = npmCommand(stack, "drift");
  if (protocol === "https:" && code === "ECONNREFUSED") {
    return isOwn && !edge.hasProxies
      ? { cause: "nothing listens at port 443: nginx is stopped", cure: repairText(stack, RUN_EDGE) }
      : {
          cause: `nothing listens at port ${port === "" ? 443 : port}`,
          cure: `start the proxy that serves ${hostname}`,
        };
  }
  if (isOwn) {
    return {
      cause: "port 443 is closed to this computer: allowedCidrs does not include it, or a firewall was changed",
      cure: `see what ${drift} reports about cloud.${RESOURCES.httpsFirewall} and cloud.${RESOURCES.reservedIp}; if allowedCidrs is set, add this computer's network to it`,
    };
  }
  return {
    cause:
      "if all checks before this one are ok: allowedCidrs does not include this computer, the name leads elsewhere, or the firewall was changed",
    cure: `see what ${drift} reports about cloud.${RESOURCES.publicFirewall}; to add a network: ${pulumiCommand(stack, "config set", "--path 'allowedCidrs[0]' NETWORK")}`,
  };
}

/** Node puts the reason of a failed fetch into the error's cause. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return "code" in error && typeof error.code === "string" ? error.code : codeOf(error.cause);
}
