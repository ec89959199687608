#!/usr/bin/env bash
# Serves the instance's names over HTTPS: nginx as a reverse proxy, and one certificate for all names, which certbot gets from an
# ACME server, keeps on the volume and renews by its timer. What is served is replaced only once everything new is there, so a
# certificate that cannot be issued takes nothing down. Without names, nothing is served. The second run changes nothing and
# says so.
#
#   edge.sh <mountpoint, address (to which the names lead), api_host, site_host, dashboard_host (each may be empty), app_hosts
#     (apps.sh leads them on), api_port, site_port, dashboard_port, dashboard_access (tunnel, allowlist or password),
#     dashboard_networks, dashboard_password, trusted_proxies (networks), acme_directory (URL), acme_email, acme_authority (PEM, by
#     lines), acme_authority_file
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"
# shellcheck source=machine/edge/certificate.sh
source "$here/certificate.sh"
# shellcheck source=machine/edge/sites.sh
source "$here/sites.sh"

# The process of the latest run, and its names.
readonly LATEST=/run/convex-droplet-edge

main() {
  local mountpoint address api_host site_host dashboard_host app_hosts api_port site_port dashboard_port dashboard_access dashboard_networks
  local dashboard_password trusted_proxies acme_directory acme_email acme_authority acme_authority_file names
  take mountpoint address api_host site_host dashboard_host app_hosts api_port site_port dashboard_port dashboard_access dashboard_networks \
    dashboard_password trusted_proxies acme_directory acme_email acme_authority acme_authority_file
  names=$(printf '%s\n' "$api_host" "$site_host" "$dashboard_host" "$app_hosts" | grep . | sort) || true
  if [[ -z $names ]]; then
    stop_serving
    finish
    return
  fi
  lock
  if differs "edge volume" mounted "$(either mounted "not mounted" mountpoint -q "$mountpoint")"; then
    fail "$mountpoint: is not mounted, it should be the data volume. Run $(pulumi_command up) again"
  fi
  # dig comes with the last one.
  install_listed "$here/packages"
  trust_authority "$acme_authority_file" "$acme_authority"
  if checking && ! { mountpoint -q "$mountpoint" && type nginx certbot openssl dig > /dev/null 2>&1; }; then
    # The rest would only show the consequences. Its files are still declared.
    { configure_certbot "$mountpoint/certificates" && configure_nginx "$mountpoint" && configure_sites "$mountpoint/certificates"; } > /dev/null
    return
  fi
  configure_certbot "$mountpoint/certificates"
  configure_nginx "$mountpoint"
  # At the end, nginx is compared with everything that it should serve.
  checking || answer_challenges
  # Names that do not lead here yet take time. Other scripts can run meanwhile, also this one with other names.
  checking || printf %s "$BASHPID $names" > "$LATEST"
  unlock
  ensure_certificate "$mountpoint/certificates" "$acme_directory" "$acme_email" "$address" "$names"
  lock
  checking || [[ $(< "$LATEST") == "$BASHPID $names" ]] || fail "another run has taken over this machine meanwhile. Nothing was changed after that"
  configure_sites "$mountpoint/certificates"
  serve_nginx
  verify_served "$mountpoint/certificates" "$api_host"
  start_unit certbot.timer
  finish
}

# stop_serving: for a machine without names. The certificate stays on the volume, for the next name.
stop_serving() {
  # These files go with it.
  if [[ -d $SITES ]]; then
    declare_files /etc/nginx/*.conf "$SITES"/* /etc/systemd/system/nginx.service.d/* /etc/logrotate.d/nginx "$CERTBOT_CONFIG"
  fi
  if ! differs "folders[$SITES]" nothing "$(kind_of "$SITES")"; then return 0; fi
  lock
  systemctl disable --quiet --now certbot.timer nginx.service 2> /dev/null || true
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 purge nginx nginx-common certbot > /dev/null < /dev/null \
    || fail "nginx: cannot be removed. Run $(pulumi_command up) again; if that does not help, see: apt-get purge nginx"
  rm -rf /etc/systemd/system/{nginx.service,logrotate.timer}.d "$CHALLENGES"
  rm -f /usr/local/share/ca-certificates/convex-acme-*.crt
  update-ca-certificates > /dev/null 2>&1
  systemctl daemon-reload
  # A failed renewal is of no interest any more.
  systemctl reset-failed certbot.service nginx.service 2> /dev/null || true
  # Last, because the next run looks for it if this one is killed.
  rm -rf /etc/nginx
  changed "removed nginx and certbot, because the instance has no names any more"
}

# trust_authority FILE PEM: makes the machine trust a private authority, or none if FILE is empty. An earlier one stays as long as
# a container uses its file.
trust_authority() {
  local file=$1 pem=$2 other bundle=/etc/ssl/certs/ca-certificates.crt mounted
  if [[ -n $file ]]; then
    # Docker makes a folder in the place of a file that a container should mount.
    checking || rmdir "$file" 2> /dev/null || true
    put_file 0644 "$file" <<< "$pem"
  fi
  for other in /usr/local/share/ca-certificates/convex-acme-*.crt; do
    if [[ ! -e $other || $other == "$file" ]]; then continue; fi
    declare_files "$other"
    if checking; then continue; fi
    mounted=$(docker ps --all --quiet | xargs --no-run-if-empty docker inspect --format '{{range .Mounts}}{{.Source}} {{end}}')
    if [[ $mounted == *"$other"* ]]; then continue; fi
    rm "$other"
    update-ca-certificates > /dev/null 2>&1
    changed "removed $other"
  done
  if [[ -n $file ]] && differs "edge.authority trusted" yes "$([[ $(< "$bundle") == *"$pem"* ]] && echo yes || echo no)"; then
    update-ca-certificates > /dev/null 2>&1 || fail "acmeAuthority: cannot be added to the machine's authorities. See: update-ca-certificates --verbose"
    changed "added acmeAuthority to the machine's authorities"
  fi
}

# answer_challenges: makes nginx answer the ACME server. If nginx runs, but would refuse the names of an earlier run, it keeps what
# it has read. If it does not run, for example because their certificate is gone, it starts without these names.
answer_challenges() {
  if ! nginx -t -q 2> /dev/null; then
    if systemctl is-active --quiet nginx.service; then return; fi
    rm -f "$SITES/sites.conf"
  fi
  serve_nginx
}

# verify_served FOLDER HOST: compares the certificate that nginx serves with the one on the volume, because a run can be killed
# between a renewal and the reload.
verify_served() {
  local folder=$1 host=$2
  # In check mode, these have been reported.
  if checking && { ! systemctl is-active --quiet nginx.service || [[ -z $(fingerprint_of "$(certificate_in "$folder")") ]]; }; then return; fi
  differs "edge.certificate served" "$(fingerprint_of "$(certificate_in "$folder")")" "$(wait_for_served "$folder" "$host")" || return 0
  systemctl reload nginx.service
  wait_until 10 "nginx to serve the new certificate" serves_current "$folder" "$host" \
    || fail "nginx: does not serve the certificate in $folder. See: journalctl -u nginx"
  changed "made nginx read the certificate again"
}

# A reload starts new workers, and the old ones may still accept a connection.
wait_for_served() {
  if ! checking; then wait_until 5 "nginx to serve the certificate" serves_current "$@" 2> /dev/null || true; fi
  fingerprint_served "$2"
}

serves_current() { [[ $(fingerprint_served "$2") == "$(fingerprint_of "$(certificate_in "$1")")" ]]; }

main "$@"
