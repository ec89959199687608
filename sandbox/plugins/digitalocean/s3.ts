import http from "node:http";
import net from "node:net";

import type { S3 } from "@aws-sdk/client-s3";

import { type Clock, waitForState } from "../framework/state-change.ts";
import { checkEndpoint } from "./api.ts";

/** The provider's settings for Spaces. */
export interface SpacesSettings {
  spacesAccessId?: string;
  spacesSecretKey?: string;
  /** A URL in which `{{.Region}}` stands for the region. */
  spacesEndpoint: string;
}

/** As the official client: four attempts, and buckets in the host name. */
const ATTEMPTS = 4;
const RETRY_SECONDS = 300;

/**
 * A client for the Spaces of a region. It uses the proxy for HTTP that the environment names, like Go's clients.
 *
 * @throws Error if no key is set, or if requests would leave this computer
 */
export async function s3For(settings: SpacesSettings, region: string): Promise<S3> {
  const { spacesAccessId: accessKeyId, spacesSecretKey: secretAccessKey, spacesEndpoint } = settings;
  if (!accessKeyId || !secretAccessKey) throw new Error("Spaces credentials not configured");
  const endpoint = spacesEndpoint.replaceAll(/\{\{\s*\.Region\s*\}\}/g, region.toLowerCase());
  const proxy = endpoint.startsWith("http:") ? process.env["HTTP_PROXY"] || process.env["http_proxy"] : undefined;
  checkEndpoint(proxy ?? endpoint, proxy === undefined ? "spacesEndpoint" : "HTTP_PROXY");
  // It takes too long to load for operations on other resources.
  const { S3 } = await import("@aws-sdk/client-s3");
  const options = proxy === undefined ? {} : { requestHandler: { httpAgent: throughProxy(new URL(proxy)) } };
  const credentials = { accessKeyId, secretAccessKey };
  return new S3({ ...options, endpoint, region: "us-east-1", credentials, maxAttempts: ATTEMPTS });
}

/** The code of an error answer; empty for other errors. */
export function codeOf(error: unknown): string {
  return isAnswer(error) ? error.name : "";
}

/** Whether Spaces answered 404. */
export function isMissing(error: unknown): boolean {
  return isAnswer(error) && error.$metadata.httpStatusCode === 404;
}

/** Throws an error with the text of the official client. */
export function failedS3(doing: string, after = ""): (error: unknown) => never {
  return (error) => {
    if (!isAnswer(error)) throw new Error(`${doing}: ${String(error)}${after}`, { cause: error });
    const { httpStatusCode, requestId = "", extendedRequestId = "" } = error.$metadata;
    const answer = `status code: ${httpStatusCode}, request id: ${requestId}, host id: ${extendedRequestId}`;
    throw new Error(`${doing}: ${error.name}: ${error.message}\n\t${answer}${after}`, { cause: error });
  };
}

/** Repeats a request for up to five minutes as long as Spaces answer with this code. */
export async function retryOn<T>(clock: Clock, code: string, request: () => Promise<T>): Promise<T> {
  const results: T[] = [];
  let last: unknown;
  const refresh = async () => {
    try {
      results.push(await request());
    } catch (error) {
      if (codeOf(error) !== code) throw error;
      last = error;
    }
    return results.length > 0 ? "success" : "retryableerror";
  };
  const change = { delay: 0, minTimeout: 0.5, timeout: RETRY_SECONDS, pending: ["retryableerror"], target: "success" };
  await waitForState({ ...change, refresh }, clock).catch((error: unknown) => {
    throw codeOf(error) === "" && last !== undefined ? last : error;
  });
  return results[0] as T;
}

interface Answer extends Error {
  $metadata: { httpStatusCode?: number; requestId?: string; extendedRequestId?: string };
}

function isAnswer(error: unknown): error is Answer {
  return error instanceof Error && "$metadata" in error && "$fault" in error;
}

function throughProxy(proxy: URL): http.Agent {
  const agent = new http.Agent();
  agent.createConnection = () => net.connect(Number(proxy.port), proxy.hostname);
  return agent;
}
