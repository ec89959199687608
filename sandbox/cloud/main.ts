/**
 * The cloud's daemon: `node sandbox/cloud/main.ts <root of the sandbox>`. `daemon.ts` starts and stops it.
 */
import { openMachineRoom } from "../droplet/machine-room.ts";
import { sandboxHome } from "../home.ts";
import { serveCloud } from "./serve.ts";

const [root] = process.argv.slice(2);
if (root === undefined) throw new Error("main.ts: no folder given. Give the root of the sandbox.");

await serveCloud(sandboxHome(root), openMachineRoom);
process.exit();
