import { expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { copyFrom, declareAgain, sourceOf } from "../../operations/backups/copy.ts";
import { type Resource, State } from "../../operations/state.ts";

const resource = (type: string, name: string, inputs: Record<string, unknown>, id = name): Resource => ({
  ...{ type, name, inputs, id },
  outputs: {},
});

function stackOf(stack: string, endpoint = "", variables: string[] = []): State {
  return new State(stack, [
    // A stack can be named with its organization and without.
    resource(TYPES.volume, RESOURCES.volume, {}, `of-${stack.replace("organization/convex-droplet/", "")}`),
    resource(TYPES.container, RESOURCES.backend, {
      envs: ["INSTANCE_NAME=the-shop", "INSTANCE_SECRET=ab", ...variables],
    }),
    resource(TYPES.command, RESOURCES.backups, {
      stdin: `stanza=the-volume\nrepository_endpoint=${endpoint}\nrepository_passphrase=pass\n`,
    }),
  ]);
}

it("a copy is made of the other stack's database and backups, and does not get its instance's secret", () => {
  const { stack, values } = sourceOf(stackOf("prod", "nyc3.example.com"), stackOf("staging"));
  expect(stack).toBe("prod");
  expect(values).toBe(
    "database=the_shop\nstanza=the-volume\nrepository_endpoint=nyc3.example.com\nrepository_passphrase=pass\n",
  );
});

it.each([
  ["the same stack", "staging", "nyc3.example.com", "--from: is the stack itself, it should be another one"],
  [
    "the same stack, named in full,",
    "organization/convex-droplet/staging",
    "nyc3.example.com",
    "--from: is the stack itself",
  ],
  ["a stack without backups", "prod", "", "stack prod: has no backups. Switch them on with: "],
])("a copy of %s is refused", (_, from, endpoint, message) => {
  expect(() => sourceOf(stackOf(from, endpoint), stackOf("staging"))).toThrow(message);
});

it("neither a stack with files in buckets nor one into such a stack is copied, because the copy's files would be in the other's buckets", () => {
  const buckets = ["S3_STORAGE_FILES_BUCKET=shop-files", "S3_ENDPOINT_URL=https://s3.example.com"];
  const message = "has its files in buckets at s3.example.com, so its backups do not contain them";
  const [prod, staging] = [stackOf("prod", "e"), stackOf("staging", "e")];
  expect(() => sourceOf(stackOf("prod", "e", buckets), staging)).toThrow(`stack prod: ${message}`);
  expect(() => sourceOf(prod, stackOf("staging", "e", buckets))).toThrow(`stack staging: ${message}`);
  expect(sourceOf(prod, staging).stack).toBe("prod");
});

it("a stack that was never deployed cannot be copied", () => {
  expect(() => sourceOf(new State("prod", []), stackOf("staging"))).toThrow(
    /stack prod: has no .*, it should be deployed/,
  );
});

it("a stack without backups gets no copy, because its droplet has no tools for it", async () => {
  const source = sourceOf(stackOf("prod", "nyc3.example.com"), stackOf("staging"));
  await expect(copyFrom(source, stackOf("staging"), { to: "latest", stanza: "", yes: true })).rejects.toThrow(
    "stack staging: has no backups. Switch them on with: ",
  );
});

it("what replaces an instance names the commands that set its own variables and deploy its own functions again, if it has any", () => {
  const variables = (json: string) =>
    resource(TYPES.command, RESOURCES.functionEnvironment, { stdin: `variables=${json}\n` });
  expect(declareAgain(new State("dev", [variables("{}")]))).toEqual([]);
  const functions = resource(TYPES.command, RESOURCES.functions, {});
  const job = resource(TYPES.command, "convex-job-migrate", {});
  expect(declareAgain(new State("dev", [variables('{"A":"1"}'), functions, job]))).toEqual([
    "Set the stack's own variables again with: npx pulumi up --stack dev --replace '**convex-function-environment'",
    "Deploy the stack's own functions again with: npx pulumi up --stack dev --replace '**convex-functions'",
    "If job migrate has worked on what was replaced, run it again with: " +
      "npm run ssh -- --stack dev rm -f /mnt/convex/jobs/migrate && npx pulumi up --stack dev --replace '**convex-job-migrate'",
  ]);
});
