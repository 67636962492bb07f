#!/bin/sh
# SIPp as the device of `cscf test --as carol`: the scenario by what it is told to do, the rest from
# the environment. What it has no scenario for it cannot: exit code 77.
here=$(dirname "$0")
# A bare registration is all of it only in the cases of registration; elsewhere the network does
# something that SIPp would have to answer.
case "$CSCF_CASE/$CSCF_DO" in
  *hold* | *reject* | *"hang up"* | *call* | *send* | *cancel*) scenario= ;;
  ct-8.*/register) scenario=carol_registers ;;
  */register*deregister) scenario=carol_registers_and_leaves ;;
  */register*answer) scenario=carol_answers ;;
  *) scenario= ;;
esac
if [ -z "$scenario" ]; then
  echo "SIPp has no scenario here for: $CSCF_DO"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'SEQUENTIAL\n[authentication username=%s password=%s];\n' "$CSCF_IMPI" "$CSCF_PASSWORD" \
  > "$work/data.csv"
cp "$here/$scenario.xml" "$work/device.xml"
cd "$work" || exit 1
sipp "$CSCF_ADDRESS:$CSCF_PORT" -i "$CSCF_DEVICE" -p 5060 -t u1 -sf device.xml -inf data.csv \
  -m 1 -nostdin -bind_local -skip_rlimit -default_behaviors abortunexp -timeout 60 \
  -auth_uri "$CSCF_DOMAIN" -key domain "$CSCF_DOMAIN" -trace_err -error_file errors > /dev/null 2>&1
code=$?
cat errors 2>/dev/null
exit $code
