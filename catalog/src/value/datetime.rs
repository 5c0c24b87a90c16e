//! Dates and timestamps as text: the ISO forms, which mean the same under every DateStyle, and nothing else.
//!
//! Facts from `datetime.c`, `date.c`, `timestamp.c` and `src/include/datatype/timestamp.h`. Every other form
//! (`now`, month names, `01/02/2003`, zone names, a timestamptz without offset) is `Ambiguous`.

use super::ValueError;
use super::calendar::{date_from_days, days_from_date, days_in_month};

pub const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// 4714-11-24 BC, the first day; and the day after 5874897-12-31.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
/// 4714-11-24 00:00 BC, and the end of the year 294276.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

pub fn is_date(days: i32) -> bool {
    DATES.contains(&days) || days == i32::MIN || days == i32::MAX
}

pub fn is_timestamp(microseconds: i64) -> bool {
    TIMESTAMPS.contains(&microseconds) || microseconds == i64::MIN || microseconds == i64::MAX
}

/// Days since 2000-01-01. A time of day is dropped, as the server drops it.
pub fn parse_date(text: &str) -> Result<i32, ValueError> {
    if let Some(positive) = infinity(text) {
        return Ok(if positive { i32::MAX } else { i32::MIN });
    }
    let days = Moment::parse(text)?.days;
    match i32::try_from(days) {
        Ok(days) if DATES.contains(&days) => Ok(days),
        _ => Err(ValueError::OutOfRange),
    }
}

/// Microseconds since 2000-01-01 00:00. Without a zone an offset is dropped, as the server drops it; with a zone
/// it is required, or the value depends on the session's TimeZone.
pub fn parse_timestamp(text: &str, with_zone: bool) -> Result<i64, ValueError> {
    if let Some(positive) = infinity(text) {
        return Ok(if positive { i64::MAX } else { i64::MIN });
    }
    let moment = Moment::parse(text)?;
    let offset_seconds = match moment.offset_seconds {
        _ if !with_zone => 0,
        Some(offset) => offset,
        None => return Err(ValueError::Ambiguous),
    };
    let microseconds = i128::from(moment.days) * i128::from(MICROSECONDS_PER_DAY)
        + i128::from(moment.microseconds)
        - i128::from(offset_seconds) * 1_000_000;
    match i64::try_from(microseconds) {
        Ok(microseconds) if TIMESTAMPS.contains(&microseconds) => Ok(microseconds),
        _ => Err(ValueError::OutOfRange),
    }
}

pub fn date_text(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        days => {
            let (date, era) = date_and_era(days.into());
            date + era
        }
    }
}

pub fn timestamp_text(microseconds: i64, with_zone: bool) -> String {
    match microseconds {
        i64::MIN => "-infinity".to_owned(),
        i64::MAX => "infinity".to_owned(),
        microseconds => {
            let (date, era) = date_and_era(microseconds.div_euclid(MICROSECONDS_PER_DAY));
            let time = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
            let seconds = time / 1_000_000;
            let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            let fraction = match time % 1_000_000 {
                0 => String::new(),
                fraction => format!(".{fraction:06}"),
            };
            let zone = if with_zone { "+00" } else { "" };
            format!("{date} {hour:02}:{minute:02}:{second:02}{fraction}{zone}{era}")
        }
    }
}

