//! Dates as `InRelease` writes them.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 of `Sat, 21 Nov 2026 09:15:44 UTC`; no other zone than UTC under its names.
pub(super) fn parse(text: &str) -> Option<i64> {
    let mut words = text.split_ascii_whitespace().skip_while(|word| word.ends_with(','));
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()?.checked_add(1)?;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let fits = hour < 24 && minute < 60 && second <= 60 && hour >= 0 && minute >= 0 && second >= 0;
    let utc = matches!(words.next()?, "UTC" | "GMT" | "Z" | "+0000");
    if !fits || !utc || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    seconds(year, month, day, hour, minute, second)
}

/// The year is counted from March, so that a leap day ends it.
fn seconds(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<i64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month_from_march = month.checked_add(9)? % 12;
    let day_of_year =
        (153i64.checked_mul(month_from_march)?.checked_add(2)? / 5).checked_add(day)?.checked_sub(1)?;
    let leap_days =
        year.div_euclid(4).checked_sub(year.div_euclid(100))?.checked_add(year.div_euclid(400))?;
    let days =
        year.checked_mul(365)?.checked_add(leap_days)?.checked_add(day_of_year)?.checked_sub(719_468)?;
    let of_day = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    days.checked_mul(86_400)?.checked_add(of_day)
}

/// `2026-11-21 09:15:44 UTC`, for messages.
pub(super) fn show(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    // Counted from 0000-03-01, in cycles of 400 years.
    let days = days.saturating_add(719_468);
    let (cycle, of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let corrected = of_cycle
        .saturating_sub(of_cycle / 1460)
        .saturating_add(of_cycle / 36_524)
        .saturating_sub(of_cycle / 146_096);
    let year_of_cycle = corrected / 365;
    let before = year_of_cycle
        .saturating_mul(365)
        .saturating_add(year_of_cycle / 4)
        .saturating_sub(year_of_cycle / 100);
    let day_of_year = of_cycle.saturating_sub(before);
    let month_from_march = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let day = day_of_year
        .saturating_sub(month_from_march.saturating_mul(153).saturating_add(2) / 5)
        .saturating_add(1);
    let month = month_from_march.saturating_add(2) % 12;
    let month = month.saturating_add(1);
    let year = cycle.saturating_mul(400).saturating_add(year_of_cycle).saturating_add(i64::from(month <= 2));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn dates_are_what_date_says() {
        // `date -u -d … +%s`
        for (text, seconds, shown) in [
            ("Sat, 21 Nov 2026 09:15:44 UTC", 1_795_252_544, "2026-11-21 09:15:44 UTC"),
            ("Tue, 29 Feb 2000 12:34:56 +0000", 951_827_696, "2000-02-29 12:34:56 UTC"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0, "1970-01-01 00:00:00 UTC"),
            ("Mon, 01 Mar 2100 00:00:00 UTC", 4_107_542_400, "2100-03-01 00:00:00 UTC"),
            ("Sun, 31 Dec 2028 23:59:59 UTC", 1_861_919_999, "2028-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
            assert_eq!(show(seconds), shown);
        }
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "Sat, 21 Nov 2026",
            "Sat, 21 Nov 2026 09:15:44",
            "Sat, 21 Nov 2026 09:15:44 CET",
            "Sat, 21 Nov 2026 09:15:44 +0100",
            "Sat, 32 Nov 2026 09:15:44 UTC",
            "Sat, 21 nov 2026 09:15:44 UTC",
            "Sat, 21 Nov 2026 24:15:44 UTC",
            "Sat, 21 Nov 99999 09:15:44 UTC",
            "Sat, 21 Nov 2026 09:15:44 UTC x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
