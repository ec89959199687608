/** What machine/status.py prints: sizes in bytes, times in seconds since 1970. Null is what could not be asked. */
export interface Facts {
  now: number;
  /** Seconds since the boot; this and the next three are absent if they could not be read. */
  up?: number;
  /** Average of the last minute, and how many processors share it. */
  load?: number;
  processors?: number;
  memory?: { total: number; available: number };
  disks: { folder: string; total: number; available: number; percent: number }[] | null;
  containers: Container[] | null;
  postgres: {
    version: string;
    connections: number;
    allowed: number;
    /** Of the write-ahead log on the volume; null if the server is managed. */
    wal: number | null;
    databases: Sized[];
    /** The largest ones of Convex's database; null in an empty one. */
    tables: Sized[] | null;
  } | null;
  /** The last records; those that there are. */
  backups: {
    point?: { at: string };
    base?: { at: string };
    objects?: { at: string };
    drill?: { started: string; result: string };
  } | null;
  waiting: number | null;
  certificate: { start: number; end: number } | null;
  packages: number | null;
  reboot: number | null;
}

export interface Sized {
  name: string;
  bytes: number;
}

export interface Container {
  name: string;
  image: string;
  /** Of the image; empty if it does not name one. */
  revision: string;
  state: string;
  health: string | null;
  /** Its last start, or its end if it does not run. */
  since: number;
  restarts: number;
  killed: boolean;
}
