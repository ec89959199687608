# shellcheck shell=bash
# The certificate for the instance's names. Sourced by edge.sh.

readonly CERTBOT_CONFIG=/etc/letsencrypt/cli.ini CERTBOT_LOG=/var/log/letsencrypt/letsencrypt.log
# The folder from which nginx answers the ACME server.
readonly CHALLENGES=/var/lib/convex-droplet/challenges

# certificate_in FOLDER, key_in FOLDER: the current ones, in certbot's folder on the volume.
certificate_in() { echo "$1/live/convex/fullchain.pem"; }
key_in() { echo "$1/live/convex/privkey.pem"; }

# configure_certbot FOLDER: certbot keeps everything there, also what its own timer renews. The distribution's timer runs it twice a day.
configure_certbot() {
  put_folder 0700 root:root "$1"
  put_folder 0755 root:root "${CHALLENGES%/*}"
  put_folder 0755 root:root "$CHALLENGES"
  put_file 0644 "$CERTBOT_CONFIG" << EOF
config-dir = $1
max-log-backups = 0
preconfigured-renewal = True
deploy-hook = systemctl reload nginx.service
EOF
}

# ensure_certificate FOLDER DIRECTORY EMAIL ADDRESS NAMES: gets a certificate if there is none for exactly these names from this
# ACME server, or if its renewal is overdue.
ensure_certificate() {
  local folder=$1 directory=$2 email=$3 address=$4 names=$5 certificate reason=
  certificate=$(certificate_in "$folder")
  if [[ -z $(fingerprint_of "$certificate") ]]; then
    # In check mode, there is nothing more to compare.
    differs "edge.certificate" there "$(either unreadable missing test -e "$certificate")" || return 0
    reason="there is none yet"
  elif differs "edge.certificate names" "${names//$'\n'/, }" "$(names_in "$certificate" | paste -sd , | sed 's/,/, /g')"; then
    reason="the current one has other names"
  elif differs "edge.certificate issuer" "$directory" "$(sed -n 's/^server = //p' "$folder/renewal/convex.conf" 2> /dev/null)"; then
    reason="the current one is from another ACME server"
  elif differs "edge.certificate validity" "$(validity in-time "$certificate")" "$(validity found "$certificate")"; then
    reason="the current one $(validity found "$certificate")"
  fi
  [[ -n $reason ]] || return 0
  say "getting a certificate for ${names//$'\n'/, }: $reason"
  await_names "$address" "$names"
  issue "$folder" "$directory" "$email" "$names"
}

# names_in CERTIFICATE: sorted, one on each line; nothing if there is no certificate.
names_in() { openssl x509 -in "$1" -noout -ext subjectAltName 2> /dev/null | grep -o 'DNS:[^, ]*' | sed 's/DNS://' | sort; }

# validity in-time|found CERTIFICATE: what it should be, and what it is. certbot renews when a third of the lifetime is left, and
# tries for days. With less than a quarter left, it has failed.
validity() {
  local start end now
  start=$(moment "$2" -startdate) end=$(moment "$2" -enddate) now=$(date +%s)
  if [[ $1 == in-time ]] || ((end - now > (end - start) / 4)); then
    echo "more than a quarter of its lifetime left"
  elif ((end <= now)); then
    echo "expired on $(date --utc --date "@$end" +%F)"
  else
    echo "expires on $(date --utc --date "@$end" +%F)"
  fi
}

# moment CERTIFICATE -startdate|-enddate: in seconds since 1970.
moment() { date --date "$(openssl x509 -in "$1" -noout "$2" | cut -d = -f 2)" +%s; }

# fingerprint_of CERTIFICATE: nothing if there is none, or it cannot be read.
fingerprint_of() { openssl x509 -in "$1" -noout -fingerprint -sha256 2> /dev/null | cut -d = -f 2; }

# fingerprint_served HOST: of the certificate that nginx serves for the name.
fingerprint_served() {
  timeout 5 openssl s_client -connect 127.0.0.1:443 -servername "$1" < /dev/null 2> /dev/null | openssl x509 -noout -fingerprint -sha256 2> /dev/null | cut -d = -f 2
}

