#!/bin/sh
# The first program inside user-mode Linux: mounts what is needed, loads the modules of ESP, runs the
# test that stands on the kernel's command line (cscf_inside=…, cscf_test=…), and switches off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/lib/modules /run/netns
ln -s "/usr/lib/uml/modules/$(uname -r)" "/mnt/lib/modules/$(uname -r)"
# The kernel loads what algorithms want (echainiv wants drbg) by this program.
printf '#!/bin/sh\nexec modprobe -d /mnt "$@"\n' >/mnt/modprobe
chmod +x /mnt/modprobe
echo /mnt/modprobe >/proc/sys/kernel/modprobe
modprobe -d /mnt -a veth xfrm_user esp4 esp6
ip link set lo up
"$cscf_inside" --ignored --exact "$cscf_test" --nocapture --test-threads=1
echo "inside ended with $?"
echo o >/proc/sysrq-trigger
read -r _ </proc/kmsg
