#!/bin/sh
# baresip as the device of `cscf test --as carol`: it registers when it starts, and does each order
# when it comes on standard input. What it has no command for it cannot: exit code 77.
case "$CSCF_DO" in
  *transfer* | *send* | *reject* | *video* | *re-register*)
    echo "baresip has no command here for: $CSCF_DO"
    exit 77
    ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for modules in /usr/lib/baresip/modules /usr/local/lib/baresip/modules; do
  [ -d "$modules" ] && break
done
cat > "$work/config" <<END
module_path $modules
sip_listen $CSCF_DEVICE:5060
net_interface $CSCF_DEVICE
module stdio.so
module g711.so
module_tmp account.so
module_app menu.so
END
account="<sip:$CSCF_USER@$CSCF_DOMAIN>;auth_user=$CSCF_IMPI;auth_pass=$CSCF_PASSWORD"
echo "$account;outbound=\"sip:$CSCF_ADDRESS:$CSCF_PORT\";regint=600" > "$work/accounts"
: > "$work/contacts"
while read -r verb rest; do
  case "$verb" in
    call) echo "/dial $rest" ;;
    answer) echo "/accept" ;;
    hang | cancel) echo "/hangup" ;;
    hold) echo "/hold" ;;
    resume) echo "/resume" ;;
    deregister) echo "/quit" ;;
  esac
done | baresip -f "$work" 2>&1
