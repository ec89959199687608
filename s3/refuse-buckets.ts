import * as pulumi from "@pulumi/pulumi";

import { setSecret } from "../settings/kinds/s3.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import { setWith } from "../settings/reader.ts";
import { type Answer, askFor, type Server } from "./ask.ts";

/** Buckets on a server, and the settings that lead there. */
export interface Place extends Server {
  buckets: string[];
  /** The settings' names. */
  settings: Record<"endpoint" | "region" | "bucket" | "accessKey" | "secretKey", string>;
  /** The value of the setting `bucket`, and what it should be. */
  named: { is: string; should: string };
}

/** What is wrong with some buckets, in words; only a doubt if this computer cannot know it. */
interface Verdict {
  isSure: boolean;
  words: (buckets: string[]) => string;
}

/**
 * For what is done on the machine with buckets that exist. In a preview, this computer asks whether they can be used. A run leaves that to
 * the machine, which may see the server in another way.
 */
export function refuseBuckets(name: string, place: Place): pulumi.ResourceHook {
  const ask = async () => {
    if (!pulumi.runtime.isDryRun()) return;
    const answers = await Promise.all(
      place.buckets.map(async (bucket) => ({ bucket, answer: await askFor(bucket, place) })),
    );
    const { faults, doubts } = judge(answers, place);
    for (const doubt of doubts) void pulumi.log.warn(doubt);
    if (faults.length > 0) throw new Error(faults.join("\n"));
  };
  return new pulumi.ResourceHook(name, ask, { onDryRun: true });
}

/** What is wrong, once for all buckets with the same answer. */
export function judge(
  answers: { bucket: string; answer: Answer }[],
  place: Place,
): { faults: string[]; doubts: string[] } {
  const found = answers.flatMap(({ bucket, answer }) => {
    const verdict = verdictOf(answer, place);
    return verdict === undefined ? [] : [{ bucket, verdict }];
  });
  const texts = (isSure: boolean) => {
    const groups = Map.groupBy(
      found.filter(({ verdict }) => verdict.isSure === isSure),
      ({ verdict }) => verdict.words([]),
    );
    return [...groups.values()].map((group) => group[0]?.verdict.words(group.map(({ bucket }) => bucket)) ?? "");
  };
  return { faults: texts(true), doubts: texts(false) };
}

/** Codes of S3 for a key that a server does not know, or not any more. */
const REFUSED_KEYS =
  /^(?:InvalidAccessKeyId|InvalidToken|ExpiredToken|TokenRefreshRequired|UserNotFound|Unauthorized)$/;

/** Codes of S3 for a bucket in another region than that of the signature, or at another endpoint. */
const ELSEWHERE = /^(?:PermanentRedirect|TemporaryRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint\w*)$/;

/** Undefined if the bucket can be used. */
function verdictOf(answer: Answer, place: Place): Verdict | undefined {
  const { endpoint, region, settings, named } = place;
  if ("failure" in answer) {
    if (answer.failure !== "ENOTFOUND") return doubt(place, `cannot be asked (${answer.failure})`);
    return fault(settings.endpoint, () => `${endpoint} has a name that does not exist, ${ofServer(settings.endpoint)}`);
  }
  const { status, code, isList } = answer;
  if (status === 200 && isList) return undefined;
  const said = `${status} ${code}`.trim();
  if (status === 401 || REFUSED_KEYS.test(code)) {
    const { accessKey } = settings;
    return fault(
      accessKey,
      () => `is refused by ${endpoint} (${said}), it should be the id of a key there. ${setSecret(accessKey)}`,
    );
  }
  if (code === "SignatureDoesNotMatch") {
    const { accessKey, secretKey } = settings;
    return fault(
      secretKey,
      () => `does not fit ${accessKey}, says ${endpoint} (${said}), it should be that key. ${setSecret(secretKey)}`,
    );
  }
  if (code === "NoSuchBucket") {
    return fault(
      settings.bucket,
      (buckets) =>
        `is ${named.is}, but ${endpoint} has no ${inWords(buckets)}, it should be ${named.should}. ` +
        `${setWith(settings.bucket, "NAME")}, or make ${buckets.length === 1 ? "it" : "them"} there`,
    );
  }
  if (ELSEWHERE.test(code) || (code === "" && answer.region !== "" && answer.region !== region)) {
    return elsewhere(answer.region, said, place);
  }
  if (code === "AccessDenied") {
    return fault(
      settings.bucket,
      (buckets) =>
        `is ${named.is}, but the key may not list ${inWords(buckets)} at ${endpoint} (${said}), it should be ${named.should}. ` +
        `Let the key read, write, delete and list there, or, if the name is somebody else's, use another one: ${onThisStack("config set", settings.bucket, "NAME")}. ` +
        `If the server admits the droplet, but not this computer: ${onThisStack("up", "--skip-preview")}`,
    );
  }
  if (status < 400 || status === 404) {
    return fault(
      settings.endpoint,
      () => `${endpoint} does not answer as S3 does (${said}), ${ofServer(settings.endpoint)}`,
    );
  }
  return doubt(place, `answers ${said}${code === "RequestTimeTooSkewed" ? ": this computer's clock is wrong" : ""}`);
}

/** @param there  the region that the server has named; empty if none */
function elsewhere(there: string, said: string, { endpoint, region, settings }: Place): Verdict {
  if (there === "" || there === region) {
    return fault(
      settings.endpoint,
      (buckets) =>
        `${endpoint} is not where ${inWords(buckets)} can be used (${said}), it should be the endpoint of their region, and ${settings.region} that region. ` +
        `${setWith(settings.endpoint, "URL")} && ${onThisStack("config set", settings.region, "REGION")}`,
    );
  }
  // The names of some servers contain the region.
  const moved = endpoint.replace(`.${region}.`, `.${there}.`);
  const also = moved === endpoint ? "" : ` && ${onThisStack("config set", settings.endpoint, moved)}`;
  return fault(
    settings.region,
    (buckets) =>
      `is ${region}, but ${there} is the region of ${inWords(buckets)} at ${endpoint}, it should be that. ${setWith(settings.region, there)}${also}`,
  );
}

function fault(setting: string, words: Verdict["words"]): Verdict {
  return { isSure: true, words: (buckets) => `convex-droplet:${setting}: ${words(buckets)}` };
}

/** The machine decides. */
function doubt({ endpoint, settings }: Place, what: string): Verdict {
  const words = () =>
    `convex-droplet:${settings.endpoint}: ${endpoint} ${what}, so this preview does not know whether the buckets can be used. ` +
    "The droplet tries them before anything uses them.";
  return { isSure: false, words };
}

function ofServer(setting: string): string {
  return `it should be the URL of an S3 server, without a bucket's name. ${setWith(setting, "URL")}`;
}

function inWords(buckets: string[]): string {
  return `${buckets.length === 1 ? "bucket" : "buckets"} ${buckets.join(", ")}`;
}
