import dns from "node:dns";

// Imported for its effect, also by child processes with Node's --import: names in .test lead where a cloud's name server says,
// for everything in the process that connects to a name. The server's port is in the variable of the environment.

export const DNS_PORT = "CONVEX_DROPLET_TEST_DNS_PORT";

type Callback = (error: Error | null, address?: string | dns.LookupAddress[], family?: number) => void;

const usual = dns.lookup;

function lookup(name: string, ...rest: [Callback] | [dns.LookupOptions, Callback]): void {
  const port = process.env[DNS_PORT];
  const [options, callback] = rest.length === 1 ? [{}, rest[0]] : rest;
  if (port === undefined || !name.endsWith(".test")) {
    (usual as (name: string, options: dns.LookupOptions, callback: Callback) => void)(name, options, callback);
    return;
  }
  const resolver = new dns.promises.Resolver({ timeout: 500, tries: 2 });
  resolver.setServers([`127.0.0.1:${port}`]);
  resolver.resolve4(name).then(
    ([address = ""]) => {
      if (options.all === true) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    },
    (error: unknown) => {
      callback(error as Error);
    },
  );
}

dns.lookup = lookup as typeof dns.lookup;
