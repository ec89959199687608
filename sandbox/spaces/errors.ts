import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";

/** An error answer of Spaces: status, code and text, as clients know them. */
export interface S3Error {
  status: number;
  code: string;
  message: string;
}

export const S3_ERRORS = {
  accessDenied: { status: 403, code: "AccessDenied", message: "Access Denied" },
  badXml: {
    ...{ status: 400, code: "MalformedXML" },
    message: "The XML you provided was not well-formed or did not validate against our published schema",
  },
  bucketTaken: {
    ...{ status: 409, code: "BucketAlreadyExists" },
    message: "The requested bucket name is not available.",
  },
  expired: { status: 400, code: "ExpiredToken", message: "The provided token has expired." },
  full: { status: 403, code: "QuotaExceeded", message: "The storage quota is exceeded." },
  internal: { status: 500, code: "InternalError", message: "We encountered an internal error. Please try again." },
  noLifecycle: {
    ...{ status: 404, code: "NoSuchLifecycleConfiguration" },
    message: "The lifecycle configuration does not exist",
  },
  noRegion: { status: 404, code: "NoSuchHost", message: "No region has this host name." },
  notSimulated: { status: 501, code: "NotImplemented", message: "Not simulated by the sandbox." },
  refused: {
    ...{ status: 403, code: "InvalidAccessKeyId" },
    message: "The AWS Access Key Id you provided does not exist in our records.",
  },
  unavailable: { status: 503, code: "ServiceUnavailable", message: "Please reduce your request rate." },
} satisfies Record<string, S3Error>;

export function sendError(response: ServerResponse, { status, code, message }: S3Error): void {
  const id = randomUUID();
  sendXml(
    response,
    status,
    `<Error><Code>${code}</Code><Message>${message}</Message><RequestId>${id}</RequestId><HostId>sandbox</HostId></Error>`,
  );
}

export function sendXml(response: ServerResponse, status: number, xml: string): void {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n${xml}`;
  response.writeHead(status, { "content-type": "application/xml", "content-length": Buffer.byteLength(body) });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
