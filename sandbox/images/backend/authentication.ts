import { readAdminKey, type AdminKeyClaims } from "./admin-key.ts";
import { ApiError } from "./api-error.ts";
import { log } from "./log.ts";

/** Undefined for an anonymous caller. */
export type Identity = AdminKeyClaims | undefined;

/** The operations of a read-only key; a full key has an empty list, which means all. */
export const READ_ONLY_OPERATIONS = [
  "ViewEnvironmentVariables",
  "ViewLogs",
  "ViewMetrics",
  "ViewIntegrations",
  "ViewData",
  "ViewBackups",
  "DownloadBackups",
  "RunInternalQueries",
  "RunTestQuery",
  "ViewAuditLog",
  "ViewUsageLimits",
  "ViewUsage",
];

const SCHEME = "convex ";

/**
 * Reads the key from `Authorization: Convex <key>` or `?adminKey=`. Without a key, the caller is anonymous.
 *
 * @throws ApiError if the key is wrong
 */
export function authenticate(request: Request, instanceName: string, secret: Uint8Array): Identity {
  const key = adminKeyOf(request);
  return key === undefined ? undefined : authenticateKey(key, instanceName, secret);
}

/** Reads a key that is not in a request's header or query. */
export function authenticateKey(key: string, instanceName: string, secret: Uint8Array): AdminKeyClaims {
  try {
    const claims = readAdminKey(key, instanceName, secret);
    const who = claims.identity.kind === "member" ? `MemberId(${claims.identity.memberId})` : "System";
    log.info(`Admin key accepted from ${who} at ${new Date().toISOString()} for ${instanceName}`);
    return claims;
  } catch {
    throw new ApiError(401, "BadAdminKey", "The provided admin key was invalid for this instance");
  }
}

/** Refuses anonymous callers and system keys, with the same text as the real backend. */
export function requireAdmin(identity: Identity): AdminKeyClaims {
  if (identity?.identity.kind === "member") return identity;
  throw new ApiError(
    403,
    "BadDeployKey",
    "The provided deploy key was invalid for this deployment. " +
      "Double check that the environment this key was generated for matches the desired deployment.",
  );
}

export function requireWriteAccess(identity: Identity): void {
  if (requireAdmin(identity).isReadOnly)
    throw new ApiError(403, "ReadOnlyAdminKey", "You do not have permission to perform this operation.");
}

function adminKeyOf(request: Request): string | undefined {
  const header = request.headers.get("authorization");
  if (header === null) return new URL(request.url).searchParams.get("adminKey") ?? undefined;
  const credentials = header.slice(SCHEME.length);
  if (header.length < SCHEME.length || !header.toLowerCase().startsWith(SCHEME))
    throw new ApiError(400, "InvalidHeaderFailure", "Invalid authentication header");
  // `<name>|<hex>:<base64>` acts as a user; the built-in functions do not depend on which.
  return credentials.replace(/(\|[^:]*):.*$/, "$1");
}
