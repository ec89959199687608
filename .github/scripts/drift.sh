#!/usr/bin/env bash
# Runs a drift check as a step of a workflow. Arguments: the stack, the file for the report, and patterns of findings to ignore,
# one on each line. The report is also the step's summary. Sets the output `status` to clean or drift and succeeds; fails if
# drift could not be checked.
set -euo pipefail

main() {
  local stack=$1 report=$2 ignore=${3:-} code=0
  : > "$report"
  GITHUB_STEP_SUMMARY=$report npm run drift -- --stack "$stack" --format github --ignore "$ignore" || code=$?
  cat "$report" >> "$GITHUB_STEP_SUMMARY"
  if [ "$code" = 0 ]; then
    echo status=clean >> "$GITHUB_OUTPUT"
  elif [ "$code" = 2 ] && [ -s "$report" ]; then
    echo status=drift >> "$GITHUB_OUTPUT"
  else
    echo "::error title=Drift of $stack::could not be checked (exit code $code). The reason is in the log of this step."
    return 1
  fi
}

main "$@"
