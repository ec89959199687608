/** A change made by hand, and all findings of drift about it. */
export interface Tampering {
  /** On the droplet, as root. */
  change: string;
  /** `severity path: message` for each finding; `…` replaces a number that differs from machine to machine. */
  finds: string[];
  /**
   * How a person undoes a change that the program does not repair, or AS_PRINTED: with the commands that drift prints. Without
   * it, the one `up` that drift prints repairs it.
   */
  undo?: string;
}

export const AS_PRINTED = "as printed";

const PG = "/etc/postgresql/17/main";
const PSQL = "cd / && runuser -u postgres -- psql -qAtX";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDDe5gkYXmwrvhDsOkmiVNyo8xGuMBVzEF8UlLZQPFWA mallory";
const SHOWN_KEY = "ssh-ed25519 AAAAC3NzaC1l… mallory";
/** Makes the dashboard's container by hand, as it is declared, plus the options that follow; $image contains its image. */
const REMAKE = `
  inspect() { docker inspect --format "$1" convex-dashboard; }
  inspect '{{range .Config.Env}}{{println .}}{{end}}' > /run/remake.env
  image=$(inspect '{{.Config.Image}}') memory=$(inspect '{{.HostConfig.Memory}}')
  docker rm --force convex-dashboard
  docker run --detach --name convex-dashboard --env-file /run/remake.env --network convex --network-alias dashboard \\
    --restart unless-stopped --publish 127.0.0.1:6791:6791 --stop-signal SIGINT --stop-timeout 10 --memory "$memory" \\
    --memory-swap "$memory"`;
const STRAY = "belongs to neither this program nor a package, it should not be here";

