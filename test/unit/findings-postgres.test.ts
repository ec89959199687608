import { afterEach, describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { quote } from "../../contract/scripts.ts";
import { comparePostgres } from "../../operations/findings/postgres/postgres.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const state = stateOf(
  { type: "pulumi:providers:postgresql", name: "convex", inputs: { username: "convex_admin" } },
  { type: TYPES.role, name: RESOURCES.role, inputs: { name: "convex" } },
  {
    type: TYPES.database,
    name: RESOURCES.database,
    inputs: { name: "convex_self_hosted", owner: "convex", encoding: "UTF8", lcCollate: "C", lcCtype: "C" },
  },
);

/** The same with a further database that has a shadow. */
const withApp = stateOf(
  ...state.resources,
  {
    type: TYPES.role,
    name: "convex-database-app-role",
    inputs: { name: "app", replication: true, connectionLimit: 30 },
  },
  ...["app", "app_shadow"].map((name) => ({
    type: TYPES.database,
    name: `convex-database-${name.replace("_", "-")}`,
    inputs: { name, owner: "app", encoding: "UTF8", lcCollate: "C", lcCtype: "C" },
  })),
);

const role = (name: string, more: object = {}) => ({
  ...{ name, superuser: false, createdb: false, createrole: false, login: true, replication: false, bypassrls: false },
  ...{ scram: true, password: true, inherit: true, connection_limit: -1, valid_until: null, member_of: [] },
  ...more,
});
const POSTGRES = role("postgres", { superuser: true, password: false });
const ADMIN = role("convex_admin", { superuser: true, valid_until: "infinity" });
const OWNER = role("convex");

const database = (name: string, more: object = {}) => ({
  ...{ name, owner: "convex", acl: "{convex=CTc/convex}", encoding: "UTF8", collate: "C", ctype: "C" },
  ...{ connection_limit: -1, allow_connections: true, template: false },
  ...more,
});
const OWN = database("convex_self_hosted");

const CONF = "/etc/postgresql/17/main/conf.d";
const AUTO = "/mnt/convex/postgresql/17/main/postgresql.auto.conf";
const setting = (more: object) => ({
  ...{ name: "work_mem", setting: "64MB", sourcefile: `${CONF}/10-convex-droplet.conf`, sourceline: 3 },
  ...{ source: "configuration file", pending_restart: false, pending_file: null },
  ...more,
});

/** Findings about a server that is as declared, except for these facts. */
function found(facts: Record<string, string | object>, ...differences: Parameters<typeof insideOf>[1][]): Told[] {
  const inside = insideOf(
    {
      "postgres.settings": [
        setting({}),
        setting({ sourcefile: null }),
        setting({ sourcefile: `${CONF}/../postgresql.conf` }),
      ],
      "postgres.hba": ["pg_hba.conf", "pg_hba.d/10-convex-droplet.conf"].map((file) => ({
        ...{ file_name: `/etc/postgresql/17/main/${file}`, line_number: 1, line: "local", error: null },
      })),
      "postgres.loaded": "1700000001.5 1700000001.25",
      "postgres.roles": [POSTGRES, ADMIN, OWNER],
      "postgres.databases": [
        OWN,
        ...["postgres", "template0", "template1"].map((name) => database(name, { acl: null })),
      ],
      "postgres.role_settings": "",
      "postgres.grants": "",
      "postgres.held": "",
      "postgres.login": "convex convex_self_hosted",
      ...facts,
    },
    ...differences,
  );
  return told(comparePostgres(declared, inside));
}

/** The state that findings are about. */
let declared = state;
afterEach(() => {
  declared = state;
});

const psql = (statement: string, where = "") => `cd / && runuser -u postgres -- psql${where} -c ${quote(statement)}`;
const RUN_POSTGRES = "replace convex-server; refresh ";

