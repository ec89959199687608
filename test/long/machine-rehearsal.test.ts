import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";

import { mintAdminKey } from "../../contract/admin-key.ts";
import { AUTHORITY_FILE, CONTAINERS, HOST_IN_CONTAINERS, MOUNTPOINT, NETWORK, ROLES } from "../../contract/names.ts";
import { namedValues, type Values } from "../../contract/scripts.ts";
import { containerName } from "../../sandbox/droplet/container.ts";
import { ensureRevision } from "../../sandbox/images/build.ts";
import { type Lab, openLab } from "../contract/droplet-harness.ts";
import { hostValues, Machine, postgresValues } from "../contract/machine-harness.ts";

const NAME = "convex-self-hosted";
const SECRET = "5ec12e7".padEnd(64, "0");
const KEY = mintAdminKey(NAME, SECRET);
const ENVIRONMENT = [
  `INSTANCE_NAME=${NAME}`,
  `INSTANCE_SECRET=${SECRET}`,
  `POSTGRES_URL=postgresql://convex:roles-password@${HOST_IN_CONTAINERS}:5432`,
  "PG_CA_FILE=/convex/authority.pem",
  "POSTGRES_MAX_CONNECTIONS=16",
  "RUST_LOG=error",
];
/** What a rehearsal makes on the droplet, and removes. */
const LEFTOVERS =
  `ls -d ${MOUNTPOINT}/rehearsal /run/convex-droplet-rehearsal /run/convex-droplet-beside 2> /dev/null; ` +
  "docker ps --all --quiet --filter name=convex-rehearsal; findmnt --noheadings --list --source convex-rehearsal; " +
  "systemctl list-units --no-legend 'convex-backups-beside*' 'backups-beside*'; true";

let lab: Lab;
let machine: Machine;
/** The images' names on the droplet. */
let [old, newer, unhealthy, failing, older] = ["", "", "", "", ""];

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "volume", name: "data", sizeGigabytes: 20 });
  machine = await Machine.create(lab, { ...lab.spec(1), volumeIds: ["volume"] });
  expect(await machine.run("host/host.sh", hostValues({ sizeGb: 20 }))).toMatchObject({ exitCode: 0 });
  expect(await machine.run("postgres/postgres.sh", postgresValues("a-password"))).toMatchObject({ exitCode: 0 });
  [old, newer, unhealthy, failing, older] = [
    (await ensureRevision({ metadataVersion: 128 })).name,
    (await ensureRevision({ metadataVersion: 129 })).name,
    (await ensureRevision({ metadataVersion: 129, fault: "unhealthy" })).name,
    (await ensureRevision({ metadataVersion: 129, fault: "migration" })).name,
    (await ensureRevision({ metadataVersion: 127 })).name,
  ];
  const droplet = containerName(lab.home, machine.droplet.id);
  await execa("sh", [
    "-c",
    `docker save ${old} ${newer} ${unhealthy} ${failing} ${older} | docker exec -i ${droplet} docker load`,
  ]);
  await machine.sh(`cd / && runuser -u postgres -- psql -q -c "CREATE ROLE convex LOGIN PASSWORD 'roles-password'" \\
      -c "CREATE DATABASE convex_self_hosted OWNER convex"
    docker network create --subnet ${NETWORK.subnet} --gateway ${NETWORK.gateway} convex > /dev/null
    docker run --detach --name ${CONTAINERS.backend} --network convex --add-host ${HOST_IN_CONTAINERS}:${NETWORK.gateway} --publish 127.0.0.1:3210:3210 \\
      ${ENVIRONMENT.map((variable) => `--env ${variable}`).join(" ")} --volume ${MOUNTPOINT}/data:/convex/data \\
      --volume ${AUTHORITY_FILE}:/convex/authority.pem:ro ${old} > /dev/null
    until curl -fs -o /dev/null http://127.0.0.1:3210/version; do sleep 0.2; done`);
  for (const key of ["one", "two", "three"]) await call("sandbox:put", { key, value: key });
}, 600_000);
afterAll(() => lab[Symbol.asyncDispose]());

const call = (path: string, args: object) =>
  machine.sh(
    `curl -fs -H 'content-type: application/json' --data '${JSON.stringify({ path, args, format: "json" })}' http://127.0.0.1:3210/api/mutation`,
  );

const values = (image: string, rehearse = true, others: Values = {}) =>
  namedValues({
    ...{ stack: "test", container: CONTAINERS.backend, dashboard: CONTAINERS.dashboard, image },
    // Nothing listens there.
    ...{ dashboard_image: "127.0.0.1:1/dashboard", name: NAME, role: ROLES.owner, mountpoint: MOUNTPOINT, key: KEY },
    ...{ memory_mb: 400, rehearse: String(rehearse), environment: ENVIRONMENT },
    files: [`${AUTHORITY_FILE}:/convex/authority.pem`],
    ...others,
  });

const rehearse = (image: string, on = true, others: Values = {}) =>
  machine.run("convex/rehearse.sh", values(image, on, others));

const PASSED = {
  exitCode: 0,
  output: expect.stringContaining("passes: version 129 of the tables, 3 documents unchanged") as unknown,
};

