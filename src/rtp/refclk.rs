//! Clocks that a description names: `a=ts-refclk` and `a=mediaclk` (RFC 7273).

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// An EUI-64, as in `39-A7-94-FF-FE-07-CB-D0`.
pub type Eui64 = [u8; 8];

/// The clock of the timestamps, by the value of `a=ts-refclk` (RFC 7273 §4.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceClock {
    /// Host, or host and port.
    Ntp(String),
    NtpTraceable,
    Ptp {
        /// As `IEEE1588-2008`.
        version: String,
        gmid: Eui64,
        /// Number of the domain, if it has one.
        domain: Option<u8>,
    },
    PtpTraceable {
        version: String,
    },
    Gps,
    Galileo,
    Glonass,
    Local,
    Private {
        traceable: bool,
    },
}

impl ReferenceClock {
    /// `None` for a form that is not known.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        if let Some(server) = strip(value, "ntp=") {
            return match server {
                "" => None,
                "/traceable/" => Some(Self::NtpTraceable),
                server => Some(Self::Ntp(server.to_owned())),
            };
        }
        if let Some(ptp) = strip(value, "ptp=") {
            return Self::parse_ptp(ptp);
        }
        Some(match value.to_ascii_lowercase().as_str() {
            "gps" => Self::Gps,
            "gal" => Self::Galileo,
            "glonass" => Self::Glonass,
            "local" => Self::Local,
            "private" => Self::Private { traceable: false },
            "private:traceable" => Self::Private { traceable: true },
            _ => return None,
        })
    }

    fn parse_ptp(value: &str) -> Option<Self> {
        let (version, server) = value.split_once(':')?;
        let version = version.to_owned();
        if server.eq_ignore_ascii_case("traceable") {
            return Some(Self::PtpTraceable { version });
        }
        let (gmid, domain) = server
            .split_once(':')
            .map_or((server, None), |(g, d)| (g, Some(d)));
        // The ABNF has `domain-nmbr=0`, the examples of the RFC a mere `0`.
        let domain = match domain {
            Some(domain) if strip(domain, "domain-name=").is_none() => {
                let number = strip(domain, "domain-nmbr=").unwrap_or(domain);
                Some(number.parse().ok().filter(|n| *n <= 127)?)
            }
            _ => None,
        };
        Some(Self::Ptp {
            version,
            gmid: parse_eui64(gmid)?,
            domain,
        })
    }
}

/// What the RTP clock runs by, by the value of `a=mediaclk` (RFC 7273 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaClock {
    Sender,
    Direct(DirectClock),
    Ieee1722(Eui64),
}

impl MediaClock {
    /// `None` for a form that is not known. A leading `id=` is skipped.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let mut word = words.next()?;
        if strip(word, "id=").is_some() {
            word = words.next()?;
        }
        if word.eq_ignore_ascii_case("sender") {
            return Some(Self::Sender);
        }
        if let Some(id) = strip(word, "IEEE1722=") {
            return parse_eui64(id).map(Self::Ieee1722);
        }
        let offset = match strip(word, "direct")? {
            "" => None,
            offset => Some(offset.strip_prefix('=')?.parse::<u64>().ok()? as u32),
        };
        let rate = match words.next().and_then(|word| strip(word, "rate=")) {
            Some(rate) => {
                let (numerator, denominator) = rate.split_once('/')?;
                let rate: (u32, u32) = (numerator.parse().ok()?, denominator.parse().ok()?);
                if rate.0 == 0 || rate.1 == 0 {
                    return None;
                }
                rate
            }
            None => (1, 1),
        };
        Some(Self::Direct(DirectClock { offset, rate }))
    }
}

/// An RTP clock that is the reference clock (RFC 7273 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectClock {
    /// RTP time at the epoch of the reference clock. A sender report's
    /// mapping wins over it.
    pub offset: Option<u32>,
    /// What the clock rate is to be multiplied by; neither part is 0.
    pub rate: (u32, u32),
}

impl DirectClock {
    /// RTP time so many nanoseconds after the epoch of the reference clock;
    /// `None` if the description gives no offset.
    pub fn rtp_at(&self, elapsed: u64, clock_rate: u32) -> Option<u32> {
        let ticks = u128::from(elapsed)
            .checked_mul(clock_rate.into())?
            .checked_mul(self.rate.0.into())?
            .checked_div(NANOS_PER_SEC.checked_mul(self.rate.1.into())?)?;
        Some(self.offset?.wrapping_add(ticks as u32))
    }
}