describe("a server", () => {
  it("that is as declared has no finding", () => {
    expect(found({})).toEqual([]);
  });

  it("that does not answer is one finding", () => {
    expect(found({ "postgres.roles": failed("could not connect") })).toEqual([
      [
        "error postgres postgres postgres: does not answer, so its roles and databases could not be checked",
        RUN_POSTGRES,
      ],
    ]);
  });

  const own = { pending_restart: true, pending_file: `${CONF}/10-convex-droplet.conf` };
  it.each<[what: string, setting: object, told: Told]>([
    [
      "waits for a restart",
      own,
      [
        "warning postgres postgres.settings postgres.settings.work_mem: needs a restart of the server: some seconds without the backend",
        RUN_POSTGRES,
      ],
    ],
    [
      "waits for a restart, and its file is not known",
      { ...own, pending_file: null },
      [
        "warning postgres postgres.settings postgres.settings.work_mem: needs a restart of the server: some seconds without the backend",
        RUN_POSTGRES,
      ],
    ],
    [
      "another file changes at the next restart",
      { ...own, pending_file: `${CONF}/99.conf` },
      [
        `error postgres postgres.settings postgres.settings.work_mem: will change at the next restart, by ${CONF}/99.conf, it should not be set there`,
        `sed -i '/^[[:space:]]*work_mem[[:space:]=]/Id' ${CONF}/99.conf && ${psql("SELECT pg_reload_conf()")}`,
      ],
    ],
    [
      "ALTER SYSTEM changes at the next restart",
      { ...own, pending_file: AUTO },
      [
        `error postgres postgres.settings postgres.settings.work_mem: will change at the next restart, by ${AUTO}, it should not be set there`,
        `${psql("ALTER SYSTEM RESET work_mem")} -c 'SELECT pg_reload_conf()'`,
      ],
    ],
    [
      "ALTER SYSTEM sets",
      { sourcefile: AUTO, sourceline: null },
      [
        `warning postgres postgres.settings postgres.settings.work_mem: is 64MB by ${AUTO}:0, it should not be set there`,
        `${psql("ALTER SYSTEM RESET work_mem")} -c 'SELECT pg_reload_conf()'`,
      ],
    ],
    [
      "another file sets",
      { name: "a.b", sourcefile: `${CONF}/99.conf` },
      [
        `warning postgres postgres.settings postgres.settings.a.b: is 64MB by ${CONF}/99.conf:3, it should not be set there`,
        `sed -i '/^[[:space:]]*a\\.b[[:space:]=]/Id' ${CONF}/99.conf`,
      ],
    ],
  ])("a setting that %s is found", (_, more, expected) => {
    expect(found({ "postgres.settings": [setting(more)] })).toEqual([expected]);
  });

  it("a setting that is declared and overridden is an error", () => {
    const declared = { subject: "postgres.settings", property: "work_mem", expected: "32MB" };
    const others = [
      { subject: "postgres.settings", property: "port", expected: "1" },
      { subject: "sysctl", property: "work_mem", expected: "2" },
    ];
    expect(found({ "postgres.settings": [setting({ sourcefile: `${CONF}/99.conf` })] }, ...others, declared)).toEqual([
      [
        `error postgres postgres.settings postgres.settings.work_mem: is 64MB, it should be 32MB: it is set by ${CONF}/99.conf:3`,
        `sed -i '/^[[:space:]]*work_mem[[:space:]=]/Id' ${CONF}/99.conf`,
      ],
    ]);
  });

  const rule = { file_name: `${CONF}/../pg_hba.d/99.conf`, line_number: 2, line: " host  all\tall ", error: null };
  it.each<[fact: string, what: string | object, told: Told]>([
    [
      "postgres.role_settings",
      'role "it\'s": work_mem=1GB',
      [
        `warning postgres postgres.role_settings postgres.role_settings: unexpected setting "role "it's": work_mem=1GB"`,
        "undo it with ALTER ROLE … RESET or ALTER DATABASE … RESET",
      ],
    ],
    [
      "postgres.loaded",
      "1700000001.5 1700000001.75",
      [
        "warning postgres postgres.loaded postgres.loaded: the configuration files were changed after the server read them",
        RUN_POSTGRES,
      ],
    ],
    [
      "postgres.hba",
      [rule],
      [
        `error postgres postgres.hba postgres.pg_hba[${rule.file_name}]: unexpected line 2 "host all all"`,
        `rm ${rule.file_name}`,
      ],
    ],
    [
      "postgres.hba",
      [{ ...rule, error: "invalid CIDR mask" }],
      ["error postgres postgres.hba postgres.pg_hba: the server refuses line 2: invalid CIDR mask", RUN_POSTGRES],
    ],
    [
      "postgres.held",
      "replication slot a\t\tSELECT pg_drop_replication_slot('a')",
      [
        "error postgres postgres.held postgres.held: unexpected replication slot a, it keeps nothing yet of the log on the volume, nothing declares it",
        psql("SELECT pg_drop_replication_slot('a')"),
      ],
    ],
    [
      "postgres.held",
      "replication slot a\t16 MB\tSELECT pg_drop_replication_slot('a')",
      [
        "error postgres postgres.held postgres.held: unexpected replication slot a, it keeps 16 MB of the log on the volume, nothing declares it",
        psql("SELECT pg_drop_replication_slot('a')"),
      ],
    ],
    [
      "postgres.held",
      "replication slot a\tlost\tSELECT pg_drop_replication_slot('a')",
      [
        "error postgres postgres.held postgres.held: replication slot a is lost: what its consumer has not read yet took too much of the volume, so the server has dropped it",
        psql("SELECT pg_drop_replication_slot('a')"),
      ],
    ],
    [
      "postgres.held",
      "prepared transaction my work\tconvex_self_hosted\tROLLBACK PREPARED 'my work'",
      [
        "error postgres postgres.held postgres.held: unexpected prepared transaction my work, nothing declares it",
        psql("ROLLBACK PREPARED 'my work'", " -d convex_self_hosted"),
      ],
    ],
    [
      "postgres.held",
      'tablespace a b\t/mnt/a\tDROP TABLESPACE "a b"',
      [
        "error postgres postgres.held postgres.held: unexpected tablespace a b, nothing declares it",
        psql('DROP TABLESPACE "a b"'),
      ],
    ],
    [
      "postgres.grants",
      "table a grants SELECT to everybody",
      [
        "warning postgres postgres.grants postgres.grants: unexpected in the backend's database: table a grants SELECT to everybody",
        "undo it with REVOKE or ALTER … OWNER TO",
      ],
    ],
  ])("%s: %j is found", (fact, what, expected) => {
    expect(found({ [fact]: what })).toEqual([expected]);
  });
});

