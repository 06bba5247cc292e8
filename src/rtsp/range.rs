//! The Range header and `a=range` (RFC 2326 §3.5–§3.7, §12.29; RFC 7826 §4.4,
//! §18.40), and the decimal numbers of Scale and Speed.
//!
//! Time is in whole nanoseconds; digits past the ninth are cut off.

use std::fmt;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// From 1900-01-01, the NTP epoch, to 1970-01-01 in seconds.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// How SMPTE time codes count frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmpteType {
    /// `smpte` and `smpte-30-drop`: 30000/1001 frames per second; frame numbers
    /// 00 and 01 are left out in each minute that ten does not divide.
    Drop30,
    /// `smpte-25`
    Fps25,
}

/// The unit of both ends of a range. Ends of different units are not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Npt,
    /// Absolute UTC.
    Clock,
    Smpte(SmpteType),
}

/// A SMPTE time code `hh:mm:ss:ff.ss`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeCode {
    pub hours: u8,
    pub minutes: u8,
    pub seconds: u8,
    pub frames: u8,
    /// Hundredths of a frame.
    pub subframes: u8,
}

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The live edge.
    Now,
    /// Nanoseconds of normal play time.
    Npt(u64),
    /// Nanoseconds since the Unix epoch.
    Clock(u64),
    /// A time code and the nanoseconds that it stands for.
    Smpte { code: TimeCode, ns: u64 },
}

impl Point {
    /// The point of that many nanoseconds on the scale of the unit. SMPTE has whole frames and
    /// two digits of hours.
    fn at(unit: Unit, ns: u64) -> Option<Point> {
        match unit {
            Unit::Npt => Some(Point::Npt(ns)),
            Unit::Clock => Some(Point::Clock(ns)),
            Unit::Smpte(kind) => {
                let code = smpte_code(kind, ns)?;
                Some(Point::Smpte { code, ns })
            }
        }
    }

    /// Nanoseconds on the scale of the unit; none for `now`.
    pub fn ns(&self) -> Option<u64> {
        match *self {
            Point::Now => None,
            Point::Npt(ns) | Point::Clock(ns) | Point::Smpte { ns, .. } => Some(ns),
        }
    }
}

/// A time range. At least one of its ends is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub unit: Unit,
    pub start: Option<Point>,
    pub end: Option<Point>,
}

impl Range {
    /// Reads a range; `None` for an unknown unit or a malformed value, which
    /// counts as no range at all.
    pub fn parse(value: &str) -> Option<Range> {
        // `;time=` says when to apply it; no client needs it. After a comma may
        // follow the same in another unit.
        let value = value.split(';').next()?;
        let (unit, text) = value.split(',').find_map(|range| {
            let (unit, text) = range.split_once('=')?;
            Some((parse_unit(unit.trim())?, text))
        })?;
        let (start, end) = text.split_once('-')?;
        let point = |text: &str| -> Option<Option<Point>> {
            match text.trim() {
                "" => Some(None),
                text => parse_point(unit, text).map(Some),
            }
        };
        let range = Range {
            unit,
            start: point(start)?,
            end: point(end)?,
        };
        (range.start.is_some() || range.end.is_some()).then_some(range)
    }

    /// `npt=<start>-`
    pub fn npt_from(start_ns: u64) -> Range {
        Range {
            unit: Unit::Npt,
            start: Some(Point::Npt(start_ns)),
            end: None,
        }
    }

    /// `npt=now-`
    pub fn npt_now() -> Range {
        Range {
            unit: Unit::Npt,
            start: Some(Point::Now),
            end: None,
        }
    }

    /// From `start` to `end` on the scale of the unit; `None` if a time cannot be written so.
    pub fn between(unit: Unit, start: Option<u64>, end: Option<u64>) -> Option<Range> {
        let point = |ns: Option<u64>| match ns {
            None => Some(None),
            Some(ns) => Point::at(unit, ns).map(Some),
        };
        let range = Range {
            unit,
            start: point(start)?,
            end: point(end)?,
        };
        (range.start.is_some() || range.end.is_some()).then_some(range)
    }

