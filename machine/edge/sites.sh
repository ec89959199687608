# shellcheck shell=bash
# shellcheck disable=SC2154 # the values that edge.sh has taken
# nginx's configuration for the instance's names. Sourced by edge.sh, whose values these functions read; and by apps.sh, for one
# name of an app each.

# Only root and nginx's workers read this folder: it contains the hash of the dashboard's password.
readonly SITES=/etc/nginx/convex-droplet

# The names of apps, which apps.sh writes: only there is it known where they lead.
readonly APP_SITES=$SITES/apps.conf

# A year, and only for the name itself.
readonly HSTS="max-age=31536000"

# configure_nginx MOUNTPOINT: everything but the names, so that nginx answers the ACME server.
configure_nginx() {
  put_folder 0750 root:www-data "$SITES"
  # In the order of their files' names, in which check mode finds them.
  restart_unit nginx.service
  guard_unit nginx.service "$1"
  put_file 0644 /etc/nginx/convex-challenges.conf nginx < "$here/challenges.conf"
  put_file 0644 /etc/nginx/nginx.conf nginx < "$here/nginx.conf"
  put_file 0644 /etc/logrotate.d/nginx < "$here/logrotate.conf"
  put_drop_in logrotate.timer convex-hourly.conf < "$here/hourly.conf"
  start_unit logrotate.timer
}

# configure_sites FOLDER: the names, with the certificate in certbot's folder.
configure_sites() {
  put_file 0644 "$SITES/proxy.conf" nginx < "$here/proxy.conf"
  put_file 0644 "$SITES/sites.conf" nginx < <(sites "$1")
  if [[ -z $app_hosts ]]; then remove_app_sites; else declare_files "$APP_SITES"; fi
  put_password
}

# remove_app_sites: after the last app with a name is gone.
remove_app_sites() {
  declare_files "$APP_SITES"
  if differs "files[$APP_SITES]" nothing "$(kind_of "$APP_SITES")"; then
    install -D /dev/null "$PENDING/nginx"
    rm "$APP_SITES"
    changed "removed $APP_SITES"
  fi
}

sites() {
  local network
  cat << EOF
ssl_certificate $(certificate_in "$1");
ssl_certificate_key $(key_in "$1");
EOF
  if [[ -n $trusted_proxies ]]; then
    while read -r network; do echo "set_real_ip_from $network;"; done <<< "$trusted_proxies"
    echo "real_ip_header X-Forwarded-For;"
    echo "real_ip_recursive on;"
  fi
  redirect "$names"
  site "$api_host" "127.0.0.1:$api_port" << 'EOF'
  # Shows the backend's internals to everybody, or sends back whatever it gets.
  location = /metrics { return 404; }
  location = /echo { return 404; }
EOF
  site "$site_host" "127.0.0.1:$site_port" << 'EOF'
  location = /metrics { return 404; }
EOF
  # Here, so that they are not read without a certificate.
  if [[ -n $app_hosts ]]; then printf '\ninclude %s*;\n' "$APP_SITES"; fi
  [[ -n $dashboard_host ]] || return 0
  # The password is for nginx, not for the dashboard.
  site "$dashboard_host" "127.0.0.1:$dashboard_port" 'proxy_set_header Authorization "";' < <(dashboard_guard)
}

# redirect NAMES: from HTTP to HTTPS. 308 keeps the method.
redirect() {
  cat << EOF

server {
  listen 80;
  server_name ${1//$'\n'/ };
  include convex-challenges.conf;
  location / { return 308 https://\$host\$request_uri; }
}
EOF
}

# site HOST SERVER [DIRECTIVE] [WHAT] <DIRECTIVES: passes everything on to the server, an address and a port. The argument's directive
# is for what is passed on. WHAT answers there, the backend if absent.
site() {
  # A name that moves between an app and the backend has both upstreams for a moment.
  local upstream=${4:+$4-}$1
  cat << EOF

upstream $upstream {
  server $2;
  keepalive 64;
}

server {
  $(listen_tls)
  server_name $1;
  add_header Strict-Transport-Security "$HSTS" always;
$(cat)
  location / {
    proxy_pass http://$upstream;
    ${3:-}
    include convex-droplet/proxy.conf;
  }
  location @unavailable {
    default_type text/plain;
    add_header Strict-Transport-Security "$HSTS" always;
    add_header Retry-After 2 always;
    return 503 "The ${4:-backend} does not answer. It may be restarting.\n";
  }
}
EOF
}

# The directive is new since nginx 1.25.1, and the parameter deprecated.
listen_tls() {
  if dpkg --compare-versions "$(dpkg-query -W -f '${Version}' nginx)" ge 1.25.1; then
    printf 'listen 443 ssl;\n  http2 on;'
  else
    printf 'listen 443 ssl http2;'
  fi
}

dashboard_guard() {
  local network
  case $dashboard_access in
    allowlist)
      while read -r network; do echo "  allow $network;"; done <<< "$dashboard_networks"
      echo "  deny all;"
      ;;
    password)
      cat << EOF
  auth_basic "Convex dashboard";
  auth_basic_user_file $SITES/dashboard.htpasswd;
  # Whoever guesses has to wait for each answer.
  auth_delay 2s;
  limit_conn connections 200;
EOF
      ;;
    *) fail "dashboard_access: is '$dashboard_access', it should be allowlist or password" ;;
  esac
}

# The hash contains a salt. It stays as long as the password does.
put_password() {
  local file=$SITES/dashboard.htpasswd salt
  if [[ $dashboard_access != password ]]; then
    declare_files "$file"
    if differs "files[$file]" nothing "$(kind_of "$file")"; then
      rm "$file"
      changed "removed $file"
    fi
    return
  fi
  # shellcheck disable=SC2016 # of the hash's format
  salt=$(sed -n 's/^convex:\$6\$\([^$]*\)\$.*/\1/p' "$file" 2> /dev/null) || true
  [[ -n $salt ]] || salt=$(openssl rand -hex 8)
  put_secret root:www-data "$file" <<< "convex:$(openssl passwd -6 -salt "$salt" -stdin <<< "$dashboard_password")"
}

# serve_nginx: starts nginx, or makes it read what has changed. If it refuses its configuration, the running one stays.
serve_nginx() {
  local refusal
  start_unit nginx.service
  pending nginx || return 0
  refusal=$(nginx -t -q 2>&1) || fail "nginx: refuses its configuration, so it keeps the earlier one: $refusal"
  systemctl reload nginx.service || fail "nginx: does not read its configuration again. See: journalctl -u nginx"
  settled nginx
}
