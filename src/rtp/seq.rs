//! Extending counters that wrap: 16-bit sequence numbers and 32-bit
//! timestamps become 64-bit ones.

/// Where an extended sequence number starts: one cycle up, so that packets
/// from before the first one have a number too.
pub const FIRST_CYCLE: u64 = 1 << 16;

/// Where an extended timestamp starts, for the same reason.
pub const FIRST_TIMESTAMP_CYCLE: u64 = 1 << 32;

/// The extended sequence number of `seq` that is nearest to `near`.
#[inline]
pub fn extend_seq(near: u64, seq: u16) -> u64 {
    let distance = seq.wrapping_sub(near as u16).cast_signed();
    near.wrapping_add_signed(i64::from(distance))
}

/// The extended timestamp of `rtp` that is nearest to `near`.
#[inline]
pub fn extend_timestamp(near: u64, rtp: u32) -> u64 {
    let distance = rtp.wrapping_sub(near as u32).cast_signed();
    near.wrapping_add_signed(i64::from(distance))
}

/// How far `to` is from `from`.
#[inline]
pub fn distance(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // covers: B-RTCP-08
    #[test]
    fn sequence_extends_over_the_wrap_both_ways() {
        let cases = [
            (FIRST_CYCLE + 5, 6, FIRST_CYCLE + 6),
            (FIRST_CYCLE + 65_535, 0, 2 * FIRST_CYCLE),
            (2 * FIRST_CYCLE, 65_535, 2 * FIRST_CYCLE - 1),
            (FIRST_CYCLE, 65_535, FIRST_CYCLE - 1),
            (FIRST_CYCLE, 0x7fff, FIRST_CYCLE + 0x7fff),
        ];
        for (near, seq, want) in cases {
            assert_eq!(extend_seq(near, seq), want, "{seq} near {near}");
        }
    }

    #[test]
    fn timestamp_extends_over_the_wrap_both_ways() {
        let near = FIRST_TIMESTAMP_CYCLE + 0xffff_fff0;
        assert_eq!(extend_timestamp(near, 0x10), near + 0x20);
        assert_eq!(extend_timestamp(near + 0x20, 0xffff_fff0), near);
    }

    proptest! {
        #[test]
        fn the_nearest_is_found(near in 65_536_u64..u64::MAX - 65_536, by in -32_767_i64..32_768) {
            let ext = near.wrapping_add_signed(by);
            prop_assert_eq!(extend_seq(near, ext as u16), ext);
            prop_assert_eq!(distance(near, ext), by);
        }
    }
}