    pub fn start_ns(&self) -> Option<u64> {
        self.start?.ns()
    }

    pub fn end_ns(&self) -> Option<u64> {
        self.end?.ns()
    }

    /// Live: it starts at the present.
    pub fn starts_now(&self) -> bool {
        self.start == Some(Point::Now)
    }

    /// Whether it has a beginning and a later end: the content can be seeked
    /// in. Servers of live content print `npt=0-0`.
    pub fn is_closed(&self) -> bool {
        self.duration().is_some()
    }

    /// Nanoseconds from start to end, if that is more than none.
    pub fn duration(&self) -> Option<u64> {
        self.end_ns()?
            .checked_sub(self.start_ns()?)
            .filter(|duration| *duration != 0)
    }

    /// Whether the end lies before the start, which makes sense with a negative
    /// Scale only.
    pub fn is_reversed(&self) -> bool {
        matches!((self.start_ns(), self.end_ns()), (Some(start), Some(end)) if end < start)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.unit {
            Unit::Npt => "npt=",
            Unit::Clock => "clock=",
            Unit::Smpte(SmpteType::Drop30) => "smpte=",
            Unit::Smpte(SmpteType::Fps25) => "smpte-25=",
        })?;
        if let Some(start) = self.start {
            start.fmt(f)?;
        }
        f.write_str("-")?;
        match self.end {
            Some(end) => end.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Point::Now => f.write_str("now"),
            Point::Npt(ns) => {
                write!(f, "{}", ns / NS_PER_SECOND)?;
                write_fraction(f, ns)
            }
            Point::Clock(ns) => {
                let seconds = ns / NS_PER_SECOND;
                let (year, month, day) = civil_from_days(seconds / 86400);
                let of_day = seconds % 86400;
                let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
                write!(
                    f,
                    "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}"
                )?;
                write_fraction(f, ns)?;
                f.write_str("Z")
            }
            Point::Smpte { code, .. } => {
                let TimeCode {
                    hours,
                    minutes,
                    seconds,
                    frames,
                    subframes,
                } = code;
                write!(f, "{hours:02}:{minutes:02}:{seconds:02}:{frames:02}")?;
                match subframes {
                    0 => Ok(()),
                    _ => write!(f, ".{subframes:02}"),
                }
            }
        }
    }
}

/// The fraction of a second without trailing zeros.
fn write_fraction(f: &mut fmt::Formatter<'_>, ns: u64) -> fmt::Result {
    match ns % NS_PER_SECOND {
        0 => Ok(()),
        fraction => write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0')),
    }
}

fn parse_unit(text: &str) -> Option<Unit> {
    Some(match text.to_ascii_lowercase().as_str() {
        "npt" => Unit::Npt,
        "clock" => Unit::Clock,
        "smpte" | "smpte-30-drop" => Unit::Smpte(SmpteType::Drop30),
        "smpte-25" => Unit::Smpte(SmpteType::Fps25),
        _ => return None,
    })
}

fn parse_point(unit: Unit, text: &str) -> Option<Point> {
    match unit {
        Unit::Npt if text.eq_ignore_ascii_case("now") => Some(Point::Now),
        Unit::Npt => parse_npt(text).map(Point::Npt),
        Unit::Clock => parse_clock(text).map(Point::Clock),
        Unit::Smpte(kind) => parse_smpte(kind, text),
    }
}

/// A number of digits only; FromStr would take a sign.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Digits after a decimal point as nanoseconds.
fn fraction_ns(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine = text.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(nine.fold(0, |ns: u64, digit| {
        ns.saturating_mul(10)
            .saturating_add(u64::from(digit.saturating_sub(b'0')))
    }))
}