# await_names ADDRESS NAMES: waits until all names lead here, for two minutes. A failed attempt at the ACME server counts for its
# limits, so it is better not to try.
await_names() {
  local address=$1 names=$2 deadline=$((SECONDS + ${CONVEX_DROPLET_NAMES_SECONDS:-120})) name missing told=
  while true; do
    missing=$(while read -r name; do leads_here "$address" "$name" || echo "$name"; done <<< "$names")
    [[ -n $missing ]] || return 0
    if [[ -z $told ]]; then
      told=1
      say "waiting for ${missing//$'\n'/, } to lead to $address"
    fi
    if ((SECONDS >= deadline)); then break; fi
    sleep 2
  done
  while read -r name; do
    say "error: $name: has $(records_of "$name"), it should have the record A $address and no other. Set it at the domain's DNS provider; if it is" \
      "set there, the domain's registrar names other name servers"
  done <<< "$missing"
  fail "the certificate was not asked for, because not all names lead here yet. Records can take some minutes to spread; then run $(pulumi_command up) again"
}

# leads_here ADDRESS NAME: by its records, or if a CDN is in front, by what it answers.
leads_here() {
  local addresses token found
  addresses=$(addresses_of "$2")
  # With another address beside it, the ACME server may choose that one.
  if [[ " $addresses " == *" $1 "* ]]; then
    [[ $addresses == "$1" ]]
    return
  fi
  token=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
  mkdir -p "$CHALLENGES/.well-known/acme-challenge"
  echo "$token" > "$CHALLENGES/.well-known/acme-challenge/$token"
  found=$(curl -fsS --max-time 5 "http://$2/.well-known/acme-challenge/$token" 2> /dev/null) || true
  rm "$CHALLENGES/.well-known/acme-challenge/$token"
  [[ $found == "$token" ]]
}

# addresses_of NAME: its addresses, sorted. An IPv6 address counts, because the ACME server prefers it. The domain's own name server
# is asked, because others may remember for half an hour that a new name did not exist.
addresses_of() {
  local server found
  server=$(name_server_of "$1")
  found=$(ask_addresses "$1" ${server:+"@$server"})
  # An alias of a name in another domain.
  if [[ $found == *. ]]; then found=$(ask_addresses "$1"); fi
  grep -v '\.$' <<< "$found" | grep . | sort -u | paste -sd ' ' || true
}

ask_addresses() { dig +short +time=3 +tries=2 "${@:2}" "$1" A "$1" AAAA 2> /dev/null | grep -v '^;' || true; }

# tell_addresses NAME: the name and its addresses, on one line. Fails if no name server answers, because then nobody knows whether
# there are any.
tell_addresses() {
  local found server
  found=$(addresses_of "$1")
  if [[ -z $found ]]; then
    server=$(name_server_of "$1")
    dig +time=3 +tries=1 ${server:+"@$server"} "$1" A 2> /dev/null | grep -Eq 'status: (NOERROR|NXDOMAIN)' || return
  fi
  echo "$1 $found"
}

