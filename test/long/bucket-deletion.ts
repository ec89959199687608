/**
 * A command on a droplet that deletes an object of the bucket with stored files, with the key that the droplet has.
 *
 * @param object  its path in the bucket
 */
export function deletion(object: string): string {
  const value = (name: string) => `$(sed -n 's/^${name}=//p' /etc/convex-droplet/buckets)`;
  return `
    curl -fsS --aws-sigv4 "aws:amz:${value("region")}:s3" --user "${value("key")}:${value("key_secret")}" \\
      -H "x-amz-content-sha256: $(sha256sum < /dev/null | cut -d ' ' -f 1)" -X DELETE "${value("endpoint")}/${value("bucket")}/${object}"`;
}
