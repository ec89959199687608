import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey, sign, verify } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";
import { beforeEach, describe, expect, it } from "vitest";

import { jwks, jwtPrivateKey } from "../../components/auth-keys.ts";
import { FunctionEnvironment, type FunctionEnvironmentArgs } from "../../components/function-environment.ts";
import { configure, mockEngine, type Registered } from "./program.ts";
import { valueIn } from "../../contract/scripts.ts";

/** The engine protocol's mark of a secret. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";

const PAIR = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});

let registered: Registered[];

beforeEach(async () => {
  configure();
  registered = await mockEngine(({ type }) =>
    type === "tls:index/privateKey:PrivateKey"
      ? { privateKeyPemPkcs8: PAIR.privateKey, publicKeyPem: PAIR.publicKey }
      : {},
  );
});

/** The inputs of a deployed environment's resources, by logical name. */
async function deploy(args: Partial<FunctionEnvironmentArgs>): Promise<Record<string, Record<string, unknown>>> {
  const droplet = new pulumi.ComponentResource("test:index:Droplet", "droplet");
  new FunctionEnvironment("convex", {
    connection: pulumi.secret({ host: "192.0.2.1" }),
    mountpoint: "/mnt/convex",
    apiPort: 4210,
    adminKey: pulumi.secret("name|01ab"),
    functionEnvironment: {},
    authKeys: false,
    onMachine: { deletedWith: droplet, replaceWith: [droplet] },
    ...args,
  });
  await pulumi.runtime.disconnect();
  return Object.fromEntries(
    registered
      .filter(({ type }) => !type.startsWith("test:"))
      .map(({ name, inputs }) => [name, inputs as Record<string, unknown>]),
  );
}

/** The script's values on stdin, which must be secret. */
function told({ "convex-function-environment": run }: Record<string, Record<string, unknown>>): unknown {
  const stdin = run?.["stdin"] as Record<string, unknown> | undefined;
  expect(stdin).toHaveProperty(SIGNATURE);
  const told = String(stdin?.["value"]);
  return { key: valueIn(told, "key"), variables: JSON.parse(valueIn(told, "variables")) as unknown };
}

describe("FunctionEnvironment", () => {
  it("registers exactly its children, and the key only if authKeys is set", async () => {
    expect(Object.keys(await deploy({})).sort()).toEqual(["convex", "convex-function-environment"]);
    registered.length = 0;
    expect(Object.keys(await deploy({ authKeys: true })).sort()).toEqual([
      "convex",
      "convex-auth-key",
      "convex-function-environment",
    ]);
  });

  it("passes the variables to the machine on stdin, as a secret, sorted, with nothing on the command line", async () => {
    const resources = await deploy({ functionEnvironment: { B: pulumi.secret("two\nlines"), A: pulumi.secret("1") } });
    const { stdin, create, delete: remove } = resources["convex-function-environment"] ?? {};
    expect(told(resources)).toEqual({ key: "name|01ab", variables: { A: "1", B: "two\nlines" } });
    expect((stdin as { value: string }).value).toBe(
      'port=4210\nmountpoint=/mnt/convex\nkey=name|01ab\nvariables={"A":"1","B":"two\\nlines"}\n',
    );
    expect(create).toMatch(/^bash \/usr\/local\/lib\/convex-droplet\/functions\/environment\.sh # [0-9a-f]{12}$/);
    // The script itself finds what to remove, because the engine may skip a deletion.
    expect(remove).toBeUndefined();
  });

  it("generates the two variables of Convex Auth, in addition to those that are set", async () => {
    const resources = await deploy({
      authKeys: true,
      functionEnvironment: { SITE_URL: pulumi.secret("https://example.com") },
    });
    expect(resources["convex-auth-key"]).toEqual({ algorithm: "RSA", rsaBits: 2048 });
    expect(told(resources)).toEqual({
      key: "name|01ab",
      variables: {
        JWKS: jwks(PAIR.publicKey),
        JWT_PRIVATE_KEY: jwtPrivateKey(PAIR.privateKey),
        SITE_URL: "https://example.com",
      },
    });
  });
});

describe("the keys of Convex Auth", () => {
  it("are a pair: one signs, the other verifies", () => {
    const pem = jwtPrivateKey(PAIR.privateKey);
    const { keys } = JSON.parse(jwks(PAIR.publicKey)) as { keys: JsonWebKey[] };
    // As Convex Auth's library reads it: the text between the marks, without spaces.
    const der = Buffer.from(pem.replace(/-----(BEGIN|END) PRIVATE KEY-----|\s/g, ""), "base64");
    const signature = sign(
      "sha256",
      Buffer.from("token"),
      createPrivateKey({ key: der, format: "der", type: "pkcs8" }),
    );
    expect(keys).toHaveLength(1);
    const key = createPublicKey({ key: keys[0] ?? {}, format: "jwk" });
    expect(verify("sha256", Buffer.from("token"), key, signature)).toBe(true);
  });

  it("have the private key on one line, between its marks", () => {
    expect(jwtPrivateKey(PAIR.privateKey)).toMatch(/^-----BEGIN PRIVATE KEY----- [\w+/= ]+ -----END PRIVATE KEY-----$/);
  });

  it("have the public key with use, algorithm and its thumbprint as id", () => {
    // The key and the thumbprint of RFC 7638, section 3.1.
    const n =
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    const pem = createPublicKey({ key: { kty: "RSA", n, e: "AQAB" }, format: "jwk" }).export({
      type: "spki",
      format: "pem",
    });
    expect(JSON.parse(jwks(pem.toString()))).toEqual({
      keys: [
        { use: "sig", alg: "RS256", kid: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", kty: "RSA", n, e: "AQAB" },
      ],
    });
  });
});
