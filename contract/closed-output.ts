/** Ends the process quietly, as other tools do, once nobody reads its output any more, for example after `| head`. */
export function endWithReader(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    // 128 plus SIGPIPE's number.
    process.exit(141);
  });
}
