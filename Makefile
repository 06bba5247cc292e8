# make demo    play a test stream (or URL=rtsp://…), save demo.png, print the figures
# make demo-publish    publish a test source to a recording server (or URL=rtsp://…), show what arrived
# make test    all tests
# make soak    the tests of a long life, with as many rounds as a night allows
# make loom    permits and hand-over of delivery in every order of their threads
# make fuzz    each fuzz target for SECONDS (60), or TARGET alone
# make bench   rtspsrc2 against rtspsrc, and the Criterion benches
# make install into GStreamer's plugin folder (PREFIX, DESTDIR)

CARGO ?= cargo
PREFIX ?= /usr
ELEMENT ?= rtspsrc2
# Arguments of the comparison, for example BENCH="--quick --row tcp"
BENCH ?=
SECONDS ?= 60
TARGET ?=

.PHONY: help build demo demo-publish test soak loom fuzz bench install fmt clippy doc clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 8
	@echo "make build | fmt | clippy | doc | clean"

build:
	build-aux/packages.sh build
	$(CARGO) build --release --lib

demo:
	@ELEMENT='$(ELEMENT)' CARGO='$(CARGO)' build-aux/demo.sh '$(URL)'

demo-publish:
	@CARGO='$(CARGO)' build-aux/demo.sh --publish '$(URL)'

# The examples are peers of the tests, and the library is what gst-launch loads in them.
test:
	build-aux/packages.sh build run test
	$(CARGO) build --lib --examples
	$(CARGO) test --doc
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    $(CARGO) nextest run --workspace; \
	else \
	    $(CARGO) test --workspace --lib --tests; \
	fi

soak:
	build-aux/packages.sh build run test
	$(CARGO) build --lib --examples
	RTSP2_SOAK=1 $(CARGO) test --test lifecycle -- --test-threads=1 --nocapture
	RTSP2_SOAK=1 $(CARGO) test --test vod -- --nocapture random
	RTSP2_LONG=1 $(CARGO) test --test networks -- --nocapture
	RTSP2_LONG=1 $(CARGO) test --test sink -- --nocapture networks:: lifecycle::many

loom:
	$(CARGO) test --locked --manifest-path tests/loom/Cargo.toml

fuzz:
	build-aux/packages.sh build
	CARGO='$(CARGO)' build-aux/fuzz.sh '$(SECONDS)' $(TARGET)

bench:
	build-aux/packages.sh build run
	$(CARGO) bench --bench framing --bench sdp --bench reorder
	$(CARGO) bench --bench compare -- $(BENCH)

install:
	build-aux/packages.sh build install
	meson setup build --prefix='$(PREFIX)' --buildtype=release --reconfigure 2>/dev/null \
	    || meson setup build --prefix='$(PREFIX)' --buildtype=release
	meson compile -C build
	meson install -C build --no-rebuild

fmt:
	$(CARGO) fmt

clippy:
	$(CARGO) clippy --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps

clean:
	$(CARGO) clean
	rm -rf build demo.png demo-published.png