describe("a role", () => {
  const by = (severity: string, path: string, message: string) =>
    `${severity} postgres postgres.roles postgres.roles.${path}: ${message}`;
  const REFRESH = "replace ; refresh convex-role";

  it.each<[what: string, roles: object[], told: Told]>([
    [
      "an administrator is gone",
      [POSTGRES, OWNER],
      [by("error", "convex_admin", "is not there, it should be"), RUN_POSTGRES],
    ],
    [
      "an administrator is weak",
      [{ ...POSTGRES, superuser: false }, ADMIN, OWNER],
      [by("error", "postgres.superuser", "is false, it should be true"), RUN_POSTGRES],
    ],
    [
      "an administrator is limited",
      [POSTGRES, { ...ADMIN, connection_limit: 0 }, OWNER],
      [
        by("error", "convex_admin.connection_limit", "is 0, it should be -1"),
        psql('ALTER ROLE "convex_admin" CONNECTION LIMIT -1'),
      ],
    ],
    [
      "postgres has a password",
      [{ ...POSTGRES, password: true }, ADMIN, OWNER],
      [
        by("error", "postgres.password", "has a password, it should have none"),
        psql('ALTER ROLE "postgres" PASSWORD NULL'),
      ],
    ],
    ["the backend's is gone", [POSTGRES, ADMIN], [by("error", "convex", "is not there, it should be"), REFRESH]],
  ])("%s", (_, roles, expected) => {
    expect(found({ "postgres.roles": roles })).toEqual([expected]);
  });

  it.each<[property: string, value: unknown, message: string, repair: string]>([
    ["superuser", true, "is true, it should be false", REFRESH],
    ["createdb", true, "is true, it should be false", REFRESH],
    ["createrole", true, "is true, it should be false", REFRESH],
    ["replication", true, "is true, it should be false", REFRESH],
    ["bypassrls", true, "is true, it should be false", REFRESH],
    ["login", false, "is false, it should be true", REFRESH],
    ["connection_limit", 3, "is 3, it should be -1", psql('ALTER ROLE "convex" CONNECTION LIMIT -1')],
    [
      "valid_until",
      "2030-01-01T00:00:00+00:00",
      "is 2030-01-01T00:00:00+00:00, it should be infinity",
      psql('ALTER ROLE "convex" VALID UNTIL $$infinity$$'),
    ],
    ["inherit", false, "is false, it should be true", psql('ALTER ROLE "convex" INHERIT')],
    [
      "member_of",
      ["pg_read_all_data"],
      "is a member of pg_read_all_data, it should be of no role",
      psql('REVOKE "pg_read_all_data" FROM "convex"'),
    ],
  ])("of the backend has another %s: %j", (property, value, message, repair) => {
    const roles = [POSTGRES, ADMIN, { ...OWNER, [property]: value }];
    expect(found({ "postgres.roles": roles })).toEqual([[by("error", `convex.${property}`, message), repair]]);
  });

  it("of the backend has its password not stored as SCRAM", () => {
    expect(found({ "postgres.roles": [POSTGRES, ADMIN, { ...OWNER, scram: false }] })).toEqual([
      [
        by("error", "convex.password", "is not kept as scram-sha-256, it should be scram-sha-256"),
        "replace convex-password; refresh ",
      ],
    ]);
  });

  it.each<[name: string, superuser: boolean, claim: string]>([
    ["my app", false, by("warning", "my app", "is a role that this stack does not declare")],
    ["root", true, by("error", "root", "is a superuser that this stack does not declare")],
  ])("that nothing declares is found: %s", (name, superuser, claim) => {
    const roles = [POSTGRES, ADMIN, OWNER, role(name, { superuser })];
    expect(found({ "postgres.roles": roles })).toEqual([[claim, psql(`DROP ROLE "${name}"`)]]);
  });

  it.each<[reason: string, repair: string]>([
    ['password authentication failed for user "convex"', "replace convex-password; refresh "],
    ["timeout expired", "packets are dropped on the way: fix rules, routes and forwarding first"],
    ["Connection refused", RUN_POSTGRES],
  ])("of the backend cannot log in: %s", (reason, repair) => {
    expect(found({ "postgres.login": failed(`psql: error:\n${reason}\n`) })).toEqual([
      [
        `error postgres postgres.login postgres.login: the backend's role cannot log in as the backend does: ${reason}`,
        repair,
      ],
    ]);
  });
});