it("does nothing with the image that serves, nor with another one if it may not rehearse", async () => {
  for (const mayRehearse of [true, false]) {
    expect(await rehearse(old, mayRehearse)).toEqual({ exitCode: 0, output: "rehearse.sh: unchanged" });
  }
  expect(await rehearse(newer, false)).toEqual({
    exitCode: 0,
    output: "rehearse.sh: uses the images without a rehearsal, because rehearseImages is false",
  });
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it("has nothing to try an image on if no backend has used the database", async () => {
  const nothing = { exitCode: 0, output: expect.stringContaining("no backend has used this database yet") as unknown };
  expect(await rehearse(newer, true, { name: "missing" })).toEqual(nothing);
  await machine.sh("cd / && runuser -u postgres -- createdb -O convex unused");
  expect(await rehearse(newer, true, { name: "unused" })).toEqual(nothing);
  await machine.sh("cd / && runuser -u postgres -- dropdb unused");
});

it("tries an image on data of which nobody knows the image", async () => {
  expect(await rehearse(newer, true, { container: "restored" })).toEqual(PASSED);
});

it("removes the containers of a droplet that was switched off, also if there is nothing to try", async () => {
  await machine.sh(
    `docker create --name convex-rehearsal ${newer}; docker create --name convex-rehearsal-network ${newer}`,
  );
  expect((await rehearse(old)).exitCode).toBe(0);
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it("changes nothing of the instance's own files and database", async () => {
  const state = () =>
    machine.sh(`find ${MOUNTPOINT}/data -printf '%p %T@ %C@\\n' | sort
      docker inspect --format '{{.State.StartedAt}}' ${CONTAINERS.backend}
      cd / && runuser -u postgres -- psql -XqAt convex_self_hosted -c "SELECT md5(string_agg(d::text, '|' ORDER BY ts, table_id, id)) FROM documents d"`);
  const before = await state();
  expect(await rehearse(newer)).toEqual(PASSED);
  expect(await state()).toBe(before);
  expect(await machine.sh(LEFTOVERS)).toBe("");
  expect(await machine.sh(`cat ${MOUNTPOINT}/upgrade`)).toMatch(
    /^image=\S+\nfrom=\S+\nversion=129\nimages=npx pulumi .*\npoint=$/,
  );
});

it.each([
  ["the copy of the database is made", `[[ -e ${MOUNTPOINT}/rehearsal/cluster/PG_VERSION ]]`],
  ["the files are mounted", "mountpoint -q /run/convex-droplet-rehearsal/data"],
  ["the server of the copy starts", "systemctl is-active --quiet convex-backups-beside.service"],
  ["the new backend starts", "[[ -n $(docker ps --quiet --filter name='convex-rehearsal$') ]]"],
])("passes after one that was killed when %s", async (_, moment) => {
  await machine.sh(`rm -f ${MOUNTPOINT}/upgrade`);
  await machine.killWhen(moment, "convex/rehearse.sh", values(newer));
  expect(await machine.sh(LEFTOVERS)).not.toBe("");
  expect(await rehearse(newer)).toEqual(PASSED);
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it("gives the new backend no network, and shows no secret", async () => {
  await machine.killWhen(
    "docker logs convex-rehearsal 2>&1 | grep -q 'never gets healthy'",
    "convex/rehearse.sh",
    values(unhealthy),
  );
  const inside = (command: string) => machine.sh(`docker exec convex-rehearsal bash -c '${command}'`);
  expect(await inside("tail -n +3 /proc/net/dev | cut -d : -f 1")).toMatch(/^\s*lo$/);
  expect(
    (await machine.try(`docker exec convex-rehearsal curl -s http://${NETWORK.gateway}:3210/version`)).exitCode,
  ).toBe(7);
  // The backend's own start script has the secret in its arguments, like the real one.
  const seen = await machine.sh(`ps -eo args | grep -v convex-local-backend | grep -v main.ts | grep -v '[g]rep'`);
  expect(seen).not.toContain(SECRET.slice(0, 20));
  expect(seen).not.toContain(KEY);
  expect(await machine.sh("stat -c %a /run/convex-droplet-rehearsal/environment")).toBe("600");
  // Also a run that has nothing to try removes it.
  expect((await rehearse(old)).exitCode).toBe(0);
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it.each([
  [
    "that never gets healthy",
    () => unhealthy,
    /backend: did not answer http:\/\/127\.0\.0\.1:3210\/version within 180 s/,
  ],
  ["whose migration fails", () => failing, /the new backend: a migration has failed/],
  ["older than the data", () => older, /the new backend is older than the data: .* is ahead at 128/],
])("refuses an image %s", async (_, image, reason) => {
  const refused = await rehearse(image());
  expect(refused.exitCode).toBe(1);
  expect(refused.output).toMatch(reason);
  expect(refused.output).toContain("did not pass on a copy of the data, see above. Nothing was changed");
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it("refuses to start without room for the copy, with a size that is enough", async () => {
  const fill = `${MOUNTPOINT}/fill`;
  await machine.sh(
    `fallocate -l $(($(df --block-size=1 --output=avail ${MOUNTPOINT} | tail -n 1) - 1024 ** 3)) ${fill}`,
  );
  const refused = await rehearse(newer);
  await machine.sh(`rm ${fill}`);
  expect(refused.exitCode).toBe(1);
  expect(refused.output).toMatch(
    /\/mnt\/convex: has 1\.0GB free, it should have 1\.[5-9]GB to try .* volumeSizeGb 2[12] --stack test && npx pulumi up --stack test; or use .* rehearseImages false --stack test &&/,
  );
  expect(await machine.sh(LEFTOVERS)).toBe("");
});
