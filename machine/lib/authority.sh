# shellcheck shell=bash
# What PostgreSQL's clients on this machine and in its containers trust. Sourced after common.sh.

# put_authority PEM
put_authority() {
  local trusted=/etc/convex-droplet/postgres-authority.pem
  # Docker makes a folder if it does not find the file that it has to mount.
  if ! checking && [[ $(kind_of "$trusted") == folder ]]; then
    rmdir "$trusted" || fail "$trusted: is a folder with files, it should be a file. Move it away, then run $(pulumi_command up) again"
  fi
  put_file 0644 "$trusted" <<< "$1"
}