# name_server_of NAME: the address of a server for the domain that contains the name; nothing if there is none.
name_server_of() {
  local domain=$1 server address
  while [[ $domain == *.* ]]; do
    while read -r server; do
      address=$(dig +short +time=3 +tries=2 "$server" A | grep -E '^[0-9.]+$' | head -n 1) || true
      if [[ -n $address ]]; then
        echo "$address"
        return
      fi
    done < <(dig +noall +answer +time=3 +tries=2 "$domain" NS 2> /dev/null | awk '$4 == "NS" { print $5 }')
    domain=${domain#*.}
  done
}

records_of() {
  local found
  found=$(addresses_of "$1")
  if [[ -z $found ]]; then echo "no record"; else echo "the address ${found// / and }"; fi
}

# issue FOLDER DIRECTORY EMAIL NAMES: one certificate for all names. It replaces the current one only when it is complete.
issue() {
  local folder=$1 directory=$2 email=$3 names=$4 certificate log before status=0
  certificate=$(certificate_in "$folder")
  # If a part is missing, because certbot was killed or somebody deleted it, certbot would give the next certificate another name.
  if [[ ! -s $folder/renewal/convex.conf || ! -e $certificate ]]; then rm -rf "$folder"/{live,archive}/convex "$folder/renewal/convex.conf"; fi
  log=$(mktemp)
  before=$(stat --format %s "$CERTBOT_LOG" 2> /dev/null || echo 0)
  run_certbot "$directory" "$email" "$names" > "$log" 2>&1 || status=$?
  # Some ACME servers lose their accounts.
  if ((status != 0)) && answers_since "$before" | grep -q error:accountDoesNotExist; then
    rm -rf "$folder/accounts/${directory#https://}"
    before=$(stat --format %s "$CERTBOT_LOG")
    status=0
    run_certbot "$directory" "$email" "$names" > "$log" 2>&1 || status=$?
  fi
  if ((status == 0)); then
    rm "$log"
    changed "got a certificate for ${names//$'\n'/, }"
    return
  fi
  tail -n 20 "$log" >&2
  { cat "$log" && answers_since "$before"; } | explain_refusal "$directory" >&2
  rm "$log"
  if [[ -e $certificate && $(names_in "$certificate") == "$names" && $(validity found "$certificate") == expires* ]]; then
    say "warning: the certificate was not renewed, and $(validity found "$certificate")"
    return
  fi
  fail "the certificate was not issued, the reason is above. What was served before is still served"
}

# answers_since BYTES: what certbot's own log, which also has the ACME server's answers, has beyond a size.
answers_since() { tail -c "+$(($1 + 1))" "$CERTBOT_LOG" 2> /dev/null || true; }

# run_certbot DIRECTORY EMAIL NAMES: waits for the timer's certbot, which locks its files.
run_certbot() {
  local directory=$1 email=$2 names=$3 deadline=$((SECONDS + 120)) name
  local options=(--non-interactive --agree-tos --server "$directory" --cert-name convex --key-type ecdsa --webroot --webroot-path "$CHALLENGES")
  if [[ -n $email ]]; then options+=(--email "$email" --no-eff-email); else options+=(--register-unsafely-without-email); fi
  while read -r name; do options+=(--domain "$name"); done <<< "$names"
  while pgrep --full '^/usr/bin/python3 .*certbot' > /dev/null && ((SECONDS < deadline)); do sleep 0.5; done
  # The last option lets acmeDirectory lead to a staging server.
  timeout --kill-after=10 300 certbot certonly "${options[@]}" --renew-with-new-domains --force-renewal --break-my-certs < /dev/null
}

# explain_refusal DIRECTORY <LOG: the cause and the fix, for each refusal that is known.
explain_refusal() {
  local log directory=$1
  log=$(cat)
  refusal "$log" "error:rateLimited|^HTTP 429|too many (certificates|failed|registrations|new orders)" \
    "the ACME server's rate limit is reached" \
    "wait until the time in its message, then run $(pulumi_command up) again; to try without its limits, use the server's staging directory as acmeDirectory"
  refusal "$log" "error:caa\b" \
    "a CAA record of the domain forbids this authority" \
    "add one that allows it at the domain's DNS provider, such as 0 issue \"letsencrypt.org\", or remove the others"
  refusal "$log" "error:dns\b|NXDOMAIN|could not resolve" \
    "the ACME server cannot find the names, or their records are wrong" \
    "check the domain's name servers at its registrar, and DNSSEC; new records take some minutes"
  refusal "$log" "error:connection\b" \
    "the ACME server cannot reach port 80 at the names" \
    "see what closes it: npm run drift shows the droplet's firewalls; a CDN in front must pass on /.well-known/acme-challenge/"
  refusal "$log" "error:(unauthorized|incorrectResponse)\b" \
    "something else answers at the names" \
    "see where they lead: their records at the domain's DNS provider, also AAAA, and a CDN in front"
  refusal "$log" "error:invalidContact|error:unsupportedContact|error:malformed.*contact" \
    "the ACME server refuses the e-mail address" \
    "set another one with $(pulumi_command "config set" acmeEmail me@example.com), or remove it with $(pulumi_command "config rm" acmeEmail)"
  refusal "$log" "certificate is not yet valid|certificate has expired" \
    "this machine's clock is wrong, or the ACME server's own certificate has expired" \
    "compare date with the true time; see timedatectl"
  refusal "$log" "CERTIFICATE_VERIFY_FAILED" \
    "this machine does not trust the ACME server at $directory" \
    "set the certificates of its authority: $(pulumi_command "config set" "acmeAuthority < authority.pem")"
  refusal "$log" "error:serverInternal|^HTTP 5[0-9][0-9]" \
    "the ACME server has an error of its own" \
    "see its status page, for Let's Encrypt https://letsencrypt.status.io; then run $(pulumi_command up) again"
  refusal "$log" "Max retries exceeded|NewConnectionError|Connection refused|Read timed out|ConnectTimeout|NameResolutionError" \
    "the ACME server at $directory does not answer" \
    "see if the droplet reaches it, and its status page; then run $(pulumi_command up) again"
}

# refusal LOG PATTERN CAUSE FIX: prints the first that fits, because later ones are consequences.
refusal() {
  if [[ -z ${explained:-} ]] && grep -Eqi -- "$2" <<< "$1"; then
    explained=1
    printf 'cause: %s\n  fix: %s\n' "$3" "$4"
  fi
}
