/** A change made by hand, and all that drift says of it. */
export interface Tampering {
  /** On the droplet, as root. */
  change: string;
  /** `severity path: message`, a line each; `…` stands for what differs from machine to machine. */
  finds: string[];
  /** How a person takes back what is not the program's to repair; without it, the one `up` that drift names does. */
  undo?: string;
}

const PG = "/etc/postgresql/17/main";
const PSQL = "cd / && runuser -u postgres -- psql -qAtX";
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDDe5gkYXmwrvhDsOkmiVNyo8xGuMBVzEF8UlLZQPFWA mallory";
const SHOWN_KEY = "ssh-ed25519 AAAAC3NzaC1l… mallory";
const STRAY = "is neither this program's nor a package's, it should not be here";

/** What only looking at the whole machine shows; what its scripts tell by themselves has a contract test. */
export const TAMPERINGS: Tampering[] = [
  {
    change: `echo 'host all all 0.0.0.0/0 trust' >> ${PG}/pg_hba.d/10-convex-droplet.conf`,
    finds: [`error postgres.pg_hba: unexpected line 5 "host all all 0.0.0.0/0 trust"`],
  },
  {
    change: `install -o postgres <(echo 'host swarmdb swarm 172.30.0.0/24 trust') ${PG}/pg_hba.d/99-neighbour.conf`,
    finds: [
      `error postgres.pg_hba: unexpected line 1 "host swarmdb swarm 172.30.0.0/24 trust" in ${PG}/pg_hba.d/99-neighbour.conf`,
      `warning postgres.files[${PG}/pg_hba.d/99-neighbour.conf]: ${STRAY}`,
    ],
    undo: `rm ${PG}/pg_hba.d/99-neighbour.conf`,
  },
  {
    change: `${PSQL} -c "ALTER SYSTEM SET work_mem = '64MB'"`,
    finds: [
      "warning postgres.settings.work_mem: is 64MB by /mnt/convex/postgresql/17/main/postgresql.auto.conf:3, it should not be set there",
    ],
    undo: `${PSQL} -c 'ALTER SYSTEM RESET work_mem'`,
  },
  {
    change: `${PSQL} -c "ALTER ROLE convex SET statement_timeout = '1s'"`,
    finds: [`warning postgres.role_settings: unexpected setting "role convex: statement_timeout=1s"`],
    undo: `${PSQL} -c 'ALTER ROLE convex RESET ALL'`,
  },
  {
    change: `${PSQL} -c 'CREATE ROLE intruder SUPERUSER LOGIN'`,
    finds: ["error postgres.roles.intruder: is a superuser that this stack does not declare"],
    undo: `${PSQL} -c 'DROP ROLE intruder'`,
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
    undo: `${PSQL} -c 'REVOKE pg_read_server_files FROM convex'`,
  },
  {
    change: `${PSQL} -d convex_self_hosted -c 'CREATE ROLE neighbour' -c 'GRANT SELECT ON documents TO neighbour'`,
    finds: [
      "warning postgres.grants: unexpected in the backend's database: table documents grants SELECT to neighbour",
      "warning postgres.roles.neighbour: is a role that this stack does not declare",
    ],
    undo: `${PSQL} -d convex_self_hosted -c 'DROP OWNED BY neighbour' -c 'DROP ROLE neighbour'`,
  },
  // The last of those to PostgreSQL: what it has read counts.
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
    finds: ["error users.toor: has root's number 0, only root should"],
    undo: "sed -i '/^toor:/d' /etc/passwd /etc/shadow",
  },
  {
    change: `echo '${KEY}' >> /root/.ssh/authorized_keys`,
    finds: [`error authorized_keys[/root/.ssh/authorized_keys]: unexpected line 2 "${SHOWN_KEY}"`],
    undo: "sed -i '/mallory/d' /root/.ssh/authorized_keys",
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
    change: "mkdir -p /etc/cron.d && echo '* * * * * root true' > /etc/cron.d/evil",
    finds: [`warning cron[/etc/cron.d/evil]: ${STRAY}`],
    undo: "rm /etc/cron.d/evil",
  },
  {
    change: "apt-mark hold postgresql",
    finds: ["warning packages.postgresql: is held back, so it gets no security updates"],
    undo: "apt-mark unhold postgresql",
  },
  {
    change: "nft add table inet evil",
    finds: ["warning nft.inet.evil: is a table that nothing declares"],
    undo: "nft delete table inet evil",
  },
  {
    change: "iptables -I DOCKER-USER -s 192.0.2.1 -j DROP",
    finds: ["warning nft.ip.filter.DOCKER-USER: rule … is declared by nothing"],
    undo: "iptables -D DOCKER-USER -s 192.0.2.1 -j DROP",
  },
  {
    change: "echo 'UUID=0 /mnt/convex ext4 defaults 0 0' >> /etc/fstab",
    finds: [`warning fstab: unexpected line "UUID=0 /mnt/convex ext4 defaults 0 0"`],
    undo: "sed -i '/UUID=0/d' /etc/fstab",
  },
  {
    change: `systemd-run --quiet --unit tampering python3 -m http.server --bind 0.0.0.0 9999 &&
      until ss -Hltn | grep -q :9999; do sleep 0.1; done`,
    finds: ["warning listeners.0.0.0.0:9999: python3 listens there, nothing is declared to"],
    undo: "systemctl stop tampering",
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
    change: "sysctl -qw net.ipv4.ip_nonlocal_bind=0",
    finds: ["error sysctl.net.ipv4.ip_nonlocal_bind: is 0, it should be 1"],
  },
  {
    change: "chmod 0777 /mnt/convex/data",
    finds: ["error folders[/mnt/convex/data].mode: is 777, it should be 755"],
  },
  {
    change: "printf '0%.0s' $(seq 64) > /mnt/convex/data/credentials/instance_secret",
    finds: ["error backend.instance_secret: on the volume is another one than the stack's"],
  },
];
