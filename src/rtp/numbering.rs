//! Sequence numbers as packets leave.
//!
//! They count the packets that are sent (RFC 3550 §5.1). What was dropped here
//! would else look like loss to every reader: it would be asked for again,
//! spoil the reports, and break servers that are used to getting everything
//! over TCP. Gaps that were there before stay.

/// Sources of a stream that are told apart: the media, and what may go with it.
const SOURCES: usize = 4;

/// The place of a packet among those of its source, whether it leaves or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    ssrc: u32,
    count: u64,
}

/// What became of the numbers of one source.
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    payload_type: u8,
    /// It has packets of several types, and some may refer to others by their
    /// numbers (such as RFC 5109): those stay from here on.
    mixed: bool,
    /// Packets that have come.
    came: u64,
    /// Place of the last one that has left.
    left: Option<u64>,
    /// Packets that did not leave.
    behind: u16,
}

impl Source {
    fn place(&mut self, payload_type: u8) -> Place {
        self.mixed |= self.payload_type != payload_type;
        self.came = self.came.wrapping_add(1);
        Place {
            ssrc: self.ssrc,
            count: self.came,
        }
    }
}

/// The numbers of one stream.
#[derive(Debug, Default)]
pub struct Numbering {
    sources: Vec<Source>,
}

impl Numbering {
    /// A packet has come; to be asked of each, in order.
    pub fn place(&mut self, ssrc: u32, payload_type: u8) -> Place {
        if let Some(source) = self.sources.first_mut()
            && source.ssrc == ssrc
        {
            return source.place(payload_type);
        }
        let known = self.sources.iter().position(|source| source.ssrc == ssrc);
        let mut source = match known {
            Some(index) => self.sources.remove(index),
            None => Source {
                ssrc,
                payload_type,
                mixed: false,
                came: 0,
                left: None,
                behind: 0,
            },
        };
        let place = source.place(payload_type);
        // The last that had something is the first; the last of them all goes.
        self.sources.insert(0, source);
        self.sources.truncate(SOURCES);
        place
    }

    /// The number under which the packet of this place leaves, in place of its
    /// own; to be asked of each that leaves, in order.
    pub fn leave(&mut self, place: Place, sequence: u16) -> u16 {
        let known = |source: &&mut Source| source.ssrc == place.ssrc;
        let Some(source) = self.sources.iter_mut().find(known) else {
            return sequence;
        };
        // What was dropped before the first one nobody misses.
        if let Some(last) = source.left.replace(place.count)
            && !source.mixed
        {
            let dropped = place.count.wrapping_sub(last).wrapping_sub(1);
            source.behind = source.behind.wrapping_add(dropped as u16);
        }
        sequence.wrapping_sub(source.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEDIA: u32 = 1;
    const OTHER: u32 = 2;

    /// Packets with these numbers, of which some are dropped; how they leave.
    fn pass(packets: impl IntoIterator<Item = (u16, bool)>) -> Vec<u16> {
        let mut numbering = Numbering::default();
        let mut left = vec![];
        for (sequence, leaves) in packets {
            let place = numbering.place(MEDIA, 96);
            if leaves {
                left.push(numbering.leave(place, sequence));
            }
        }
        left
    }

    // covers: P-PUB-14
    #[test]
    fn what_is_dropped_here_leaves_no_gap() {
        let packets = [
            (65_534, true),
            (65_535, false),
            (0, false),
            (1, true),
            (2, true),
        ];
        assert_eq!(pass(packets), [65_534, 65_535, 0]);
        let again = [(1, true), (2, false), (3, true), (4, false), (5, true)];
        assert_eq!(pass(again), [1, 2, 3]);
        assert_eq!(pass([(7, false), (8, true)]), [8]);
    }

    // covers: P-PUB-14
    #[test]
    fn gaps_and_disorder_of_before_stay() {
        let packets = [(1, true), (5, true), (4, true), (6, false), (9, true)];
        assert_eq!(pass(packets), [1, 5, 4, 8]);
    }

    // covers: P-PUB-14
    #[test]
    fn packets_that_waited_are_numbered_as_they_leave() {
        let mut numbering = Numbering::default();
        let places: Vec<_> = (0..6).map(|_| numbering.place(MEDIA, 96)).collect();
        let leave = |numbering: &mut Numbering, n: u16| numbering.leave(places[usize::from(n)], n);
        assert_eq!(leave(&mut numbering, 0), 0);
        assert_eq!(leave(&mut numbering, 3), 1);
        assert_eq!(leave(&mut numbering, 5), 2);
    }

    // covers: P-PUB-14
    #[test]
    fn each_source_has_its_own_numbers() {
        let mut numbering = Numbering::default();
        for n in 0..10_u16 {
            let media = numbering.place(MEDIA, 96);
            let other = numbering.place(OTHER, 97);
            if n != 5 {
                assert_eq!(numbering.leave(media, n), n - u16::from(n > 5));
            }
            assert_eq!(numbering.leave(other, 1000 + n), 1000 + n);
        }
    }

    // covers: P-PUB-14
    #[test]
    fn packets_that_others_refer_to_keep_their_numbers() {
        let mut numbering = Numbering::default();
        for n in 0..20_u16 {
            let place = numbering.place(MEDIA, if n % 5 == 4 { 122 } else { 96 });
            if !(5..=8).contains(&n) {
                assert_eq!(numbering.leave(place, n), n);
            }
        }
    }

    // covers: H-34
    #[test]
    fn sources_are_bounded() {
        let mut numbering = Numbering::default();
        let first = numbering.place(0, 96);
        for ssrc in 1..1000 {
            numbering.place(ssrc, 96);
        }
        assert_eq!(numbering.sources.len(), SOURCES);
        assert_eq!(numbering.leave(first, 77), 77);
    }

    proptest! {
        // covers: P-PUB-14
        #[test]
        fn what_leaves_is_numbered_one_by_one(
            first: u16,
            leaves in proptest::collection::vec(any::<bool>(), 0..300),
        ) {
            let packets = leaves.iter().zip(0..).map(|(leaves, n)| (first.wrapping_add(n), *leaves));
            let left = pass(packets);
            for pair in left.windows(2) {
                prop_assert_eq!(pair[1], pair[0].wrapping_add(1));
            }
        }
    }
}