/** Changes that only a check of the whole machine finds; a contract test covers what the scripts themselves report. */
export const TAMPERINGS: Tampering[] = [
  {
    change: `echo 'host all all 0.0.0.0/0 trust' >> ${PG}/pg_hba.d/10-convex-droplet.conf`,
    finds: [`error postgres.pg_hba: unexpected line 7 "host all all 0.0.0.0/0 trust"`],
  },
  {
    change: `install -o postgres <(echo 'host swarmdb swarm 172.30.0.0/24 trust') ${PG}/pg_hba.d/99-neighbour.conf`,
    finds: [
      `error postgres.pg_hba[${PG}/pg_hba.d/99-neighbour.conf]: unexpected line 1 "host swarmdb swarm 172.30.0.0/24 trust"`,
      `warning postgres.files[${PG}/pg_hba.d/99-neighbour.conf]: ${STRAY}`,
    ],
    undo: `rm ${PG}/pg_hba.d/99-neighbour.conf`,
  },
  {
    change: `${PSQL} -c "ALTER SYSTEM SET work_mem = '64MB'"`,
    finds: [
      "warning postgres.settings.work_mem: is 64MB by /mnt/convex/postgresql/17/main/postgresql.auto.conf:3, it should not be set there",
    ],
    undo: AS_PRINTED,
  },
  {
    change: `${PSQL} -c "ALTER ROLE convex SET statement_timeout = '1s'"`,
    finds: [`warning postgres.role_settings: unexpected setting "role convex: statement_timeout=1s"`],
    undo: `${PSQL} -c 'ALTER ROLE convex RESET ALL'`,
  },
  {
    change: `${PSQL} -c 'CREATE ROLE intruder SUPERUSER LOGIN'`,
    finds: ["error postgres.roles.intruder: is a superuser that this stack does not declare"],
    undo: AS_PRINTED,
  },
  {
    change: `${PSQL} -c 'CREATE DATABASE swarmdb'`,
    finds: ["warning postgres.databases.swarmdb: is not one of this stack's, it should not be here"],
    undo: `${PSQL} -c 'DROP DATABASE swarmdb'`,
  },
  {
    change: `${PSQL} -c 'GRANT CONNECT ON DATABASE convex_self_hosted TO PUBLIC'`,
    finds: ["error postgres.databases.convex_self_hosted.grants: everybody may use it, only its owner should"],
  },
  {
    change: `${PSQL} -c 'ALTER ROLE convex CREATEDB'`,
    finds: ["error postgres.roles.convex.createdb: is true, it should be false"],
  },
  {
    change: `${PSQL} -c 'GRANT pg_read_server_files TO convex'`,
    finds: ["error postgres.roles.convex.member_of: is a member of pg_read_server_files, it should be of no role"],
    undo: AS_PRINTED,
  },
  {
    change: `${PSQL} -d convex_self_hosted -c 'CREATE ROLE neighbour' -c 'GRANT SELECT ON documents TO neighbour'`,
    finds: [
      "warning postgres.grants: unexpected in the backend's database: table documents grants SELECT to neighbour",
      "warning postgres.roles.neighbour: is a role that this stack does not declare",
    ],
    undo: `${PSQL} -d convex_self_hosted -c 'DROP OWNED BY neighbour' -c 'DROP ROLE neighbour'`,
  },
  {
    change: `${PSQL} -c "ALTER ROLE convex CONNECTION LIMIT 40 VALID UNTIL '2999-01-01'" -c 'ALTER DATABASE convex_self_hosted CONNECTION LIMIT 50' -c "ALTER ROLE postgres PASSWORD 'x'"`,
    finds: [
      "error postgres.roles.convex.connection_limit: is 40, it should be -1",
      "error postgres.roles.convex.valid_until: is 2999-01-01T00:00:00+00:00, it should be infinity",
      "error postgres.databases.convex_self_hosted.connection_limit: is 50, it should be -1",
      "error postgres.roles.postgres.password: has a password, it should have none",
    ],
    undo: AS_PRINTED,
  },
  {
    change: `${PSQL} -c "SELECT pg_create_physical_replication_slot('forgotten')"`,
    finds: [
      "error postgres.held: unexpected replication slot forgotten, it keeps nothing yet of the log on the volume, nothing declares it",
    ],
    undo: AS_PRINTED,
  },
  {
    change: `${PSQL} -d convex_self_hosted -c 'CREATE PUBLICATION everything' -c 'CREATE EXTENSION tablefunc' \\
      -c "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'" \\
      -c 'CREATE EVENT TRIGGER watcher ON ddl_command_end EXECUTE FUNCTION watch()'`,
    finds: [
      "publication everything",
      "extension tablefunc is installed",
      "event trigger watcher calls watch",
      "function watch() belongs to postgres",
    ].map((what) => `warning postgres.grants: unexpected in the backend's database: ${what}`),
    undo: `${PSQL} -d convex_self_hosted -c 'DROP PUBLICATION everything' -c 'DROP EVENT TRIGGER watcher' \\
      -c 'DROP FUNCTION watch' -c 'DROP EXTENSION tablefunc'`,
  },
  // After the last change to PostgreSQL, because drift checks what the server has read.
  { change: `${PSQL} -c 'SELECT pg_reload_conf()'`, finds: [] },
  {
    change: `useradd -m -s /bin/bash mallory && mkdir ~mallory/.ssh && echo '${KEY}' > ~mallory/.ssh/authorized_keys &&
      usermod -aG docker mallory && echo mallory:tampering | chpasswd`,
    finds: [
      "warning users.mallory: can log in, only root should",
      "warning users.mallory.groups: is a member of docker, which is as good as root",
      "warning users.mallory.password: has a password, no account should",
      `error authorized_keys[/home/mallory/.ssh/authorized_keys]: unexpected line 1 "${SHOWN_KEY}"`,
    ],
    undo: "userdel --remove mallory",
  },
  {
    change: "useradd -o -u 0 -g 0 -M toor",
    finds: ["error users.toor: has root's user id 0, only root should"],
    undo: AS_PRINTED,
  },
  {
    change: `echo '${KEY}' >> /root/.ssh/authorized_keys`,
    finds: [`error authorized_keys[/root/.ssh/authorized_keys]: unexpected line 2 "${SHOWN_KEY}"`],
    undo: AS_PRINTED,
  },
  {
    change: "mkdir -p /etc/sudoers.d && echo 'mallory ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/mallory",
    finds: [`warning sudoers[/etc/sudoers.d/mallory]: ${STRAY}`],
    undo: "rm /etc/sudoers.d/mallory",
  },
  {
    change: "echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/05-loose.conf",
    finds: [
      "error sshd.permitrootlogin: is yes, it should be without-password",
      `warning sshd.files[/etc/ssh/sshd_config.d/05-loose.conf]: ${STRAY}`,
    ],
    undo: "rm /etc/ssh/sshd_config.d/05-loose.conf",
  },
  {
    change: "printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/miner.service",
    finds: [`warning units[/etc/systemd/system/miner.service]: ${STRAY}`],
    undo: "rm /etc/systemd/system/miner.service",
  },
  {
    change: `printf 'Match User mallory\\n  PasswordAuthentication yes\\n' >> /etc/ssh/sshd_config`,
    finds: ["warning files[/etc/ssh/sshd_config]: was written by neither this program nor a package, it should not be"],
    undo: AS_PRINTED,
  },
  {
    change: `printf '[Service]\\nExecStart=/bin/true\\n' > /opt/linked.service && systemctl link /opt/linked.service &&
      mkdir -p /etc/systemd/system/basic.target.wants && ln -s /opt/linked.service /etc/systemd/system/basic.target.wants/ &&
      cp /opt/linked.service /usr/lib/systemd/system/copied.service`,
    finds: [
      "/etc/systemd/system/linked.service",
      "/etc/systemd/system/basic.target.wants/linked.service",
      "/usr/lib/systemd/system/copied.service",
    ].map((path) => `warning units[${path}]: ${STRAY}`),
    undo: `rm -r /opt/linked.service /etc/systemd/system/{linked.service,basic.target.wants} /usr/lib/systemd/system/copied.service &&
      systemctl daemon-reload`,
  },
  {
    change: "sed -i 's/^Description=.*/& too/' /usr/lib/systemd/system/e2scrub_all.service && echo >> /etc/login.defs",
    finds: ["/usr/lib/systemd/system/e2scrub_all.service", "/etc/login.defs"].map(
      (path) => `warning files[${path}]: differs from its package, it should not`,
    ),
    undo: AS_PRINTED,
  },
  {
    change: `mkdir -p /etc/apt/sources.list.d && echo 'deb [trusted=yes] http://192.0.2.1/debian evil main' > /etc/apt/sources.list.d/evil.list`,
    finds: [
      "error packages.sources[/etc/apt/sources.list.d/evil.list]: adds packages from http://192.0.2.1/debian, nothing declares it",
    ],
    undo: AS_PRINTED,
  },
  {
    change:
      "echo /opt/evil.so > /etc/ld.so.preload.d && echo 'umask 0' > /etc/profile.d/evil.sh && touch /usr/local/bin/ls",
    finds: ["/etc/ld.so.preload.d", "/etc/profile.d/evil.sh", "/usr/local/bin/ls"].map(
      (path) => `warning files[${path}]: was written by neither this program nor a package, it should not be`,
    ),
    undo: "rm /etc/ld.so.preload.d /etc/profile.d/evil.sh /usr/local/bin/ls",
  },
  {
    change: "mkdir -p /etc/cron.d && echo '* * * * * root true' > /etc/cron.d/evil",
    finds: [`warning cron[/etc/cron.d/evil]: ${STRAY}`],
    undo: "rm /etc/cron.d/evil",
  },
  {
    change: "apt-mark hold postgresql",
    finds: ["warning packages.postgresql: is held back, so it gets no security updates"],
    undo: AS_PRINTED,
  },
  {
    change: "nft add table inet evil",
    finds: ["warning nft.inet.evil: is a table that nothing declares"],
    undo: AS_PRINTED,
  },
  {
    change: "iptables -I DOCKER-USER -s 192.0.2.1 -j DROP",
    finds: ["warning nft.ip.filter.DOCKER-USER: rule … is declared by nothing"],
    undo: AS_PRINTED,
  },
  {
    change: "echo 'UUID=0 /mnt/convex ext4 defaults 0 0' >> /etc/fstab",
    finds: [`warning fstab: unexpected line "UUID=0 /mnt/convex ext4 defaults 0 0"`],
    undo: "sed -i '/UUID=0/d' /etc/fstab",
  },
  {
    change: `systemd-run --quiet --unit tampering python3 -m http.server --bind 0.0.0.0 9999 &&
      until ss -Hltn | grep -q :9999; do sleep 0.1; done`,
    finds: ["warning listeners.0.0.0.0:9999: python3 listens there, nothing declares it"],
    undo: "systemctl stop tampering",
  },
  {
    change: `${REMAKE} --mount type=bind,src=/etc,dst=/host,readonly --security-opt seccomp=unconfined --tmpfs /t --pid host \\
      --cap-add SYS_ADMIN --device /dev/null --ulimit nofile=999 --dns 192.0.2.1 --add-host a:192.0.2.1 \\
      --sysctl net.ipv4.ip_forward=0 --network-alias other --ip 172.30.0.77 "$image" /app/server.ts`,
    finds: [
      ...[
        'HostConfig.SecurityOpt: is ["seccomp=unconfined","label=disable"], it should be nothing',
        'HostConfig.Tmpfs: is {"/t":""}, it should be nothing',
        "pidMode: is host, it should be nothing",
        'capabilities: is ["SYS_ADMIN"], it should be []',
        'HostConfig.Devices: is [{"PathOnHost":"/dev/null","PathInContainer":"/dev/null","CgroupPermissions":"rwm"}], it should be nothing',
        'HostConfig.Ulimits: is [{"Name":"nofile","Hard":999,"Soft":999}], it should be nothing',
        'HostConfig.Dns: is ["192.0.2.1"], it should be nothing',
        'HostConfig.Sysctls: is {"net.ipv4.ip_forward":"0"}, it should be nothing',
        'hosts: is ["a:192.0.2.1"], it should be []',
        'volumes: is ["/etc:/host:ro"], it should be []',
        'networks.convex.aliases: is ["dashboard","other"], it should be ["dashboard"]',
        "networks.convex.Address: is 172.30.0.77, it should be nothing",
        'command: is ["/app/server.ts"], it should be nothing',
      ].map((what) => `error containers.convex-dashboard.${what}`),
    ],
  },
  {
    change: "docker network create stranger && docker network connect stranger convex-dashboard",
    finds: [
      `error containers.convex-dashboard.networks: is ["convex","stranger"], it should be ["convex"]`,
      "warning networks.stranger: is not one of this stack's, it should not be here",
    ],
    undo: "docker network disconnect stranger convex-dashboard && docker network rm stranger",
  },
  {
    change:
      "docker run -d --name miner --network convex --entrypoint sleep $(docker inspect -f '{{.Image}}' convex-backend) infinity",
    finds: [
      "warning containers.miner: is not one of this stack's, it should not be here",
      "error networks.convex.containers: miner is connected, it should not be: PostgreSQL admits this network",
    ],
    undo: "docker rm --force miner",
  },
  {
    change: "docker update --restart no convex-dashboard",
    finds: ["error containers.convex-dashboard.restart: is no, it should be unless-stopped"],
  },
  {
    change: "sysctl -qw net.ipv4.ip_forward=0",
    finds: ["error sysctl.net.ipv4.ip_forward: is 0, it should be 1: no packets are forwarded to the containers"],
    undo: AS_PRINTED,
  },
  {
    change: "ip6tables -P INPUT DROP",
    finds: ["error nft.ip6.filter.INPUT.policy: is drop, it should be accept"],
    undo: AS_PRINTED,
  },
  {
    change: "iptables -t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
    finds: ["containers.convex-backend.3210", "containers.convex-backend.3211", "containers.convex-dashboard.6791"].map(
      (path) => `error nft.ip.nat.PREROUTING.${path}: no rule leads the port there, one should`,
    ),
    // The command that drift prints restarts the containers, and other rows would notice that.
    undo: "iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
  },
  {
    change: `iptables -I FORWARD -s 192.0.2.1 -j DROP && iptables -I DOCKER -p tcp --dport 9 -j DROP &&
      iptables -t nat -I DOCKER -s 192.0.2.1 -j RETURN`,
    finds: ["filter.FORWARD", "filter.DOCKER", "nat.DOCKER"].map(
      (chain) => `warning nft.ip.${chain}: rule … is declared by nothing`,
    ),
    undo: AS_PRINTED,
  },
  {
    change: "ip route add blackhole 192.0.2.7 && ip rule add from 192.0.2.7 lookup 100 priority 100",
    finds: [
      "warning routes[192.0.2.7]: is a blackhole, nothing declares it",
      "warning routes.rules[100]: selects another routing table, nothing declares it",
    ],
    undo: AS_PRINTED,
  },
  {
    change: "echo nameserver 192.0.2.1 >> /etc/resolv.conf",
    finds: ["error names.servers[192.0.2.1]: does not answer, it should: it is in /etc/resolv.conf"],
    undo: "sed '/192.0.2.1/d' /etc/resolv.conf > /run/resolv && cat /run/resolv > /etc/resolv.conf",
  },
  {
    change: "echo 192.0.2.7 ghcr.io >> /etc/hosts",
    finds: ["warning names.hosts[ghcr.io]: leads to 192.0.2.7 in line … of /etc/hosts, nothing declares it"],
    undo: AS_PRINTED,
  },
  {
    change: "sysctl -qw net.ipv4.ip_nonlocal_bind=0",
    finds: ["error sysctl.net.ipv4.ip_nonlocal_bind: is 0, it should be 1"],
  },
  {
    change: "chmod 0777 /mnt/convex/data",
    finds: ["error folders[/mnt/convex/data].mode: is 777, it should be 755"],
  },
  {
    change: "printf '0%.0s' $(seq 64) > /mnt/convex/data/credentials/instance_secret",
    finds: ["error backend.instance_secret: on the volume is not the stack's, it should be"],
  },
];
