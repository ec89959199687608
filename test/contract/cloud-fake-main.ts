/** The cloud's daemon with a machine room that only records: `node cloud-fake-main.ts <root>`. */
import { serveCloud } from "../../sandbox/cloud/serve.ts";
import { sandboxHome } from "../../sandbox/home.ts";
import { RememberingHypervisor } from "./cloud-harness.ts";

await serveCloud(sandboxHome(process.argv[2] ?? ""), () => Promise.resolve(new RememberingHypervisor()));
process.exit();
