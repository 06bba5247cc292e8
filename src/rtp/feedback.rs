//! Which RTCP feedback the description allows, and key unit requests
//! (RFC 4585, RFC 5104).

/// One message to the sender of the media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feedback {
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli,
    /// Full intra request, with its command sequence number (RFC 5104 §4.3.1).
    Fir { seq: u8 },
    /// Generic NACK of these sequence numbers (RFC 4585 §6.2.1).
    Nack(Vec<u16>),
}

/// The feedback types that `a=rtcp-fb` lists for a payload type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    pub nack: bool,
    pub pli: bool,
    pub fir: bool,
}

impl Allowed {
    /// Reads the values of a media's `a=rtcp-fb` lines (RFC 4585 §4.2, RFC 5104 §7.1).
    ///
    /// `avpf` says that the profile is one of the F profiles (or that the
    /// user overrides it): without it nothing is allowed. Unknown types and
    /// parameters are ignored.
    pub fn new<'a>(
        values: impl IntoIterator<Item = &'a str>,
        payload_type: u8,
        avpf: bool,
    ) -> Self {
        let mut allowed = Self::default();
        if !avpf {
            return allowed;
        }
        for value in values {
            let mut words = value.split_ascii_whitespace();
            let applies = words
                .next()
                .is_some_and(|pt| pt == "*" || pt.parse() == Ok(payload_type));
            if !applies {
                continue;
            }
            let lower = |word: Option<&str>| word.unwrap_or_default().to_ascii_lowercase();
            match (lower(words.next()).as_str(), lower(words.next()).as_str()) {
                ("nack", "") => allowed.nack = true,
                ("nack", "pli") => allowed.pli = true,
                ("ccm", "fir") => allowed.fir = true,
                _ => {}
            }
        }
        allowed
    }
}

/// Turns key unit requests from downstream into PLI, or into FIR if only
/// that is offered (RFC 5104 §3.5.1 prefers PLI after losses).
#[derive(Debug)]
pub struct KeyUnits {
    allowed: Allowed,
    /// Command number of the last FIR and the count of its request.
    last: Option<(u8, Option<u32>)>,
}

impl KeyUnits {
    pub fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            last: None,
        }
    }

    /// The message for a request; `count` is that of the force-key-unit
    /// event: the same count again is a repetition, which keeps the
    /// sequence number of its FIR (RFC 5104 §4.3.1.1).
    pub fn request(&mut self, count: Option<u32>) -> Option<Feedback> {
        if self.allowed.pli {
            return Some(Feedback::Pli);
        }
        if !self.allowed.fir {
            return None;
        }
        let seq = match self.last {
            None => 0,
            Some((seq, last)) if count.is_some() && count == last => seq,
            Some((seq, _)) => seq.wrapping_add(1),
        };
        self.last = Some((seq, count));
        Some(Feedback::Fir { seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Allowed = Allowed {
        nack: false,
        pli: false,
        fir: false,
    };

    // covers: B-FB-01
    #[test]
    fn feedback_is_read_for_the_payload_type_and_unknown_types_are_ignored() {
        let cases: [(&[&str], Allowed); 12] = [
            (&["96 nack"], Allowed { nack: true, ..NONE }),
            (&["* nack pli"], Allowed { pli: true, ..NONE }),
            (&["96 ccm fir"], Allowed { fir: true, ..NONE }),
            (&["96 CCM FIR tmmbr"], Allowed { fir: true, ..NONE }),
            (
                &["96 nack", "96 nack pli", "96 ccm fir"],
                Allowed {
                    nack: true,
                    pli: true,
                    fir: true,
                },
            ),
            (&["97 nack", "9 nack", "960 nack"], NONE),
            (&["96 nack rpsi", "96 nack sli", "96 ack pli"], NONE),
            (&["96 ccm tmmbr", "96 goog-remb", "96 transport-cc"], NONE),
            (&["96", "", "   ", "nack", "*"], NONE),
            (&["96 trr-int 100"], NONE),
            (&["  96\tnack  "], Allowed { nack: true, ..NONE }),
            (&["-1 nack", "99999999999 nack"], NONE),
        ];
        for (values, expected) in cases {
            assert_eq!(
                Allowed::new(values.iter().copied(), 96, true),
                expected,
                "{values:?}"
            );
        }
    }

    // covers: B-FB-01
    #[test]
    fn feedback_needs_an_f_profile() {
        let values = ["* nack", "* nack pli", "* ccm fir"];
        assert_eq!(Allowed::new(values, 96, false), NONE);
    }

    // covers: C-FB-06
    #[test]
    fn key_unit_is_pli_or_fir_if_only_that_is_offered() {
        let mut both = KeyUnits::new(Allowed {
            pli: true,
            fir: true,
            ..NONE
        });
        assert_eq!(both.request(None), Some(Feedback::Pli));
        let mut fir = KeyUnits::new(Allowed {
            fir: true,
            nack: true,
            ..NONE
        });
        assert_eq!(fir.request(None), Some(Feedback::Fir { seq: 0 }));
        assert_eq!(
            KeyUnits::new(Allowed { nack: true, ..NONE }).request(None),
            None
        );
    }

    // covers: B-FB-04
    #[test]
    fn fir_number_grows_per_command_and_stays_on_repeats() {
        let mut fir = KeyUnits::new(Allowed { fir: true, ..NONE });
        let mut seqs = vec![];
        for count in [Some(7), Some(7), Some(8), None, None] {
            match fir.request(count) {
                Some(Feedback::Fir { seq }) => seqs.push(seq),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seqs, [0, 0, 1, 2, 3]);
        fir.last = Some((255, None));
        assert_eq!(fir.request(None), Some(Feedback::Fir { seq: 0 }));
    }
}
