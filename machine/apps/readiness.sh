# shellcheck shell=bash
# Whether the container of an app is ready. Sourced after common.sh.

# state_of CONTAINER: how often Docker has restarted it, since when it runs, and whether it does.
state_of() { docker inspect --format '{{.RestartCount}} {{.State.StartedAt}} {{.State.Running}}' "$1" 2> /dev/null; }

# restarts_of CONTAINER: how often its program has ended and was started again; nothing if it has not.
restarts_of() { docker inspect --format '{{.RestartCount}}' "$1" 2> /dev/null | grep -vx 0; }

# what_is_ready CONTAINER PORT PATH: for messages.
what_is_ready() {
  if [[ $(health_of "$1") != none ]]; then
    echo "whose health command succeeds"
  elif [[ -n $3 ]]; then
    echo "that answers GET $3 at port $2 with 200 to 399"
  elif [[ -n $2 ]]; then
    echo "that listens on port $2"
  else
    echo "that keeps running"
  fi
}

# is_ready CONTAINER PORT PATH STATE: STATE is what `state_of` has printed when the wait began.
is_ready() {
  local container=$1 port=$2 path=$3
  if [[ $(health_of "$container") != none ]]; then
    [[ $(health_of "$container") == healthy ]]
  elif [[ -n $path ]]; then
    [[ $(answer_at "$container" "$port" "$path") =~ ^[23] ]]
  elif [[ -n $port ]]; then
    is_open "$container" "$port"
  else
    [[ $(state_of "$container") == "$4" ]] && sleep 2 && [[ $(state_of "$container") == "$4" ]]
  fi
}

# health_of CONTAINER: of its health command; none if it has none.
health_of() { docker inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$1" 2> /dev/null || echo none; }

address_of() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' "$1" 2> /dev/null | cut -d ' ' -f 1; }

# answer_at CONTAINER PORT PATH: the status, 000 if there is no answer.
answer_at() { curl -s --max-time 5 -o /dev/null -w '%{http_code}' --globoff "http://$(address_of "$1"):$2$3" || true; }

# shellcheck disable=SC2016 # of the inner shell
is_open() { timeout 2 bash -c 'exec 3<> "/dev/tcp/$0/$1"' "$(address_of "$1")" "$2" 2> /dev/null; }
