#!/bin/sh
# The first program inside user-mode Linux: mounts what is needed, loads the modules of ESP, runs the
# test that stands on the kernel's command line (cscf_inside=…, cscf_test=…), and switches off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
export TMPDIR=/run
mkdir -p /run/root/lib/modules /run/netns
ln -s "/usr/lib/uml/modules/$(uname -r)" "/run/root/lib/modules/$(uname -r)"
# The kernel loads what algorithms want (echainiv wants drbg) by this program.
printf '#!/bin/sh\nexec modprobe -d /run/root "$@"\n' >/run/root/modprobe
chmod +x /run/root/modprobe
echo /run/root/modprobe >/proc/sys/kernel/modprobe
modprobe -d /run/root -a veth xfrm_user esp4 esp6
ip link set lo up
"$cscf_inside" --ignored --exact "$cscf_test" --nocapture --test-threads=1
echo "inside ended with $?"
echo o >/proc/sysrq-trigger
read -r _ </proc/kmsg