fn to_ns(seconds: u64, fraction: u64) -> Option<u64> {
    seconds.checked_mul(NS_PER_SECOND)?.checked_add(fraction)
}

/// `seconds[.fraction]` or `hours:minutes:seconds[.fraction]` (RFC 2326 §3.6).
fn parse_npt(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = match whole.split_once(':') {
        None => digits(whole)?,
        Some((hours, rest)) => {
            let (minutes, seconds) = rest.split_once(':')?;
            let minutes = sexagesimal(minutes)?;
            let seconds = sexagesimal(seconds)?;
            digits::<u64>(hours)?
                .checked_mul(3600)?
                .checked_add(minutes.checked_mul(60)?)?
                .checked_add(seconds)?
        }
    };
    to_ns(seconds, fraction_ns(fraction)?)
}

/// One or two digits, at most 59.
fn sexagesimal(text: &str) -> Option<u64> {
    digits(text).filter(|value| *value <= 59 && text.len() <= 2)
}

/// `YYYYMMDDThhmmss[.fraction]Z` as nanoseconds since 1970; RFC 2326's own
/// examples leave out the seconds and the `Z`.
fn parse_clock(text: &str) -> Option<u64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (date, time) = text.split_once(['T', 't'])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    if date.len() != 8 || !matches!(time.len(), 4 | 6) {
        return None;
    }
    let year: u64 = digits(date.get(..4)?)?;
    let month: u64 = digits(date.get(4..6)?)?;
    let day: u64 = digits(date.get(6..)?)?;
    let hour: u64 = digits(time.get(..2)?)?;
    let minute: u64 = digits(time.get(2..4)?)?;
    let second: u64 = match time.get(4..)? {
        "" => 0,
        second => digits(second)?,
    };
    // Second 60 is a leap second.
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let seconds = days_from_civil(year, month, day)
        .checked_mul(86400)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?;
    to_ns(seconds, fraction_ns(fraction)?)
}

fn is_leap_year(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap_year(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar before 1 January of `year`, from year 1.
fn days_before_year(year: u64) -> u64 {
    let years = year.saturating_sub(1);
    years
        .saturating_mul(365)
        .saturating_add(years / 4)
        .saturating_sub(years / 100)
        .saturating_add(years / 400)
}

/// Days since 1970-01-01 of a date that is not before it.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    (1..month)
        .fold(days_before_year(year), |days, month| {
            days.saturating_add(days_in_month(year, month))
        })
        .saturating_sub(days_before_year(1970))
        .saturating_add(day.saturating_sub(1))
}

/// The date that lies that many days after 1970-01-01.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // A guess that is at most one year too high.
    let mut year = 1970_u64.saturating_add(days / 365);
    while year > 1970 && days_from_civil(year, 1, 1) > days {
        year = year.saturating_sub(1);
    }
    let mut month: u64 = 1;
    while month < 12 && days_from_civil(year, month.saturating_add(1), 1) <= days {
        month = month.saturating_add(1);
    }
    let day = days
        .saturating_sub(days_from_civil(year, month, 1))
        .saturating_add(1);
    (year, month, day)
}

/// `hh:mm:ss[:ff[.ss]]` (RFC 2326 §3.5).
fn parse_smpte(kind: SmpteType, text: &str) -> Option<Point> {
    let (whole, subframes) = text.split_once('.').unwrap_or((text, "0"));
    let mut fields = whole.split(':');
    let hours = digits(fields.next()?).filter(|hours| *hours <= 99)?;
    let minutes = digits(fields.next()?).filter(|minutes| *minutes <= 59)?;
    let seconds = digits(fields.next()?).filter(|seconds| *seconds <= 59)?;
    let frames = match fields.next() {
        Some(frames) => digits(frames)?,
        None => first_frame(kind, minutes, seconds),
    };
    let subframes = digits(subframes).filter(|subframes| *subframes <= 99)?;
    if fields.next().is_some() {
        return None;
    }
    let code = TimeCode {
        hours,
        minutes,
        seconds,
        frames,
        subframes,
    };
    Some(Point::Smpte {
        code,
        ns: smpte_ns(kind, code)?,
    })
}

