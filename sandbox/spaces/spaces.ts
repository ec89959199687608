import http from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import path from "node:path";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import type { SandboxHome } from "../home.ts";
import { S3_ERRORS, sendError, sendXml } from "./errors.ts";
import { cutter, errorOf, type SpacesFault } from "./faults.ts";
import { isAllowed, NEUTRAL_QUERIES } from "./grants.ts";
import { Lifecycles } from "./lifecycle.ts";
import { readRequest, type S3Request } from "./request.ts";
import { endS3Servers, S3Servers, spacesFolder, type SpacesKey } from "./s3-servers.ts";

/** What a proxy must not pass on. */
const HOP_HEADERS = ["connection", "keep-alive", "proxy-connection", "proxy-authorization"];
const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

/** Returns the failure for this request, if there is one, and counts it. `subject` is `/BUCKET/KEY?QUERY`. */
export type TakeFault = (method: string, subject: string, accessKey: string | undefined) => SpacesFault | undefined;

/**
 * Spaces, the S3-compatible storage: a proxy that does what its servers cannot. It leaves host, headers and path as they are,
 * so signatures stay valid, and adds regions, limited keys, lifecycle rules and failures on demand.
 */
export class Spaces implements AsyncDisposable {
  readonly #home: SandboxHome;
  readonly #servers: S3Servers;
  readonly #takeFault: TakeFault;
  readonly #log: (line: string) => void;
  #keys: readonly SpacesKey[] = [];
  #isDown = false;

  constructor(home: SandboxHome, takeFault: TakeFault, log: (line: string) => void) {
    this.#home = home;
    this.#servers = new S3Servers(home, log);
    this.#takeFault = takeFault;
    this.#log = log;
  }

