# shellcheck shell=bash
# Where a backend keeps its files: on the volume, or in buckets. Sourced after common.sh and on-volume.sh. The first accepted start with
# buckets notes them in the backend's folder, because the backend itself notices only another kind of storage. So they go with the data when
# it is restored, and are gone when it is reset.

# On the droplet and in the image: the authorities that curl and the backend trust.
# shellcheck disable=SC2034 # for the caller
readonly AUTHORITIES=/etc/ssl/certs/ca-certificates.crt

# For scripts that compare files with rows, and back them up: lines name=value: endpoint, region, bucket (the one with stored files), buckets
# (all, in the order of settings/file-storage.ts), key, key_secret.
readonly BUCKETS=/etc/convex-droplet/buckets

note_of() { echo "$1/data/storage/.buckets"; }

# place_of ENDPOINT BUCKET: one line for buckets, by the one with stored files; without it, the volume.
place_of() { if [[ -n $2 ]]; then echo "${1%/} $2"; else echo volume; fi; }

# noted_place MOUNTPOINT: nothing if no backend was accepted on this volume, or if a person has emptied the note, so that other buckets are
# accepted. Without a note, an accepted instance has its files on the volume.
noted_place() {
  if [[ -e $(note_of "$1") ]]; then
    cat "$(note_of "$1")"
  elif [[ -e $(mark_of "$1") ]]; then
    echo volume
  fi
}

# words_of PLACE
words_of() { if [[ $1 == volume ]]; then echo "on the volume"; else echo "in bucket ${1#* } at ${1%% *}"; fi; }

# variable_of CONTAINER NAME: nothing if it is not set.
variable_of() { docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" 2> /dev/null | sed -n "s/^$2=//p"; }

# note_place MOUNTPOINT CONTAINER: notes where an accepted backend has its files.
note_place() {
  local bucket
  bucket=$(variable_of "$2" S3_STORAGE_FILES_BUCKET)
  if [[ -n $bucket ]]; then
    put_file 0644 "$(note_of "$1")" < <(place_of "$(variable_of "$2" S3_ENDPOINT_URL)" "$bucket")
  else
    rm -f "$(note_of "$1")"
  fi
}
