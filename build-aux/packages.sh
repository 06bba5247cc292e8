#!/bin/sh
# Installs the Debian or Ubuntu packages that are missing: packages.sh build|run|test|install …
# The only list of them; `packages.sh --list GROUP…` prints it.
set -eu

build='build-essential pkg-config git libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
       libgstrtspserver-1.0-dev'
# The server's encoders, the client's decoders, gst-launch-1.0, ss.
run='gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
     gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x
     gstreamer1.0-gl iproute2'
# Peers that are not ours.
test='gstreamer1.0-rtsp gstreamer1.0-plugins-base-apps ffmpeg vlc-bin vlc-plugin-base
      rtsp-server-perl tinyproxy squid microsocks python3-websockets stunnel4 glib-networking'
install='meson ninja-build'

list=no
if [ "${1:-}" = --list ]; then
    list=yes
    shift
fi
wanted=
for group in "$@"; do
    case $group in
        build) wanted="$wanted $build" ;;
        run) wanted="$wanted $run" ;;
        test) wanted="$wanted $test" ;;
        install) wanted="$wanted $install" ;;
        *) echo "packages.sh: unknown group: $group" >&2; exit 2 ;;
    esac
done
if [ $list = yes ]; then
    # shellcheck disable=SC2086 # one word each
    printf '%s\n' $wanted
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: no apt-get here; what Debian calls these has to be installed:"$wanted >&2
    exit 0
fi
missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages.sh: neither root nor sudo; missing:$missing" >&2
        exit 1
    fi
    root=sudo
fi
echo "installing:$missing"
apt() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"
}
apt update
# shellcheck disable=SC2086 # one word each
apt install --no-install-recommends $missing
