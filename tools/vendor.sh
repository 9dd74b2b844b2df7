#!/usr/bin/env bash
# Fetches the libraries of the browser pages from npm into gateway/api/static/vendor/, with their licences.
#
# To take a newer version, change it here, run this, and run the tests in tests/browser/. Nothing is built: the files are
# those of the packages, without the lines that name source maps, which are not taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly marked=18.2.1 dompurify=3.4.18 highlight=11.12.0
readonly languages=(bash diff json python yaml)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --prefix "$work" --no-audit --no-fund --ignore-scripts \
    "marked@$marked" "dompurify@$dompurify" "@highlightjs/cdn-assets@$highlight" >/dev/null

to=gateway/api/static/vendor
rm -rf "$to"
mkdir -p "$to/highlight"

# take PACKAGE FILE TARGET
take() {
    sed '/^\/\/# sourceMappingURL=/d' "$work/node_modules/$1/$2" >"$to/$3"
}

take marked lib/marked.esm.js marked.js
take marked LICENSE marked.LICENSE
take dompurify dist/purify.min.js purify.js
take dompurify LICENSE purify.LICENSE
take @highlightjs/cdn-assets es/core.min.js highlight/core.js
take @highlightjs/cdn-assets LICENSE highlight.LICENSE
for language in "${languages[@]}"; do
    take @highlightjs/cdn-assets "es/languages/$language.min.js" "highlight/$language.js"
done
