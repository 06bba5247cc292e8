# seeds.awk -v out=FOLDER tests/scripts/*/*.rtsp: what the servers of the scripts say, as seeds of the
# fuzz targets: out/sdp descriptions, out/stream the bytes of a connection, out/client the answers in
# the order in which they are given, out/headers each header line that has a parser of its own.

function flush_statement(   head, body, name) {
    body = bodies
    if (kind == "sdp" && body != "") {
        printf "%s", body > (out "/sdp/script-" script "-" ++count)
        sdp = body
    }
    if (kind == "reply") {
        gsub(/\{sdp\}/, sdp, body)
        head = headers
        stream = stream "RTSP/1.0 " status "\r\nCSeq: " ++cseq "\r\n" head
        if (body != "") stream = stream "Content-Length: " length(body) "\r\n"
        stream = stream "\r\n" body
        gsub(/\r/, "", head)
        client = client "a" substr(status, 1, 3) "\n" head (body == "" ? "" : "\n" body) "%%\n"
    }
    if (kind == "send") {
        stream = stream headers
        client = client "r" headers "\n%%\n"
    }
    kind = headers = bodies = ""
}

function finish() {
    flush_statement()
    if (stream != "") {
        printf "\377%s", stream > (out "/stream/script-" script)
        printf "p\n%%%%\n%s", client > (out "/client/script-" script)
    }
    stream = client = ""
    cseq = count = 0
}

function fill(text) {
    gsub(/\{url\}/, "rtsp://192.0.2.1/x", text)
    gsub(/\{address\}/, "192.0.2.1", text)
    gsub(/\{session\}/, "12345678", text)
    gsub(/\{timeout\}/, "60", text)
    gsub(/\{public\}/, "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN", text)
    gsub(/\{granted\}|\{transport\}/, "RTP/AVP/TCP;unicast;interleaved=0-1", text)
    gsub(/\{cseq\}/, cseq + 1, text)
    return text
}

FNR == 1 {
    finish()
    script = FILENAME
    sub(/.*\//, "", script)
    sub(/\.rtsp$/, "", script)
    sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"
}
/^ *\|/ {
    sub(/^ *\| ?/, "")
    $0 = fill($0)
    headers = headers $0 "\r\n"
    if ($0 ~ /^(Transport|Range|RTP-Info|Session|WWW-Authenticate|Location|Content-Base|Content-Location|Content-Length|CSeq):/)
        printf "%s", $0 > (out "/headers/script-" script "-" ++line)
    next
}
/^ *>/ {
    sub(/^ *> ?/, "")
    bodies = bodies ($0 == "{sdp}" ? sdp : fill($0) "\r\n")
    next
}
/^ *#/ || NF == 0 { next }
{
    flush_statement()
    if ($1 == "sdp" || $1 == "send") kind = $1
    if ($1 == "reply") {
        kind = "reply"
        status = $0
        sub(/^ *reply */, "", status)
    }
    # The pieces that nearly all scripts use.
    if ($1 == "use")
        for (i = 2; i <= NF; i++)
            if ($i ~ /^(options|describe|setup|play|start|playing)$/)
                for (n = ($i ~ /^(start|playing)$/ ? 4 : 1); n > 0; n--) client = client "h\n%%\n"
}
END { finish() }
