/** The output of `docker inspect` for a container. All of it is compared; these are the parts that this code names. */
export interface Container {
  Id: string;
  Name: string;
  Image: string;
  RestartCount: number;
  State: {
    Status: string;
    ExitCode: number;
    OOMKilled: boolean;
    Health?: { Status: string };
  };
  Mounts: { Type: string; Name?: string; Source: string; Destination: string; RW: boolean; Propagation?: string }[];
  Config: Record<string, unknown> & {
    Env: string[] | null;
    StopSignal?: string;
    StopTimeout?: number;
    Healthcheck?: { Test?: string[]; Interval?: number; Timeout?: number; Retries?: number; StartPeriod?: number };
  };
  HostConfig: Record<string, unknown> & {
    PortBindings: Record<string, { HostIp: string; HostPort: string }[]> | null;
    RestartPolicy: { Name: string; MaximumRetryCount?: number };
    LogConfig: { Type: string; Config: Record<string, string> };
    Memory: number;
    MemorySwap: number;
    ExtraHosts: string[] | null;
  };
  NetworkSettings: { Networks: Record<string, Endpoint> };
}

interface Endpoint {
  Aliases: string[] | null;
  IPAMConfig: object | null;
  Links: string[] | null;
  DriverOpts?: object | null;
}

export interface Image {
  Id: string;
  RepoDigests: string[] | null;
  Config: Record<string, unknown> & { Env?: string[] | null; Volumes?: Record<string, object> | null };
}

/** What the program declares for a container, with the provider's own names. */
export interface Declared {
  name: string;
  image: string;
  envs: string[];
  restart: string;
  /** If absent, the image's. */
  stopSignal?: string;
  stopTimeout: number;
  logDriver: string;
  logOpts: Record<string, string>;
  memory: number;
  memorySwap: number;
  /** Processors that it may use. */
  cpus?: string;
  /** If absent, the image's. */
  command?: string[];
  ports?: { internal: number; external: number; ip: string }[];
  hosts?: { host: string; ip: string }[];
  volumes?: { hostPath: string; containerPath: string; readOnly?: boolean }[];
  networksAdvanced: { name: string; aliases?: string[] }[];
  healthcheck?: { tests: string[]; interval: string; timeout: string; retries: number; startPeriod: string };
}