describe("a database", () => {
  const by = (severity: string, path: string, message: string) =>
    `${severity} postgres postgres.databases postgres.databases.${path}: ${message}`;
  const alter = (option: string) => psql(`ALTER DATABASE "convex_self_hosted" ${option}`);
  const REFRESH = "replace ; refresh convex-database";
  const PRIVACY = "replace convex-privacy; refresh ";

  it.each<[property: string, value: unknown, path: string, message: string, repair: string]>([
    ["owner", "postgres", "owner", "is postgres, it should be convex", REFRESH],
    ["encoding", "SQL_ASCII", "encoding", "is SQL_ASCII, it should be UTF8", REFRESH],
    ["collate", "en_US.UTF-8", "collate", "is en_US.UTF-8, it should be C", REFRESH],
    ["ctype", "en_US.UTF-8", "ctype", "is en_US.UTF-8, it should be C", REFRESH],
    ["connection_limit", 0, "connection_limit", "is 0, it should be -1", alter("CONNECTION LIMIT -1")],
    ["allow_connections", false, "allow_connections", "is false, it should be true", alter("ALLOW_CONNECTIONS true")],
    ["template", true, "template", "is true, it should be false", alter("IS_TEMPLATE false")],
    ["acl", null, "grants", "everybody may use it, only its owner should", PRIVACY],
    ["acl", "{=Tc/convex,convex=CTc/convex}", "grants", "everybody may use it, only its owner should", PRIVACY],
    ["acl", '{convex=CTc/convex,"my app=c/convex"}', "grants", "my app may use it, only its owner should", PRIVACY],
  ])("has another %s: %j", (property, value, path, message, repair) => {
    // Its owner may use it, even another one than the declared.
    const acl = property === "owner" ? "{postgres=CTc/postgres}" : OWN.acl;
    const databases = [{ ...OWN, acl, [property]: value }];
    expect(found({ "postgres.databases": databases })).toEqual([
      [by("error", `convex_self_hosted.${path}`, message), repair],
    ]);
  });

  it("that is gone is not created before its data is restored", () => {
    expect(found({ "postgres.databases": [] })).toEqual([
      [
        by("error", "convex_self_hosted", "is not there, it should be: its data is lost"),
        "an up cannot restore the data: restore its backup. To create an empty database: npx pulumi up --stack dev --refresh --run-program " +
          "--target '**convex-database' --target '**convex-privacy' --target-dependents --replace '**convex-privacy'",
      ],
    ]);
  });

  it("that a reset, a copy or a move-in has replaced is no drift", () => {
    const name = "convex_self_hosted_before_20261127T082327Z";
    expect(found({ "postgres.databases": [OWN, database(name)] })).toEqual([
      [
        by("notice", name, "was replaced by a reset, a copy or a move-in"),
        "remove it, and the files that were replaced with it: npm run move-in -- --stack dev --forget",
      ],
    ]);
    const other = "another_before_20261127T082327Z";
    expect(found({ "postgres.databases": [OWN, database(other)] })).toMatchObject([
      [by("warning", other, "is not one of this stack's, it should not be here"), expect.anything()],
    ]);
  });

  it("that nothing declares is never dropped by a printed command, whatever its name", () => {
    const name = `it's "mine"; $(reboot)`;
    expect(found({ "postgres.databases": [OWN, database(name)] })).toEqual([
      [
        by("warning", name, "is not one of this stack's, it should not be here"),
        "it may contain another project's data: check it before you drop it, or ignore it with driftIgnore",
      ],
    ]);
  });
});