/// Strips a prefix whatever its case.
fn strip<'a>(value: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn parse_eui64(value: &str) -> Option<Eui64> {
    let mut id = Eui64::default();
    let mut parts = value.split('-');
    for byte in &mut id {
        let part = parts
            .next()
            .filter(|p| p.len() == 2 && !p.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: Eui64 = [0x39, 0xa7, 0x94, 0xff, 0xfe, 0x07, 0xcb, 0xd0];

    // covers: B-CLK-01
    #[test]
    fn reference_clocks_parse_and_unknown_ones_are_ignored() {
        use ReferenceClock::*;
        let ptp = |version: &str, domain| {
            Some(Ptp {
                version: version.into(),
                gmid: ID,
                domain,
            })
        };
        let cases = [
            ("ntp=203.0.113.10", Some(Ntp("203.0.113.10".into()))),
            (
                "ntp=[2001:db8::1]:124",
                Some(Ntp("[2001:db8::1]:124".into())),
            ),
            ("ntp=/traceable/", Some(NtpTraceable)),
            ("ntp=", None),
            (
                "ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:0",
                ptp("IEEE1588-2008", Some(0)),
            ),
            (
                "ptp=IEEE1588-2008:39-a7-94-ff-fe-07-cb-d0:domain-nmbr=127",
                ptp("IEEE1588-2008", Some(127)),
            ),
            ("ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:128", None),
            (
                "ptp=IEEE1588-2002:39-A7-94-FF-FE-07-CB-D0:domain-name=x",
                ptp("IEEE1588-2002", None),
            ),
            (
                "ptp=IEEE802.1AS-2011:39-A7-94-FF-FE-07-CB-D0",
                ptp("IEEE802.1AS-2011", None),
            ),
            (
                "ptp=IEEE1588-2008:traceable",
                Some(PtpTraceable {
                    version: "IEEE1588-2008".into(),
                }),
            ),
            ("ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB", None),
            ("ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0-00", None),
            ("ptp=IEEE1588-2008:+9-A7-94-FF-FE-07-CB-D0", None),
            ("ptp=IEEE1588-2008", None),
            ("gps", Some(Gps)),
            ("gal", Some(Galileo)),
            (" GLONASS ", Some(Glonass)),
            ("local", Some(Local)),
            ("private", Some(Private { traceable: false })),
            ("private:traceable", Some(Private { traceable: true })),
            ("beidou", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(ReferenceClock::parse(value), expected, "{value}");
        }
    }

    // covers: B-CLK-01
    #[test]
    fn media_clocks_parse_and_unknown_ones_are_ignored() {
        use MediaClock::*;
        let direct = |offset, rate| Some(Direct(DirectClock { offset, rate }));
        let cases = [
            ("sender", Some(Sender)),
            ("id=MDA6NjA6MmI6MjA6MTI6MWY= sender", Some(Sender)),
            ("id=src:MDA6 sender", Some(Sender)),
            ("direct", direct(None, (1, 1))),
            ("direct=963214424", direct(Some(963_214_424), (1, 1))),
            (
                "direct=963214424 rate=1000/1001",
                direct(Some(963_214_424), (1000, 1001)),
            ),
            ("direct rate=1000/1001", direct(None, (1000, 1001))),
            ("direct=4294967297", direct(Some(1), (1, 1))),
            ("direct=-1", None),
            ("direct=1 rate=0/1", None),
            ("direct=1 rate=1/0", None),
            ("directly", None),
            ("IEEE1722=39-A7-94-FF-FE-07-CB-D0", Some(Ieee1722(ID))),
            (
                "id=src:MDA6 IEEE1722=39-A7-94-FF-FE-07-CB-D0",
                Some(Ieee1722(ID)),
            ),
            ("IEEE1722=39", None),
            ("id=x", None),
            ("rubidium", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(MediaClock::parse(value), expected, "{value}");
        }
    }

    // covers: B-CLK-02
    #[test]
    fn the_vectors_of_rfc_7273_are_met() {
        let at = |offset, seconds: u64| {
            let clock = DirectClock {
                offset: Some(offset),
                rate: (1, 1),
            };
            clock.rtp_at(seconds * 1_000_000_000, 90_000)
        };
        // 2013-01-01T00:00:00 since the PTP and the NTP epoch.
        assert_eq!(at(0, 1_356_998_400), Some(2_460_938_240));
        assert_eq!(at(23_465, 1_356_998_400), Some(2_460_961_705));
        assert_eq!(at(0, 3_565_987_225), Some(1_714_023_696));
        let unknown = DirectClock {
            offset: None,
            rate: (1, 1),
        };
        assert_eq!(unknown.rtp_at(1, 90_000), None);
    }

    // covers: B-CLK-02
    #[test]
    fn the_rate_modifier_slows_the_clock() {
        let clock = DirectClock {
            offset: Some(0),
            rate: (1000, 1001),
        };
        assert_eq!(clock.rtp_at(1_001_000_000_000, 44_100), Some(44_100_000));
    }

    proptest! {
        #[test]
        fn no_panic(value in ".{0,40}", tail in ".{0,20}", a: u64, b: u32, rate: u32) {
            for head in ["", "ptp=", "ptp=IEEE1588-2008:", "direct=", "direct rate=", "id="] {
                let _ = ReferenceClock::parse(&format!("{head}{value}:{tail}"));
                let _ = MediaClock::parse(&format!("{head}{value} {tail}"));
            }
            let clock = DirectClock { offset: Some(b), rate: (rate, b) };
            let _ = clock.rtp_at(a, rate);
        }
    }
}