/// The lowest frame number that exists in a second.
fn first_frame(kind: SmpteType, minutes: u8, seconds: u8) -> u8 {
    match kind {
        SmpteType::Drop30 if seconds == 0 && !minutes.is_multiple_of(10) => 2,
        _ => 0,
    }
}

/// The time of a time code; `None` for a frame number that does not exist.
fn smpte_ns(kind: SmpteType, code: TimeCode) -> Option<u64> {
    let minutes = u64::from(code.hours)
        .checked_mul(60)?
        .checked_add(code.minutes.into())?;
    let seconds = minutes.checked_mul(60)?.checked_add(code.seconds.into())?;
    let (rate, dropped, ns_num, ns_den) = match kind {
        SmpteType::Fps25 => (25, 0, 40_000_000, 1),
        SmpteType::Drop30 => {
            if code.frames < first_frame(kind, code.minutes, code.seconds) {
                return None;
            }
            let dropped = minutes.checked_sub(minutes / 10)?.checked_mul(2)?;
            (30, dropped, 1_001_000_000_000, 30_000)
        }
    };
    if u64::from(code.frames) >= rate {
        return None;
    }
    let index = seconds
        .checked_mul(rate)?
        .checked_add(code.frames.into())?
        .checked_sub(dropped)?;
    let hundredths = u128::from(index)
        .checked_mul(100)?
        .checked_add(code.subframes.into())?;
    let ns = hundredths.checked_mul(ns_num)?.checked_div(ns_den)? / 100;
    u64::try_from(ns).ok()
}

/// The time code of the frame that is shown at a time.
fn smpte_code(kind: SmpteType, ns: u64) -> Option<TimeCode> {
    let (rate, ns_num, ns_den) = match kind {
        SmpteType::Fps25 => (25, 40_000_000, 1),
        SmpteType::Drop30 => (30, 1_001_000_000, 30),
    };
    let frame = u128::from(ns).checked_mul(ns_den)?.checked_div(ns_num)?;
    let mut frame = u64::try_from(frame).ok()?;
    if kind == SmpteType::Drop30 {
        // Ten minutes have 17,982 frames: the first one 1,800, the others two less.
        let (tens, rest) = (frame / 17_982, frame % 17_982);
        let minutes = rest.saturating_sub(2) / 1_798;
        let left_out = tens.checked_mul(18)?.checked_add(minutes.checked_mul(2)?)?;
        frame = frame.checked_add(left_out)?;
    }
    let seconds = frame.checked_div(rate)?;
    Some(TimeCode {
        hours: u8::try_from(seconds / 3600)
            .ok()
            .filter(|hours| *hours <= 99)?,
        minutes: u8::try_from(seconds / 60 % 60).ok()?,
        seconds: u8::try_from(seconds % 60).ok()?,
        frames: u8::try_from(frame.checked_rem(rate)?).ok()?,
        subframes: 0,
    })
}

/// Nanoseconds since 1970 as an NTP timestamp, 32.32 bits, rounded down.
/// Wraps in 2036, as NTP does (RFC 3550 §4).
pub fn unix_to_ntp64(ns: u64) -> u64 {
    let seconds = (ns / NS_PER_SECOND).wrapping_add(NTP_UNIX_OFFSET);
    let fraction = ((ns % NS_PER_SECOND) << 32) / NS_PER_SECOND;
    (seconds << 32) | fraction
}

/// Scale or Speed: a decimal number other than 0, without exponent
/// (RFC 2326 §12.34, RFC 7826 §20.2.3).
pub fn parse_decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value != 0.0)
}

#[cfg(test)]
mod tests;
