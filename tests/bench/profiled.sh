#!/usr/bin/env bash
# Builds the fastest cscf there is: target/profiled/cscf. The compiler is told which ways messages take (profile-guided
# optimisation): a program that counts them is built, serves a fleet of UEs for half a minute, and the program is
# built again with the counts. Needs a quarter of an hour, and `llvm-profdata` (rustup component add llvm-tools).
set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "$0")/../.."

host=$(rustc -vV | sed -n 's/^host: //p')
tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
if [ ! -x "$tools/llvm-profdata" ] && command -v rustup >/dev/null; then
  rustup component add llvm-tools
fi
if [ ! -x "$tools/llvm-profdata" ]; then
  echo "llvm-profdata of this compiler is needed (rustup component add llvm-tools)" >&2
  exit 2
fi

build() { # RUSTFLAGS FOLDER
  RUSTFLAGS=$1 cargo build --profile dist --locked --package scenarios --bin cscf --target "$host" --target-dir "$2"
}

out=target/profiled
mkdir -p "$out"
out=$(realpath "$out")
build "-Cprofile-generate=$out/counts" "$out/counting"
counting=$out/counting/$host/dist/cscf
profile=$out/$(cat "$counting" "$script" | sha256sum | cut -c1-16).profdata

if [ ! -e "$profile" ]; then
  # The lab as it is by default, but for its addresses and a range of subscribers.
  cat >"$out/lab.yaml" <<'LAB'
domain: ims.mnc001.mcc001.3gppnetwork.org
control: "off"
nodes:
  p1: {role: p-cscf, listen: "127.0.7.11:5060"}
  i1: {role: i-cscf, listen: "127.0.7.12:5060"}
  s1: {role: s-cscf, listen: "127.0.7.13:5060"}
  hss: {role: hss, listen: "127.0.7.14:3868"}
subscribers:
  - range: {imsi: 001010000000001, count: 100000, k: 8baf473f2f8fd09487cccbd7097c6862, op: "11111111111111111111111111111111"}
LAB
  rm -rf "$out/counts" "$out"/*.profdata
  export LLVM_PROFILE_FILE=$out/counts/%p.profraw
  "$counting" up --quiet --no-control --lab "$out/lab.yaml" >"$out/up.log" 2>&1 &
  lab=$!
  trap 'kill $lab 2>/dev/null && wait $lab || true' EXIT
  until (exec 3<>/dev/tcp/127.0.7.14/3868) 2>/dev/null; do
    kill -0 $lab # it still runs
  done
  fleet=("$counting" load --dut 127.0.7.11:5060 --sources 127.1.1.2:5077 --users 1000 --prepare-rate 200
    --impi 001010000000001@ims.mnc001.mcc001.3gppnetwork.org
    --k 8baf473f2f8fd09487cccbd7097c6862 --op 11111111111111111111111111111111)
  # The first may come before the nodes have spoken to the HSS: they get 504, and nobody minds.
  "${fleet[@]}" register:100:100 || true
  "${fleet[@]}" register:200:2000 call:100:1000 message:100:500
  kill -INT $lab
  wait $lab || true
  trap - EXIT
  unset LLVM_PROFILE_FILE
  # Four nodes, who started them, and the fleet: each tells when it ends.
  told=("$out"/counts/*.profraw)
  if [ ${#told[@]} -lt 6 ]; then
    echo "only ${#told[@]} of 6 processes told what they counted" >&2
    exit 1
  fi
  "$tools/llvm-profdata" merge -o "$profile" "$out/counts"
fi

build "-Cprofile-use=$profile" "$out/built"
cp "$out/built/$host/dist/cscf" "$out/cscf"
echo "$out/cscf"
