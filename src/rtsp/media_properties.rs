//! The headers Media-Properties and Media-Range of RTSP 2.0 (RFC 7826 §4.7, §18.29, §18.30).

use super::limits;
use super::range::{Range, parse_decimal};

/// Where playing can start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RandomAccess {
    /// The server does not say.
    #[default]
    Unknown,
    /// Anywhere; random access points are that many seconds apart at most, if it is said.
    Random(Option<f64>),
    /// Back to the beginning only.
    Beginning,
    None,
}

/// How the content changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Content {
    #[default]
    Unknown,
    Immutable,
    /// May change, on demand.
    Dynamic,
    /// Grows with time: it is live.
    Progressing,
}

/// What the server says about the media of a session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MediaProperties {
    pub access: RandomAccess,
    pub content: Content,
    /// Scales that are supported, from the one to the other.
    pub scales: Vec<(f64, f64)>,
    /// What can be played, if it is said.
    pub range: Option<Range>,
}

impl MediaProperties {
    /// Unknown properties are ignored, and of properties that exclude each other the last counts.
    pub fn parse(value: &str) -> Self {
        let mut properties = Self::default();
        for property in split(value).take(limits::MEDIA_PROPERTIES) {
            let (name, parameter) = match property.split_once('=') {
                Some((name, parameter)) => (name.trim(), Some(parameter.trim())),
                None => (property.trim(), None),
            };
            properties.set(&name.to_ascii_lowercase(), parameter);
        }
        properties
    }

    fn set(&mut self, name: &str, parameter: Option<&str>) {
        match name {
            "random-access" => {
                let apart = parameter
                    .and_then(parse_decimal)
                    .filter(|apart| *apart >= 0.0);
                self.access = RandomAccess::Random(apart);
            }
            "beginning-only" => self.access = RandomAccess::Beginning,
            "no-seeking" => self.access = RandomAccess::None,
            "immutable" => self.content = Content::Immutable,
            "dynamic" => self.content = Content::Dynamic,
            "time-progressing" => self.content = Content::Progressing,
            "scales" => self.scales = parameter.map(scales).unwrap_or_default(),
            // How long it is kept does not matter to who plays it now.
            _ => {}
        }
    }

    /// The first range that is understood.
    pub fn read_range(&mut self, value: &str) {
        self.range = Range::parse(value).or(self.range.take());
    }
}

/// Commas within quotes separate scales.
fn split(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .map(str::trim)
        .filter(|property| !property.is_empty())
}

/// `"-4, 0.5:2, 4"`: single scales and ranges of them.
fn scales(value: &str) -> Vec<(f64, f64)> {
    let value = value.trim_matches('"');
    value
        .split(',')
        .take(limits::MEDIA_PROPERTIES)
        .filter_map(|scale| match scale.split_once(':') {
            Some((from, to)) => Some((parse_decimal(from.trim())?, parse_decimal(to.trim())?)),
            None => parse_decimal(scale.trim()).map(|scale| (scale, scale)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: C-R2-03
    #[test]
    fn properties_say_where_to_start_and_whether_it_is_live() {
        let parse = MediaProperties::parse;
        let recorded =
            parse("Random-Access=2.5, Unlimited, Immutable, Scales=\"-20, -10, 0.5:1.5, 4\"");
        assert_eq!(recorded.access, RandomAccess::Random(Some(2.5)));
        assert_eq!(recorded.content, Content::Immutable);
        assert_eq!(
            recorded.scales,
            [(-20.0, -20.0), (-10.0, -10.0), (0.5, 1.5), (4.0, 4.0)]
        );
        let live = parse("no-seeking,TIME-PROGRESSING , Time-Duration=0.0");
        assert_eq!(
            (live.access, live.content),
            (RandomAccess::None, Content::Progressing)
        );
        let odd = parse(",, x-new=7, random-access=, scales=\"a,,1:\", Beginning-Only");
        assert_eq!((odd.access, odd.scales.len()), (RandomAccess::Beginning, 0));
        assert_eq!(parse(""), MediaProperties::default());
        assert_eq!(parse("Random-Access=x").access, RandomAccess::Random(None));
    }

    // covers: C-R2-03
    #[test]
    fn a_property_list_without_end_is_cut() {
        let many = "x,".repeat(limits::MEDIA_PROPERTIES) + "No-Seeking";
        assert_eq!(MediaProperties::parse(&many).access, RandomAccess::Unknown);
    }
}