describe("a further database", () => {
  const APP = role("app", { replication: true, connection_limit: 30 });
  const owned = (name: string, more: object = {}) => database(name, { owner: "app", acl: "{app=CTc/app}", ...more });
  const look = (roles: object[], databases: object[]) => {
    declared = withApp;
    return found({
      "postgres.roles": [POSTGRES, ADMIN, OWNER, ...roles],
      "postgres.databases": [OWN, ...databases],
    });
  };

  it("that is as declared, with its share, its replication and its shadow, has no finding", () => {
    expect(look([APP], [owned("app"), owned("app_shadow")])).toEqual([]);
  });

  it.each<[what: string, role: object, told: Told]>([
    [
      "has no share",
      { connection_limit: -1 },
      [
        "error postgres postgres.roles postgres.roles.app.connection_limit: is -1, it should be 30",
        psql('ALTER ROLE "app" CONNECTION LIMIT 30'),
      ],
    ],
    [
      "lost its replication",
      { replication: false },
      [
        "error postgres postgres.roles postgres.roles.app.replication: is false, it should be true",
        "replace ; refresh convex-database-app-role",
      ],
    ],
    [
      "has its password not stored as SCRAM",
      { scram: false },
      [
        "error postgres postgres.roles postgres.roles.app.password: is not kept as scram-sha-256, it should be scram-sha-256",
        "replace convex-database-app-password; refresh ",
      ],
    ],
  ])("whose owner %s is found", (_, more, expected) => {
    expect(look([{ ...APP, ...more }], [owned("app"), owned("app_shadow")])).toEqual([expected]);
  });

  it("that others may use is closed by the grant of its own", () => {
    expect(look([APP], [owned("app", { acl: null }), owned("app_shadow", { acl: null })])).toEqual([
      [
        "error postgres postgres.databases postgres.databases.app.grants: everybody may use it, only its owner should",
        "replace convex-database-app-privacy; refresh ",
      ],
      [
        "error postgres postgres.databases postgres.databases.app_shadow.grants: everybody may use it, only its owner should",
        "replace convex-database-app-shadow-privacy; refresh ",
      ],
    ]);
  });

  it("that is gone, as after a restore to a time before it, is made again only if you say so; its shadow by an up", () => {
    expect(look([APP], [])).toEqual([
      [
        "error postgres postgres.databases postgres.databases.app: is not there, it should be: its data is lost",
        "an up cannot restore the data: restore its backup. To create an empty database: npx pulumi up --stack dev --refresh --run-program " +
          "--target '**convex-database-app' --target '**convex-database-app-privacy' --target '**convex-database-app-role' " +
          "--target-dependents --replace '**convex-database-app-privacy'",
      ],
      [
        "error postgres postgres.databases postgres.databases.app_shadow: is not there, it should be",
        "replace convex-database-app-shadow-privacy; refresh convex-database-app-role convex-database-app-shadow",
      ],
    ]);
  });
});
