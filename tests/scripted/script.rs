//! The format of the scripts; `tests/scripts/README.md` describes it.

use std::collections::BTreeMap;
use std::path::Path;

/// A file, read.
pub struct Script {
    pub name: String,
    /// Properties of the element.
    pub properties: Vec<(String, String)>,
    pub url: String,
    pub variables: BTreeMap<String, String>,
    /// What the server does with the first connection, the second …
    pub connections: Vec<Vec<Line>>,
    /// Further connections are treated as the last.
    pub repeats_last: bool,
    pub checks: Vec<Line>,
}

/// A statement with what is indented below it.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it stands, for messages.
    pub place: String,
    pub words: Vec<String>,
    /// Lines after `|`.
    pub text: Vec<String>,
    /// Lines after `>`.
    pub body: Vec<String>,
    /// Statements up to `end`.
    pub inner: Vec<Line>,
}

impl Line {
    pub fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// The value of `name=value`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut words = self.words.iter();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.value(name).map_or(default, |value| {
            let number = value.parse();
            number.unwrap_or_else(|_| panic!("{}: {name} is no number", self.place))
        })
    }

    pub fn hex(&self, name: &str, default: u32) -> u32 {
        self.value(name).map_or(default, |value| {
            let number = u32::from_str_radix(value, 16);
            number.unwrap_or_else(|_| panic!("{}: {name} is no number", self.place))
        })
    }

    pub fn flag(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }
}

const H264: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=script\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n";

pub fn read(folder: &Path, file: &Path) -> Script {
    let defaults = [
        ("session", "12345678"),
        ("timeout", "60"),
        ("version", "1.0"),
        (
            "public",
            "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN",
        ),
        ("sdp", H264),
    ];
    let mut script = Script {
        name: file.to_string_lossy().into_owned(),
        properties: Vec::new(),
        url: "{url}".into(),
        variables: defaults.map(|(n, v)| (n.into(), v.into())).into(),
        connections: Vec::new(),
        repeats_last: false,
        checks: Vec::new(),
    };
    let mut lines = lines(folder, file).into_iter();
    let mut in_checks = false;
    while let Some(mut line) = lines.next() {
        match (line.word(0), script.connections.last_mut()) {
            ("set", _) => {
                let value = line.words.get(2..).expect("a value").join(" ");
                script.properties.push((line.word(1).into(), value));
            }
            ("url", _) => script.url = line.word(1).into(),
            ("connection", _) => {
                script.repeats_last = line.word(1) == "*";
                script.connections.push(Vec::new());
            }
            ("client", _) => in_checks = true,
            ("sdp", None) => {
                let text = line.body.join("\r\n") + "\r\n";
                script.variables.insert("sdp".into(), text);
            }
            ("let", None) => {
                let value = line.words.get(2..).unwrap_or_default().join(" ");
                script.variables.insert(line.word(1).into(), value);
            }
            _ if in_checks => script.checks.push(line),
            ("repeat", Some(block)) => {
                line.inner = inner(&mut lines, &line.place);
                block.push(line);
            }
            (_, Some(block)) => block.push(line),
            (_, None) => panic!("{}: no connection yet", line.place),
        }
    }
    assert!(!script.checks.is_empty(), "{}: no checks", script.name);
    script
}

fn inner(lines: &mut impl Iterator<Item = Line>, place: &str) -> Vec<Line> {
    let mut block = Vec::new();
    loop {
        let mut line = lines.next().unwrap_or_else(|| panic!("{place}: no end"));
        match line.word(0) {
            "end" => return block,
            "repeat" => line.inner = inner(lines, place),
            _ => {}
        }
        block.push(line);
    }
}

/// The statements of a file, with those of the files that it uses.
fn lines(folder: &Path, file: &Path) -> Vec<Line> {
    let text =
        std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut lines: Vec<Line> = Vec::new();
    for (number, text) in text.lines().enumerate() {
        let place = format!("{}:{}", file.display(), number + 1);
        let trimmed = text.trim_start();
        if let Some(rest) = trimmed.strip_prefix('|') {
            let line = lines
                .last_mut()
                .unwrap_or_else(|| panic!("{place}: belongs to nothing"));
            line.text
                .push(rest.strip_prefix(' ').unwrap_or(rest).into());
        } else if let Some(rest) = trimmed.strip_prefix('>') {
            let line = lines
                .last_mut()
                .unwrap_or_else(|| panic!("{place}: belongs to nothing"));
            line.body
                .push(rest.strip_prefix(' ').unwrap_or(rest).into());
        } else if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let words = words(trimmed);
            match words.as_slice() {
                [first, names @ ..] if first == "use" => {
                    for name in names {
                        let used = folder.join("common").join(name).with_extension("rtsp");
                        lines.extend(self::lines(folder, &used));
                    }
                }
                _ => lines.push(Line {
                    place,
                    words,
                    text: Vec::new(),
                    body: Vec::new(),
                    inner: Vec::new(),
                }),
            }
        }
    }
    lines
}

/// Splits at blanks outside double quotes, which are left out.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            c if c.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// Replaces `{name}`; what is not known stays.
pub fn expand(text: &str, mut variable: impl FnMut(&str) -> Option<String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('{') {
        expanded.push_str(before);
        let value = tail
            .split_once('}')
            .and_then(|(name, after)| Some((variable(name)?, after)));
        match value {
            Some((value, after)) => {
                expanded.push_str(&value);
                rest = after;
            }
            None => {
                expanded.push('{');
                rest = tail;
            }
        }
    }
    expanded + rest
}

/// Bytes of a text in which `\xNN`, `\r`, `\n`, `\0` and `\\` stand for others.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match input.next() {
            Some(b'r') => bytes.push(b'\r'),
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'0') => bytes.push(0),
            Some(b'x') => {
                let digits: Vec<u8> = input.by_ref().take(2).collect();
                bytes.extend(hex(&String::from_utf8_lossy(&digits)));
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    bytes
}

/// Bytes written as hexadecimal digits.
pub fn hex(digits: &str) -> Vec<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).expect("a hexadecimal digit") as u8;
    let digits: Vec<u8> = digits.bytes().collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| pair.iter().fold(0, |n, c| n << 4 | digit(c)))
        .collect()
}
