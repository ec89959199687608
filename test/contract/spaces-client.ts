import http from "node:http";
import net from "node:net";

import { S3Client } from "@aws-sdk/client-s3";

import type { TestCloud } from "./cloud-harness.ts";
import { textOf } from "./cloud-harness.ts";

export interface Key {
  accessKeyId: string;
  secretAccessKey: string;
}

export interface ClientOptions {
  region?: string;
  signedRegion?: string;
  forcePathStyle?: boolean;
}

/** Creates a key of Spaces with these grants; without any, one with full access. */
export async function newKey(cloud: TestCloud, ...grants: { bucket: string; permission: string }[]): Promise<Key> {
  const given = grants.length > 0 ? grants : [{ bucket: "", permission: "fullaccess" }];
  const { body, status } = await cloud.call("POST", "/v2/spaces/keys", { name: "key", grants: given });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return { accessKeyId: textOf(body.key?.access_key), secretAccessKey: textOf(body.key?.secret_key) };
}

/** A client that uses the cloud's API as its proxy for the names of Spaces. */
export function s3Client(cloud: TestCloud, credentials: Key, options: ClientOptions = {}): S3Client {
  const { region = "nyc3", signedRegion = "us-east-1", forcePathStyle = true } = options;
  const agent = new http.Agent();
  agent.createConnection = () => net.connect(Number(new URL(cloud.url).port), "127.0.0.1");
  return new S3Client({
    endpoint: `http://${region}.digitaloceanspaces.com`,
    region: signedRegion,
    credentials,
    forcePathStyle,
    requestHandler: { httpAgent: agent },
    maxAttempts: 1,
  });
}
