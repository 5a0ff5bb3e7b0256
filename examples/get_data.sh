#!/usr/bin/env bash
# Fetches the larger data sets of the examples from their public mirrors and checks their SHA-256.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: get_data.sh [mnist] [covertype] [--from DIR|URL] [--to DIR] [--sums FILE]
  mnist, covertype   what to fetch; both when none is named
  --from DIR|URL     a folder or mirror (https://, http://, file://) that holds mnist/* and covertype/*, in place of
                     the public ones
  --to DIR           where to put them (examples/data beside this script): DIR/mnist/*, DIR/covertype/*
  --sums FILE        SHA-256 sums in place of the built-in ones, as sha256sum prints them
Files that are there and right are left alone. An interrupted download goes on where it ended.
TEXT
}

die() {
  echo "get_data.sh: $*" >&2
  exit 1
}

sums='
440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609  mnist/train-images-idx3-ubyte.gz
3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c  mnist/train-labels-idx1-ubyte.gz
8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6  mnist/t10k-images-idx3-ubyte.gz
f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6  mnist/t10k-labels-idx1-ubyte.gz
614360d0257557dd1792834a85a1cdebfadc3c4f30b011d56afee7ffb5b15771  covertype/covtype.data.gz'

mirrors() {  # mirrors <set>/<file>: where it can be had, a line each
  local file=${1##*/}
  if [ -n "$from" ]; then
    # A folder may have the files in folders by set, or all in one.
    if [ -d "$from" ] && [ ! -f "$from/$1" ]; then echo "$from/$file"; else echo "$from/$1"; fi
    return
  fi
  case $1 in
    mnist/*) printf '%s\n' "https://storage.googleapis.com/cvdf-datasets/mnist/$file" \
      "https://ossci-datasets.s3.amazonaws.com/mnist/$file" ;;
    covertype/*) printf '%s\n' "https://archive.ics.uci.edu/ml/machine-learning-databases/covtype/$file" \
      "https://ndownloader.figshare.com/files/5976039" ;;
  esac
}

sum_of() {
  if command -v sha256sum > /dev/null; then
    sha256sum "$1" | cut -d' ' -f1
  else
    shasum -a 256 "$1" | cut -d' ' -f1
  fi
}

# download <url or path> <file>: appends what the file still lacks; returns 33 when the source cannot do that
download() {
  local status=0 code
  case $1 in
    http://* | https://*)
      if command -v curl > /dev/null; then
        code=$(curl --fail --location --silent --show-error --retry 3 --connect-timeout 20 --continue-at - \
          --output "$2" --write-out '%{http_code}' "$1") || status=$?
        if [ "$code" = 416 ]; then status=33; fi
      elif command -v wget > /dev/null; then
        wget --quiet --tries=3 --timeout=20 --continue --output-document="$2" "$1" || status=$?
      else
        die "needs curl or wget to download; install one, or use --from with a folder"
      fi
      ;;
    *)
      if [ ! -f "$1" ]; then
        complaint="no such file"
        return 1
      fi
      cp -f "$1" "$2"
      ;;
  esac
  return $status
}

# take <sum> <source> <part>: leaves the whole, right file in part; a wrong one is removed
take() {
  local resumed=no status=0 got
  if [ -f "$3" ]; then resumed=yes; fi
  download "$2" "$3" || status=$?
  if [ $status -eq 0 ]; then
    got=$(sum_of "$3")
    [ "$got" != "$1" ] || return 0
    complaint="wrong content (SHA-256 $got, expected $1)"
  elif [ $status -ne 33 ]; then
    complaint=${complaint:-download failed}
    return 1
  fi
  rm -f "$3"
  # What an interrupted run left may have been of something else: once more from the start.
  if [ $resumed = yes ]; then take "$@"; else return 1; fi
}

# fetch <sum> <set>/<file>
fetch() {
  local target=$to/$2 part=$to/$2.part source complaint=
  if [ -f "$target" ] && [ "$(sum_of "$target")" = "$1" ]; then
    echo "$target: there"
    return
  fi
  mkdir -p "$(dirname "$target")"
  while read -r source; do
    if take "$1" "$source" "$part"; then
      mv -f "$part" "$target"
      echo "$target: fetched"
      return
    fi
    echo "get_data.sh: $source: $complaint" >&2
  done < <(mirrors "$2")
  rmdir "$(dirname "$target")" 2> /dev/null || true
  die "could not get $2"
}

from='' to=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/data sets=()
while [ $# -gt 0 ]; do
  case $1 in
    mnist | covertype) sets+=("$1") ;;
    --from | --to | --sums)
      [ $# -gt 1 ] || die "$1 needs a value"
      case $1 in
        --from) from=${2#file://} from=${from%/} ;;
        --to) to=${2%/} ;;
        --sums)
          [ -r "$2" ] || die "cannot read $2"
          sums=$(cat "$2")
          ;;
      esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "get_data.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
case $from in
  '' | http://* | https://*) ;;
  *) [ -d "$from" ] || die "$from is no folder" ;;
esac
command -v sha256sum > /dev/null || command -v shasum > /dev/null || die "needs sha256sum or shasum to check files"

fetched=0
while read -r sum name; do
  [ -n "$sum" ] || continue
  for set in "${sets[@]:-${name%%/*}}"; do
    if [ "${name%%/*}" = "$set" ]; then
      fetch "$sum" "$name"
      fetched=$((fetched + 1))
    fi
  done
done <<< "$sums"
[ $fetched -gt 0 ] || die "no checksum for ${sets[*]:-anything}: nothing to fetch"
