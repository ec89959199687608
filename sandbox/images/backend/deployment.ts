import { createHmac, timingSafeEqual } from "node:crypto";
import { deriveKey } from "./admin-key.ts";
import { ApiError } from "./api-error.ts";
import type { Options } from "./options.ts";
import type { Persistence, StoredDocument, Write } from "./persistence.ts";
import { Pushes } from "./pushes.ts";
import type { FileStorage, StoredFile } from "./stored-files.ts";

export interface CanonicalUrls {
  convexCloudUrl: string;
  convexSiteUrl: string;
}

/** As stored. A type, because TypeScript does not accept an interface as JSON. */
export type EnvironmentVariable = { name: string; value: string };

export interface EnvironmentChange {
  name: string;
  /** `null` deletes the variable. */
  value: string | null;
}

type FileDocument = StoredFile & { contentType: string | null };

const ENVIRONMENT = "_environment_variables";
const STATE = "_backend_state";
const URLS = "_canonical_urls";
const FILES = "_file_storage";

const BUILT_IN_VARIABLES = ["CONVEX_CLOUD_URL", "CONVEX_SITE_URL"];
const UPLOAD_URL_VALIDITY_MS = 60 * 60 * 1000;

/** What the deployment stores besides its users' tables, each kind in its own documents. */
export class Deployment {
  readonly instanceName: string;
  readonly secret: Uint8Array;
  readonly persistence: Persistence;
  readonly pushes: Pushes;
  readonly #files: FileStorage;
  readonly #options: Pick<Options, "cloudOrigin" | "siteOrigin">;

  constructor(
    identity: { instanceName: string; secret: Uint8Array },
    options: Pick<Options, "cloudOrigin" | "siteOrigin">,
    persistence: Persistence,
    files: FileStorage,
  ) {
    this.instanceName = identity.instanceName;
    this.secret = identity.secret;
    this.#options = options;
    this.persistence = persistence;
    this.pushes = new Pushes(persistence);
    this.#files = files;
  }

  /** The variables that users set; functions also see the built-in ones. */
  async environmentVariables(): Promise<Record<string, string>> {
    const variables = await this.environmentDocuments();
    return Object.fromEntries(variables.map(({ value: { name, value } }) => [name, value]));
  }

  async environmentDocuments(): Promise<(StoredDocument & { value: EnvironmentVariable })[]> {
    return (await this.persistence.list(ENVIRONMENT)) as (StoredDocument & { value: EnvironmentVariable })[];
  }

  async updateEnvironmentVariables(changes: EnvironmentChange[]): Promise<void> {
    const writes: Write[] = changes.map(({ name, value }) => {
      if (!/^[A-Za-z_][A-Za-z0-9_]{0,39}$/.test(name))
        throw new ApiError(400, "EnvironmentVariableNameInvalid", `Environment variable name "${name}" is not valid`);
      if (BUILT_IN_VARIABLES.includes(name))
        throw new ApiError(
          400,
          "EnvVarNameForbidden",
          `Environment variable with name "${name}" is built-in and cannot be overridden`,
        );
      return { table: ENVIRONMENT, key: name, value: value === null ? null : { name, value } };
    });
    await this.persistence.commit(writes);
  }

  async isPaused(): Promise<boolean> {
    return (await this.persistence.get(STATE, "state")) === "paused";
  }

  async setPaused(paused: boolean): Promise<void> {
    if (!paused && !(await this.isPaused()))
      throw new ApiError(400, "UnpauseDeploymentFailed", "Deployment is not currently paused.");
    await this.persistence.commit([{ table: STATE, key: "state", value: paused ? "paused" : "running" }]);
  }

  /** The origins from the process's options, unless they were overridden. */
  async canonicalUrls(): Promise<CanonicalUrls> {
    const cloud = await this.persistence.get(URLS, "convexCloud");
    const site = await this.persistence.get(URLS, "convexSite");
    return {
      convexCloudUrl: typeof cloud === "string" ? cloud : this.#options.cloudOrigin,
      convexSiteUrl: typeof site === "string" ? site : this.#options.siteOrigin,
    };
  }

  /** Undefined removes the override. */
  async overrideCanonicalUrl(destination: "convexCloud" | "convexSite", url: string | undefined): Promise<void> {
    await this.persistence.commit([{ table: URLS, key: destination, value: url ?? null }]);
  }

  /** A URL to which a client may upload one file within an hour. */
  async uploadUrl(): Promise<string> {
    const { convexCloudUrl } = await this.canonicalUrls();
    const issued = Date.now().toString();
    return `${convexCloudUrl}/api/storage/upload?token=${issued}.${this.#uploadSignature(issued)}`;
  }

  async fileUrl(storageId: string): Promise<string | null> {
    const { convexCloudUrl } = await this.canonicalUrls();
    return (await this.persistence.get(FILES, storageId)) ? `${convexCloudUrl}/api/storage/${storageId}` : null;
  }

  /** @returns the file's storage id */
  async storeFile(token: string, body: AsyncIterable<Uint8Array>, contentType: string | null): Promise<string> {
    this.#checkUploadToken(token);
    const file: FileDocument = { ...(await this.#files.store(body)), contentType };
    await this.persistence.commit([{ table: FILES, key: file.storageId, value: { ...file } }]);
    return file.storageId;
  }

  async readFile(storageId: string): Promise<{ file: FileDocument; body: ReadableStream<Uint8Array> }> {
    const file = (await this.persistence.get(FILES, storageId)) as unknown as FileDocument | null;
    if (!file) throw new ApiError(404, "FileNotFound", `File ${storageId} not found`);
    return { file, body: await this.#files.read(storageId) };
  }

  #checkUploadToken(token: string): void {
    const [issued = "", signature = ""] = token.split(".");
    const expected = Buffer.from(this.#uploadSignature(issued));
    const given = Buffer.from(signature);
    const valid = given.length === expected.length && timingSafeEqual(given, expected);
    if (!valid) throw new ApiError(401, "StorageTokenInvalid", "Invalid storage upload token");
    if (Date.now() - Number(issued) > UPLOAD_URL_VALIDITY_MS)
      throw new ApiError(401, "StorageTokenExpired", "Storage upload token is older than an hour");
  }

  #uploadSignature(issued: string): string {
    return createHmac("sha256", deriveKey(this.secret, "store file authorization")).update(issued).digest("hex");
  }
}
