#!/bin/sh
# locales.sh FOLDER - makes the locales that test_states.c runs in, for LOCPATH=FOLDER, from the C library's sources: no
# package of the host's locales is needed. Where that cannot be done, FOLDER/why-not says why, and the test skips them.
set -u
folder=${1:?usage: locales.sh FOLDER}
mkdir -p "$folder"
rm -f "$folder/why-not"
sources=${I18NPATH:-/usr/share/i18n}
if ! command -v localedef >/dev/null; then
    echo "there is no localedef (Debian package libc-bin)" >"$folder/why-not"
    exit 0
fi
for name in de_DE tr_TR; do
    if ! [ -e "$sources/locales/$name" ]; then
        echo "localedef has no source of $name (Debian package locales)" >"$folder/why-not"
        exit 0
    fi
    # it warns of its own sources and ends with 1 then: whether a locale is there is what counts
    LC_ALL=C localedef --no-archive --quiet -i "$name" -f UTF-8 "$folder/$name.UTF-8" >/dev/null 2>&1
    if ! [ -e "$folder/$name.UTF-8/LC_CTYPE" ]; then
        echo "localedef could not make $name" >"$folder/why-not"
        exit 0
    fi
done
