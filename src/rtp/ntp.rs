//! NTP timestamps (RFC 3550 §4) and what ties them to RTP time.

use std::time::Duration;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Nanoseconds since the start of the NTP era; always fits an `i64`.
pub fn to_nanos(ntp: u64) -> u64 {
    let seconds = ntp >> 32;
    // Rounded, so that a conversion there and back is the identity.
    let fraction = (ntp & 0xffff_ffff)
        .wrapping_mul(NANOS_PER_SEC)
        .wrapping_add(1 << 31)
        >> 32;
    seconds.wrapping_mul(NANOS_PER_SEC).wrapping_add(fraction)
}

/// The NTP timestamp of so many nanoseconds since the start of an era.
pub fn from_nanos(nanos: u64) -> u64 {
    // Less than 2^30 before the shift.
    let fraction = ((nanos % NANOS_PER_SEC) << 32) / NANOS_PER_SEC;
    ((nanos / NANOS_PER_SEC) << 32).wrapping_add(fraction)
}

/// Nanoseconds from one NTP timestamp to another that is less than 68 years
/// away, in whichever era.
pub fn span(from: u64, to: u64) -> i64 {
    let units = i128::from(to.wrapping_sub(from).cast_signed());
    // Below 2^63 × 10^9, and after the shift below 2^61.
    let nanos = units.saturating_mul(i128::from(NANOS_PER_SEC)) >> 32;
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// The middle 32 bits, as in the LSR field of a report block (RFC 3550 §6.4.1).
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A time span in units of 1/65536 s, as in DLSR (RFC 3550 §6.4.1), clamped.
pub fn short(span: Duration) -> u32 {
    let Ok(seconds) = u16::try_from(span.as_secs()) else {
        return u32::MAX;
    };
    let fraction = (u64::from(span.subsec_nanos()) << 16) / NANOS_PER_SEC;
    (u32::from(seconds) << 16) | fraction as u32
}

/// A sender report's pair of one instant in NTP and in RTP time (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpMapping {
    pub ntp: u64,
    pub ext_rtp: u64,
    pub clock_rate: u32,
}

impl NtpMapping {
    /// NTP time at which the packet with this extended RTP timestamp was sampled.
    pub fn ntp_at(&self, ext_rtp: u64) -> Option<u64> {
        let ticks = i128::from(ext_rtp.wrapping_sub(self.ext_rtp) as i64);
        let units = ticks.checked_shl(32)?.checked_div(self.clock_rate.into())?;
        Some(self.ntp.wrapping_add(units as u64))
    }
}

/// RTP header extension `urn:ietf:params:rtp-hdrext:ntp-64` (RFC 6051 §3.3).
pub fn extension_64(data: &[u8]) -> Option<u64> {
    let data: [u8; 8] = data.try_into().ok()?;
    Some(u64::from_be_bytes(data))
}

/// RTP header extension `urn:ietf:params:rtp-hdrext:ntp-56` (RFC 6051 §3.3).
///
/// The missing upper 8 bits of the seconds come from `near`, which is the
/// last sender report or any other guess that is less than 97 days off.
pub fn extension_56(data: &[u8], near: u64) -> Option<u64> {
    const BITS: u32 = 56;
    let data: [u8; 7] = data.try_into().ok()?;
    let low = data.iter().fold(0u64, |v, b| (v << 8) | u64::from(*b));
    let behind = near.wrapping_sub(low) << (64 - BITS) >> (64 - BITS);
    let below = near.wrapping_sub(behind);
    if behind > 1 << (BITS - 1) {
        Some(below.wrapping_add(1 << BITS))
    } else {
        Some(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // covers: B-RTCP-08
    #[test]
    fn middle_and_short_are_16_16_fixed_point() {
        // The example of RFC 3550 §6.4.1, figure 2.
        assert_eq!(middle(0xb44d_b705_2000_0000), 0xb705_2000);
        assert_eq!(short(Duration::from_millis(5_250)), 0x0005_4000);
        assert_eq!(short(Duration::ZERO), 0);
        assert_eq!(short(Duration::from_secs(70_000)), u32::MAX);
    }

    #[test]
    fn nanoseconds_keep_the_extremes() {
        assert_eq!(to_nanos(0), 0);
        assert_eq!(to_nanos(1 << 31), 500_000_000);
        assert_eq!(from_nanos(1_500_000_000), (1 << 32) | (1 << 31));
        assert!(i64::try_from(to_nanos(u64::MAX)).is_ok());
    }

    #[test]
    fn a_span_has_a_sign_and_crosses_the_era() {
        assert_eq!(span(5 << 32, (6 << 32) | (1 << 31)), 1_500_000_000);
        assert_eq!(span((6 << 32) | (1 << 31), 5 << 32), -1_500_000_000);
        assert_eq!(span(u64::MAX - (1 << 32) + 1, 1 << 32), 2_000_000_000);
    }

    // covers: B-CLK-02
    #[test]
    fn mapping_follows_the_rtp_clock_both_ways() {
        let map = NtpMapping {
            ntp: 100 << 32,
            ext_rtp: 90_000,
            clock_rate: 90_000,
        };
        assert_eq!(map.ntp_at(180_000), Some(101 << 32));
        assert_eq!(map.ntp_at(45_000), Some((99 << 32) | (1 << 31)));
        assert_eq!(
            NtpMapping {
                clock_rate: 0,
                ..map
            }
            .ntp_at(1),
            None
        );
    }

    // covers: B-EXT-04
    #[test]
    fn extensions_are_taken_only_in_their_own_length() {
        let ntp: u64 = 0xe123_4567_89ab_cdef;
        let bytes = ntp.to_be_bytes();
        assert_eq!(extension_64(&bytes), Some(ntp));
        for n in [0, 1, 6, 8, 9] {
            assert_eq!(extension_56(&[0; 9][..n], ntp), None);
        }
        for n in [0, 1, 7, 9] {
            assert_eq!(extension_64(&[0; 9][..n]), None);
        }
    }

    // covers: B-EXT-04
    #[test]
    fn ntp_56_takes_its_upper_bits_from_the_sender_report() {
        let ntp: u64 = 0xe123_4567_89ab_cdef;
        let short = &ntp.to_be_bytes()[1..];
        let day = 86_400u64 << 32;
        for near in [ntp, ntp + 30 * day, ntp - 30 * day] {
            assert_eq!(extension_56(short, near), Some(ntp));
        }
        // The sender report is just before, the packet just after the 24 bits wrap.
        let wrapped = 0xe200_0000_0000_0001u64;
        assert_eq!(
            extension_56(&wrapped.to_be_bytes()[1..], 0xe1ff_ffff_ffff_0000),
            Some(wrapped)
        );
    }

    proptest! {
        #[test]
        fn nanoseconds_and_back(nanos in 0u64..u64::from(u32::MAX) * NANOS_PER_SEC) {
            prop_assert!(to_nanos(from_nanos(nanos)).abs_diff(nanos) <= 1);
        }

        #[test]
        fn no_panic(a: u64, b: u64, c: u64, rate: u32) {
            let _ = NtpMapping { ntp: a, ext_rtp: b, clock_rate: rate }.ntp_at(c);
            let _ = (to_nanos(a), from_nanos(a));
            let _ = extension_56(&a.to_be_bytes()[1..], b);
        }
    }
}
