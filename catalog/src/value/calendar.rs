//! The proleptic Gregorian calendar around 2000-01-01.
//!
//! Days from and to dates by Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms"; agrees with PostgreSQL's
//! `date2j` and `j2date` (`datetime.c`) on all the days that PostgreSQL has.

/// Days from 0000-03-01 to 2000-01-01.
const EPOCH_OFFSET: i64 = 730_425;
const DAYS_PER_ERA: i64 = 146_097;

/// Days since 2000-01-01. `year` counts astronomically: 0 is 1 BC.
pub fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_OFFSET
}

/// Year, month and day of a day number.
pub fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_OFFSET;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_lead_back() {
        assert_eq!(days_from_date(2000, 1, 1), 0);
        assert_eq!(days_from_date(1970, 1, 1), -10_957);
        assert_eq!(days_from_date(-4713, 11, 24), -2_451_545);
        for days in (-2_451_545..2_145_031_949_i64).step_by(9_973) {
            let (year, month, day) = date_from_days(days);
            assert!((1..=days_in_month(year, month)).contains(&day));
            assert_eq!(days_from_date(year, month, day), days);
        }
    }
}
