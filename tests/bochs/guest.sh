#!/bin/sh
# guest.sh - init of the emulated machine: runs each line of /programs and tells run.sh what it did, in lines that begin with
# "@@". Knows nothing of what it runs.
export PATH=/bin HOME=/tmp CMOCKA_MESSAGE_OUTPUT=TAP
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/shm
mount -t tmpfs none /dev/shm
stty -opost </dev/console

echo "@@ up"
has=
lacks=
flags=" $(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1) "
while read -r flag; do
    case $flags in *" $flag "*) has="$has $flag" ;; *) lacks="$lacks $flag" ;; esac
done </wanted
model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
echo "# $model: $has"
if [ -n "$lacks" ]; then
    echo "not ok - the emulated CPU and its kernel have all that is looked for: without$lacks"
else
    echo "ok - the emulated CPU and its kernel have all that is looked for"
fi
echo "@@ ran 0 the emulated CPU"
cd "$(cat /folder)" || exit 1
while read -r line <&3; do
    eval "$line" </dev/null 2>&1
    status=$?
    printf '\n@@ ran %s %s\n' "$status" "$line"
done 3</programs
echo "@@ end"
sleep 5 # what the serial port still has to send would be lost
poweroff -f