fn date_and_era(days: i64) -> (String, &'static str) {
    let (year, month, day) = date_from_days(days);
    let (year, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn infinity(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("infinity") {
        Some(true)
    } else if text.eq_ignore_ascii_case("-infinity") {
        Some(false)
    } else {
        None
    }
}

/// A date with an optional time of day and offset from UTC.
struct Moment {
    days: i64,
    microseconds: i64,
    offset_seconds: Option<i64>,
}

impl Moment {
    /// `YYYY-MM-DD[( |T)HH:MM[:SS[.ffffff]][[ ]Z|±HH[[:]MM[:SS]]]][ BC]`, with 4 to 7 digits of year.
    fn parse(text: &str) -> Result<Moment, ValueError> {
        // The server refuses to read very long input; no ISO form needs more.
        if text.len() > 60 {
            return Err(ValueError::Ambiguous);
        }
        let (text, before_christ) = match text
            .len()
            .checked_sub(3)
            .and_then(|at| text.split_at_checked(at))
        {
            Some((rest, era)) if era.eq_ignore_ascii_case(" BC") => (rest, true),
            _ => (text, false),
        };
        let mut scan = Scan(text.as_bytes());
        let (year, month, day) = scan.date().ok_or(ValueError::Ambiguous)?;
        let clock = match scan.0 {
            [] => None,
            _ => Some(scan.clock().ok_or(ValueError::Ambiguous)?),
        };
        let offset = scan.offset().ok_or(ValueError::Ambiguous)?;
        if !scan.0.is_empty() || (offset.is_some() && clock.is_none()) {
            return Err(ValueError::Ambiguous);
        }
        let year = match (year, before_christ) {
            (0, _) => return Err(ValueError::Invalid),
            (year, true) => 1 - year,
            (year, false) => year,
        };
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return Err(ValueError::Invalid);
        }
        let offset_seconds = match offset {
            Some(offset) => Some(offset.seconds()?),
            None => None,
        };
        Ok(Moment {
            days: days_from_date(year, month, day),
            microseconds: clock.map_or(Ok(0), |clock| clock.microseconds())?,
            offset_seconds,
        })
    }
}

struct Clock {
    hour: i64,
    minute: i64,
    second: i64,
    microsecond: i64,
}

impl Clock {
    fn microseconds(&self) -> Result<i64, ValueError> {
        let Clock {
            hour,
            minute,
            second,
            microsecond,
        } = *self;
        if hour > 24 || minute > 59 || second > 60 {
            return Err(ValueError::Invalid);
        }
        // Allowed as the end of a day or a leap second, with rules of their own.
        if hour == 24 || second == 60 {
            return Err(ValueError::Ambiguous);
        }
        Ok(((hour * 60 + minute) * 60 + second) * 1_000_000 + microsecond)
    }
}

struct Offset {
    negative: bool,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Offset {
    fn seconds(&self) -> Result<i64, ValueError> {
        if self.hour > 15 || self.minute > 59 || self.second > 59 {
            return Err(ValueError::Invalid);
        }
        let seconds = (self.hour * 60 + self.minute) * 60 + self.second;
        Ok(if self.negative { -seconds } else { seconds })
    }
}

/// The rest of the text. Each method takes one element from the front; `None` means not in a form known here.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn date(&mut self) -> Option<(i64, i64, i64)> {
        let year = self.number(4, 7)?;
        self.byte(b'-')?;
        let month = self.number(1, 2)?;
        self.byte(b'-')?;
        let day = self.number(1, 2)?;
        Some((year, month, day))
    }

    fn clock(&mut self) -> Option<Clock> {
        self.byte(b' ').or_else(|| self.byte(b'T'))?;
        let hour = self.number(2, 2)?;
        self.byte(b':')?;
        let minute = self.number(2, 2)?;
        let (mut second, mut microsecond) = (0, 0);
        if self.byte(b':').is_some() {
            second = self.number(2, 2)?;
            if self.byte(b'.').is_some() {
                let before = self.0.len();
                let digits = self.number(1, 6)?;
                microsecond = digits * 10_i64.pow(6 - (before - self.0.len()) as u32);
            }
        }
        Some(Clock {
            hour,
            minute,
            second,
            microsecond,
        })
    }

    /// `Some(None)` where there is none.
    fn offset(&mut self) -> Option<Option<Offset>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let blank = self.byte(b' ').is_some();
        if !blank && self.byte(b'Z').is_some() {
            return Some(Some(Offset {
                negative: false,
                hour: 0,
                minute: 0,
                second: 0,
            }));
        }
        let negative = self.byte(b'-').is_some();
        if !negative {
            self.byte(b'+')?;
        }
        let hour = self.number(2, 2)?;
        let (mut minute, mut second) = (0, 0);
        if self.byte(b':').is_some() {
            minute = self.number(2, 2)?;
            if self.byte(b':').is_some() {
                second = self.number(2, 2)?;
            }
        } else if !self.0.is_empty() {
            minute = self.number(2, 2)?;
        }
        Some(Some(Offset {
            negative,
            hour,
            minute,
            second,
        }))
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == wanted).then(|| self.0 = rest)
    }

    /// As many digits as there are, which must be between `at_least` and `at_most`.
    fn number(&mut self, at_least: usize, at_most: usize) -> Option<i64> {
        let length = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(at_least..=at_most).contains(&length) {
            return None;
        }
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(
            digits
                .iter()
                .fold(0, |so_far, digit| so_far * 10 + i64::from(digit - b'0')),
        )
    }
}
