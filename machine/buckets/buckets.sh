#!/usr/bin/env bash
# Writes, reads and deletes an object in each of the buckets in which a backend keeps its files, from a container in the backend's network with
# the backend's image, before a backend is started with them. Refuses other buckets than those of the first accepted start: the backend
# would not notice, and all files would be missing. Leaves on the droplet what the scripts need that compare files with their rows. The
# second run changes nothing there and says so.
#
#   buckets.sh < image, network (both of the backend's container), mountpoint, endpoint (the server's URL), region, key, key_secret, buckets
#     (a line for each)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$here/../lib/on-volume.sh"
# shellcheck source=machine/buckets/place.sh
source "$here/place.sh"

# What it finds is the backend's.
area=convex

main() {
  local image network mountpoint endpoint region key key_secret buckets bucket said answer
  take image network mountpoint endpoint region key key_secret buckets
  mapfile -t buckets <<< "$buckets"
  bucket=$(printf '%s\n' "${buckets[@]}" | grep -E -- '-files(-[0-9a-z]{8})?$')
  if ! checking; then
    require_same_place "$mountpoint" "$(place_of "$endpoint" "$bucket")"
    if ! said=$(use "${buckets[@]/#/$endpoint/}"); then
      mapfile -t answer <<< "$said"
      fail "fileStorage: $(explain "${answer[@]}"). No backend was started with it. Then run $(pulumi_command up) again"
    fi
    say "the backend's network reaches $endpoint, and the key can write, read and delete in all ${#buckets[@]} buckets"
  fi
  put_secret root:root "$BUCKETS" < <(printf '%s\n' "endpoint=$endpoint" "region=$region" "bucket=$bucket" "buckets=${buckets[*]}" "key=$key" "key_secret=$key_secret")
  finish
}

# require_same_place MOUNTPOINT PLACE
require_same_place() {
  local noted same=
  noted=$(noted_place "$1")
  if [[ -z $noted || $noted == "$2" ]]; then return; fi
  if [[ $noted != volume ]]; then
    same=". If these are the same buckets at another address, or copies with the same objects: $(npm_command ssh) ': > $(note_of "$1")'"
  fi
  fail "fileStorage: leads to the files $(words_of "$2"), but the instance on the volume has its files $(words_of "$noted") since its first start, and Convex cannot" \
    "move them. Nothing was changed. Set it back, or move everything into a fresh instance: docs/file-storage.md$same"
}

# use URL...: runs probe.sh in a container; prints what it prints.
use() {
  printf '%s\n' "user = \"$key:$key_secret\"" "aws-sigv4 = \"aws:amz:$region:s3\"" \
    | docker run --rm --interactive --network "$network" --memory 256m --entrypoint bash \
      --volume "$AUTHORITIES:$AUTHORITIES:ro" --volume "$here/probe.sh:/probe.sh:ro" "$image" /probe.sh "$@"
}

# explain URL ACTION CURL_CODE STATUS ANSWER...: what is wrong, and how to fix it.
explain() {
  local url=${1:-} action=${2:-} code=${3:-} status=${4:-} text host bucket
  # An error of S3 has a code and a message.
  text=$(tr -d '\000-\037' <<< "${*:5}" | sed -E 's|.*<Code>([^<]*)</Code>.*<Message>([^<]*)</Message>.*|\1: \2|' | cut -c 1-300)
  host=${endpoint#https://} bucket=${url##*/}
  case $code in
    6) echo "$host does not resolve inside of the backend's network. If the name is right, see the droplet's name server: $(npm_command ssh) getent hosts ${host%:*}; otherwise set fileEndpoint" ;;
    5 | 7 | 28 | 52 | 56) echo "$host cannot be reached from inside of the backend's network ($text). See fileEndpoint, and whether the server admits the droplet" ;;
    35 | 51 | 60) echo "$host has a certificate that the backend does not trust ($text). It should be of a public authority, and for this name" ;;
    0) explain_answer ;;
    '') echo "no container of $image could use the buckets, see above. See: $(npm_command ssh) docker images" ;;
    *) echo "bucket $bucket at $host cannot be used ($text)" ;;
  esac
}

explain_answer() {
  case "$status $text" in
    *InvalidAccessKeyId* | *SignatureDoesNotMatch* | *ExpiredToken* | *UserNotFound*)
      echo "$host refuses the key. If the stack makes it: $(pulumi_command up --refresh --run-program); otherwise set fileAccessKey and fileSecretKey"
      ;;
    *NoSuchBucket*)
      echo "bucket $bucket is not at $host. Make it there, or set fileBucketPrefix and fileRegion"
      ;;
    301* | 307* | *PermanentRedirect* | *AuthorizationHeaderMalformed* | *IllegalLocationConstraint*)
      echo "bucket $bucket is in another region than $region, or at another endpoint. Set fileRegion and fileEndpoint"
      ;;
    403*)
      echo "an object in bucket $bucket may not be $action with this key (403 ${text:-without a reason}). It should be able to read, write, delete and list in all five buckets; a bucket of this name may also be somebody else's"
      ;;
    *)
      echo "bucket $bucket answers '$status $text' when an object is to be $action"
      ;;
  esac
}

main "$@"
