#!/bin/bash
# fetch.sh FOLDER - puts a Linux kernel and a static busybox there, from Debian's packages, which are not installed: FOLDER/vmlinuz
# and FOLDER/busybox. Any x86-64 kernel with a serial console will do; AMX needs 5.16 or later.
set -eu

folder=${1:?usage: fetch.sh FOLDER}
for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || {
        echo "fetch.sh: there is no $tool here: give run.sh a kernel and a static busybox, KERNEL=PATH and BUSYBOX=PATH" >&2
        exit 1
    }
done
mkdir -p "$folder/packages"
cd "$folder/packages"
linux=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
if [ -z "$linux" ] || ! apt-get -q download "$linux" busybox-static >download.log 2>&1; then
    echo "fetch.sh: apt-get did not download ${linux:-linux-image-cloud-amd64} and busybox-static:" >&2
    cat download.log >&2
    exit 1
fi
dpkg-deb --fsys-tarfile "$linux"_*.deb | tar -x --wildcards './boot/vmlinuz-*'
dpkg-deb --fsys-tarfile busybox-static_*.deb | tar -x ./bin/busybox
mv boot/vmlinuz-* ../vmlinuz
mv bin/busybox ../busybox
cd ..
rm -r packages