  /** Ends what an earlier process left. */
  async open(): Promise<void> {
    await endS3Servers(this.#home);
  }

  async setKeys(keys: readonly SpacesKey[]): Promise<void> {
    await this.#servers.setKeys(keys);
    this.#keys = keys;
  }

  /** `down` closes each connection until `up`; `kill` kills the S3 servers, and the next request starts them again. */
  control(action: "up" | "down" | "kill"): void {
    if (action !== "up") this.#servers.kill();
    if (action !== "kill") this.#isDown = action === "down";
  }

  /** Serves one request to a host name of Spaces. */
  readonly serve = (request: IncomingMessage, response: ServerResponse): void => {
    this.#serve(request, response).catch((error: unknown) => {
      this.#log(`spaces: ${String(error)}`);
      if (response.headersSent) response.destroy();
      else sendError(response, S3_ERRORS.unavailable);
    });
  };

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#servers.end();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#isDown) return void response.destroy();
    const asked = readRequest(request);
    if (!asked) {
      sendError(response, S3_ERRORS.noRegion);
      return;
    }
    response.once("close", () => {
      const subject = [asked.region, asked.bucket, asked.key].filter((part) => part !== undefined).join("/");
      this.#log(`spaces: ${asked.method} ${subject} ${response.writableFinished ? response.statusCode : "cut"}`);
    });
    const fault = this.#takeFault(asked.method, subjectOf(asked), asked.accessKey);
    if (fault) await sleep(fault.delayMilliseconds);
    const acl = request.headers["x-amz-acl"] ?? "private";
    const error = (fault && errorOf(fault)) ?? this.#refusal(asked, acl);
    if (error) {
      // The client may still send the body, and only then reads the answer.
      request.resume();
      sendError(response, error);
      return;
    }
    if (isAbout(asked, "lifecycle")) {
      return this.#serveItself(asked, request, response, (body) =>
        this.#lifecycles(asked).answer(asked.method, asked.bucket ?? "", body, response),
      );
    }
    if (isAbout(asked, "acl") && asked.method === "PUT") {
      return this.#serveItself(asked, request, response, () => {
        if (request.headers["x-amz-acl"] === "private") response.writeHead(200, { "content-length": 0 }).end();
        else sendError(response, S3_ERRORS.notSimulated);
      });
    }
    const answer = await this.#forward(asked, request, response, fault?.effect === "cut");
    if (answer) await this.#pass(asked, answer, response, fault?.effect === "cut");
  }

  #refusal(asked: S3Request, acl: string | string[]) {
    // The server would ignore it.
    if (acl !== "private" && !isAbout(asked, "acl")) return S3_ERRORS.notSimulated;
    // A form has its key in its body.
    if (asked.method === "POST" && !asked.accessKey) return S3_ERRORS.notSimulated;
    const key = this.#keys.find(({ access_key }) => access_key === asked.accessKey);
    if (key && !isAllowed(key.grants, asked)) return S3_ERRORS.accessDenied;
    const isOfOtherRegion =
      isCreation(asked) && this.#servers.regionsOf(asked.bucket ?? "").some((region) => region !== asked.region);
    return isOfOtherRegion ? S3_ERRORS.bucketTaken : undefined;
  }

  /**
   * Answers a request that versitygw refuses for everybody: lifecycles, which it lacks, and ACLs. It checks key, signature and
   * bucket first.
   */
  async #serveItself(
    asked: S3Request,
    request: IncomingMessage,
    response: ServerResponse,
    answerTo: (body: string) => Promise<void> | void,
  ): Promise<void> {
    const body = Buffer.concat((await request.toArray()) as Buffer[]);
    const copy = Object.assign(new PassThrough(), { headers: request.headers });
    copy.end(body);
    const answer = await this.#forward(asked, copy, response, false);
    if (!answer) return;
    const text = Buffer.concat((await answer.toArray()) as Buffer[]).toString();
    if (/<Code>(NotImplemented|AccessControlListNotSupported)<\/Code>/.test(text)) await answerTo(body.toString());
    else response.writeHead(answer.statusCode ?? 502, withoutHops(answer.headers)).end(text);
  }

  /** @returns undefined if the client has gone, or was cut off */
  async #forward(
    asked: S3Request,
    request: NodeJS.ReadableStream & { headers: IncomingMessage["headers"] },
    response: ServerResponse,
    cut: boolean,
  ): Promise<IncomingMessage | undefined> {
    const socketPath = await this.#servers.socket(asked.region, asked.signedRegion);
    // If the server closed first, Node would fail to end a request that is answered already.
    const headers = { ...withoutHops(request.headers), connection: "keep-alive" };
    const upstream = http.request({ socketPath, method: asked.method, path: asked.target, headers, agent: false });
    response.once("close", () => upstream.destroy());
    const answer = new Promise<IncomingMessage | undefined>((resolve, reject) => {
      upstream.once("response", resolve);
      upstream.once("error", (error) => {
        if (response.destroyed) resolve(undefined);
        else reject(error);
      });
    });
    const sendsBody = asked.method === "PUT" || asked.method === "POST";
    if (cut && sendsBody) request.pipe(cutter(request as IncomingMessage, response)).pipe(upstream);
    else request.pipe(upstream);
    return answer;
  }

  /** Passes the server's answer on, with the bucket's true region. */
  async #pass(asked: S3Request, answer: IncomingMessage, response: ServerResponse, cut: boolean): Promise<void> {
    const status = answer.statusCode ?? 502;
    if (isAbout(asked, "location") && asked.method === "GET" && status === 200) {
      answer.resume();
      sendXml(response, 200, `<LocationConstraint ${NAMESPACE}>${asked.region}</LocationConstraint>`);
      return;
    }
    if (asked.method === "DELETE" && isBucketItself(asked) && status === 204) {
      await this.#lifecycles(asked).forget(asked.bucket ?? "");
    }
    const headers = withoutHops(answer.headers);
    if (headers["x-amz-bucket-region"] !== undefined) headers["x-amz-bucket-region"] = asked.region;
    response.writeHead(status, headers);
    answer.once("error", () => response.destroy());
    if (cut) answer.pipe(cutter(answer, response)).pipe(response);
    else answer.pipe(response);
  }

  #lifecycles({ region }: S3Request): Lifecycles {
    return new Lifecycles(path.join(spacesFolder(this.#home), region, "lifecycles"));
  }
}

/** What the path of a fault is compared with. */
function subjectOf({ bucket = "", key, query }: S3Request): string {
  const search = [...query].filter(([name]) => !NEUTRAL_QUERIES.test(name)).map(([name, value]) => `${name}=${value}`);
  return `/${bucket}${key === undefined ? "" : `/${key}`}${search.length > 0 ? `?${search.join("&")}` : ""}`;
}

function isAbout(asked: S3Request, subresource: string): boolean {
  return asked.bucket !== undefined && asked.key === undefined && asked.query.has(subresource);
}

/** Whether it is about a bucket, but not about one of its settings. */
function isBucketItself({ bucket, key, query }: S3Request): boolean {
  return bucket !== undefined && key === undefined && [...query.keys()].every((name) => NEUTRAL_QUERIES.test(name));
}

function isCreation(asked: S3Request): boolean {
  return asked.method === "PUT" && isBucketItself(asked);
}

function withoutHops(headers: IncomingMessage["headers"]): IncomingMessage["headers"] {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_HEADERS.includes(name)));
}
