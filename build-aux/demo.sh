#!/bin/bash
# make demo: plays a test server of our own, or the given URL, with the real gst-launch-1.0.
# make demo-publish (--publish): sends a test source to a recording server of our own, or to the URL.
set -euo pipefail
cd "$(dirname "$0")/.."

publish=no
if [ "${1:-}" = --publish ]; then
    publish=yes
    shift
fi
url=${1:-}
element=${ELEMENT:-rtspsrc2}
cargo=${CARGO:-cargo}
target=${CARGO_TARGET_DIR:-target}
picture=demo.png

if ! command -v "${cargo%% *}" >/dev/null; then
    echo "demo: cargo is missing; see https://rustup.rs" >&2
    exit 1
fi
build-aux/packages.sh build run
$cargo build --release --lib --example server --example play

# A folder of its own: GStreamer looks into every library below its plugin path.
plugins=$target/plugins
mkdir -p "$plugins"
cp -f "$target/release/libgstrtsp2.so" "$plugins/"
export GST_PLUGIN_PATH=$plugins${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
export GST_REGISTRY=$target/demo-registry.bin

server=
stop() {
    exec {input}>&- 2>/dev/null || true
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
}
recorded=$target/demo-recorded.mkv
arrived='rtph264depay name=depay0 ! h264parse ! queue ! matroskamux name=mux ! filesink location='$recorded'
         rtpmp4gdepay name=depay1 ! aacparse ! queue ! mux.'
if [ -z "$url" ]; then
    rm -f "$recorded"
    if [ $publish = yes ]; then
        set -- --record "$arrived"
    else
        set --
    fi
    coproc SERVER { exec "$target/release/examples/server" --port 0 "$@"; }
    server=$SERVER_PID
    exec {input}>&"${SERVER[1]}"
    trap stop EXIT
    IFS= read -r -t 20 url <&"${SERVER[0]}" || { echo "demo: the server did not start" >&2; exit 1; }
    echo "serving $url"
fi
# Nothing to look into on the server of somebody else.
[ -n "$server" ] || recorded=
shown=$(printf '%s' "$url" | sed 's|//[^/]*@|//…@|')

# Argument of gst-launch that needs quoting against its own parser: the URL.
launch() {
    echo "+ GST_PLUGIN_PATH=$plugins gst-launch-1.0 $element location=$shown $*"
    timeout --foreground "${limit:-60}" gst-launch-1.0 -q "$element" location="$url" "$@"
}

if [ $publish = yes ]; then
    echo
    echo "== ten seconds of picture and sound, to $shown"
    line='videotestsrc is-live=true num-buffers=250 pattern=smpte horizontal-speed=2
          ! video/x-raw,format=I420,width=1280,height=720,framerate=25/1
          ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 bitrate=2000 ! out.
          audiotestsrc is-live=true num-buffers=469 wave=ticks volume=0.3
          ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! out.'
    echo "+ GST_PLUGIN_PATH=$plugins gst-launch-1.0 rtspsink2 name=out location=$shown" $line
    # shellcheck disable=SC2086 # one word each
    timeout --foreground 60 gst-launch-1.0 rtspsink2 name=out location="$url" $line
    [ -n "$recorded" ] || exit 0
    echo
    echo "== what arrived"
    stop
    server=
    ls -l "$recorded"
    gst-launch-1.0 -q filesrc location="$recorded" ! decodebin ! videoconvert \
        ! pngenc snapshot=true ! filesink location=demo-published.png
    echo "saved demo-published.png ($(wc -c <demo-published.png) bytes)"
    exit 0
fi

echo
echo "== one decoded picture"
rm -f "$picture"
launch ! decodebin ! videoconvert ! pngenc snapshot=true ! filesink location="$picture"
if [ "$(head -c 4 "$picture" 2>/dev/null | tail -c 3)" != PNG ]; then
    echo "demo: no picture was decoded" >&2
    exit 1
fi
echo "saved $picture ($(wc -c <"$picture") bytes)"

echo
echo "== ten seconds"
"$target/release/examples/play" "$url" --element "$element" --duration 10

if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    echo
    echo "== in a window, until it is closed"
    limit=0 launch ! decodebin ! autovideosink
fi
