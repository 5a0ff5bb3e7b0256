#!/usr/bin/env bash
# Tests examples/get_data.sh against local files: test_get_data.sh <source folder> <folder to work in>
set -euo pipefail
script=$1/examples/get_data.sh
work=$2
[ -x "$script" ] || { echo "no $script" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work/mirror/mnist" "$work/mirror/covertype" "$work/bin"
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  echo "--- output:" >&2
  cat log >&2
  exit 1
}
run() { "$BASH" "$script" --sums sums "$@" > log 2>&1; }
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }

for i in 1 2 3; do head -c 100000 /dev/zero | tr '\0' "$i" > mirror/mnist/file$i.gz; done
echo covertype > mirror/covertype/data.gz
(cd mirror && sha256sum mnist/* covertype/*) > sums

# From a folder, by path and by file:// address; one set, then all.
run mnist --from mirror --to a || fail "fetching mnist from a folder"
same a/mnist/file2.gz mirror/mnist/file2.gz
[ ! -e a/covertype ] || fail "fetched a set that was not asked for"
run --from "file://$work/mirror" --to a || fail "fetching everything by file://"
same a/covertype/data.gz mirror/covertype/data.gz
[ "$(grep -c ': there$' log)" = 3 ] || fail "files that are there and right are not left alone"
mkdir flat && cp mirror/*/* flat
run --from flat --to b || fail "fetching from a folder without subfolders"

# A damaged file is fetched again.
echo damaged > a/mnist/file1.gz
run --from mirror --to a || fail "repairing a damaged file"
same a/mnist/file1.gz mirror/mnist/file1.gz

# Wrong content fails, says what was wrong, and leaves nothing behind.
cp -r mirror wrong
echo tampered >> wrong/covertype/data.gz
if run covertype --from wrong --to c; then fail "took a file with another checksum"; fi
grep -q 'wrong content' log || fail "no word about the wrong content"
[ -z "$(find c -type f -o -mindepth 1 -type d)" ] || fail "something was left behind: $(find c)"
rm wrong/covertype/data.gz
if run covertype --from wrong --to c; then fail "took a file that is not there"; fi
grep -q 'no such file' log || fail "no word about the missing file"

# A download that breaks off goes on where it ended: a stand-in for curl gives half a file, then the rest.
cat > bin/curl <<'STUB'
#!/usr/bin/env bash
for argument in "$@"; do
  case $previous in --output) out=$argument ;; esac
  previous=$argument
done
file=$MIRROR/${argument#https://mirror.test/}
have=$(stat -c %s "$out" 2> /dev/null || echo 0)
echo "$have ${argument##*/}" >> "$MIRROR/requests"
if [ "$have" -ge "$(stat -c %s "$file")" ]; then echo 416; exit 22; fi
if [ "$have" -eq 0 ] && [ -e "$MIRROR/flaky" ]; then head -c 50000 "$file" > "$out"; echo 200; exit 18; fi
tail -c +$((have + 1)) "$file" >> "$out"
echo 206
STUB
chmod +x bin/curl
export MIRROR=$work/mirror
touch mirror/flaky
if PATH=$work/bin:$PATH run mnist --from https://mirror.test --to d; then fail "took half a file"; fi
[ "$(stat -c %s d/mnist/file1.gz.part)" = 50000 ] || fail "the first half is not kept"
[ ! -e d/mnist/file1.gz ] || fail "half a file stands under the final name"
rm mirror/flaky
PATH=$work/bin:$PATH run mnist --from https://mirror.test --to d || fail "going on with an interrupted download"
grep -qx '50000 file1.gz' mirror/requests || fail "the download did not go on where it ended"
same d/mnist/file1.gz mirror/mnist/file1.gz

# A part that belongs to something else is thrown away and fetched afresh: too long, and too short.
for size in 200000 70000; do
  rm -rf e && mkdir -p e/mnist
  head -c $size /dev/zero > e/mnist/file1.gz.part
  PATH=$work/bin:$PATH run mnist --from https://mirror.test --to e || fail "a foreign part of $size bytes"
  same e/mnist/file1.gz mirror/mnist/file1.gz
  [ ! -e e/mnist/file1.gz.part ] || fail "a part is left"
done

# Missing tools and wrong arguments are named.
mkdir tools
for tool in cut dirname cat mkdir rm mv cp rmdir sha256sum; do ln -s "$(command -v $tool)" tools/; done
if PATH=$work/tools run mnist --from https://mirror.test --to f; then fail "downloaded without a tool"; fi
grep -q 'needs curl or wget' log || fail "a missing downloader is not named"
rm tools/sha256sum
if PATH=$work/tools run mnist --from mirror --to f; then fail "checked without a tool"; fi
grep -q 'needs sha256sum' log || fail "a missing checker is not named"
if run minst; then fail "took an unknown set"; fi
grep -q 'unknown argument minst' log || fail "an unknown set is not named"
if run --from nowhere; then fail "took a folder that is not there"; fi
grep -q 'nowhere is no folder' log || fail "a missing folder is not named"
run --help || fail "--help"
grep -q '^usage' log || fail "--help shows no usage"

# The built-in sums name the five published files.
[ "$(grep -cE '^[0-9a-f]{64}  (mnist|covertype)/[a-z0-9.-]+\.gz' "$script")" = 5 ] || fail "not five sums"
echo passed
