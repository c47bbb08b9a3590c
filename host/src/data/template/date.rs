//! `strftime` in English, for `strftime_now` in chat templates.

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The moment `unix_seconds` in Python's `strftime` notation. Fails on a directive that it does not know.
pub fn strftime(format: &str, unix_seconds: i64) -> Result<String, String> {
    let (days, seconds) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let hour12 = (hour + 11) % 12 + 1;
    let weekday = (days + 4).rem_euclid(7);
    let day_name = DAYS[weekday as usize];
    let month_name = MONTHS[month as usize - 1];
    let day_of_year = days - days_before(year, 1, 1) + 1;
    let week = |first: i64| (day_of_year + 6 - (weekday - first).rem_euclid(7)) / 7;
    let (iso_year, iso_week) = iso_week(year, day_of_year, weekday);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        // Of several flags the last one counts.
        let mut flag = None;
        while let Some(f @ ('-' | '_' | '0' | '^' | '#')) = directive {
            flag = Some(f);
            directive = chars.next();
        }
        let padded = |value: i64, width: usize, fill: char| match flag.unwrap_or(fill) {
            '-' => value.to_string(),
            '_' => format!("{value:width$}"),
            _ => format!("{value:0width$}"),
        };
        let number = |value: i64, width: usize| padded(value, width, '0');
        let half = if hour < 12 { "AM" } else { "PM" };
        let clock = || format!("{hour:02}:{minute:02}:{second:02}");
        let short_date = || format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100));
        let text = match directive {
            Some('Y') => year.to_string(),
            Some('C') => number(year.div_euclid(100), 2),
            Some('y') => number(year.rem_euclid(100), 2),
            Some('G') => iso_year.to_string(),
            Some('g') => number(iso_year.rem_euclid(100), 2),
            Some('m') => number(month, 2),
            Some('d') => number(day, 2),
            Some('e') => padded(day, 2, '_'),
            Some('j') => number(day_of_year, 3),
            Some('U') => number(week(0), 2),
            Some('W') => number(week(1), 2),
            Some('V') => number(iso_week, 2),
            Some('u') => number((weekday + 6) % 7 + 1, 1),
            Some('w') => number(weekday, 1),
            Some('H') => number(hour, 2),
            Some('k') => padded(hour, 2, '_'),
            Some('I') => number(hour12, 2),
            Some('l') => padded(hour12, 2, '_'),
            Some('M') => number(minute, 2),
            Some('S') => number(second, 2),
            Some('f') => "000000".into(),
            Some('s') => unix_seconds.to_string(),
            Some('p') if flag == Some('#') => half.to_lowercase(),
            Some('p') => half.into(),
            Some('P') => half.to_lowercase(),
            Some('A') => day_name.into(),
            Some('a') => day_name[..3].into(),
            Some('B') => month_name.into(),
            Some('b' | 'h') => month_name[..3].into(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('D' | 'x') => short_date(),
            Some('R') => format!("{hour:02}:{minute:02}"),
            Some('T' | 'X') => clock(),
            Some('r') => format!("{hour12:02}:{minute:02}:{second:02} {half}"),
            Some('c') => format!("{} {} {day:2} {} {year}", &day_name[..3], &month_name[..3], clock()),
            // Python's clock knows no zone where none is given.
            Some('Z' | 'z') => String::new(),
            Some('n') => "\n".into(),
            Some('t') => "\t".into(),
            Some('%') => "%".into(),
            Some(other) => return Err(format!("strftime_now does not know '%{other}'")),
            None => "%".into(),
        };
        let letters = matches!(directive, Some('A' | 'a' | 'B' | 'b' | 'h'));
        match flag {
            Some('^') => out.push_str(&text.to_uppercase()),
            Some('#') if letters => out.push_str(&text.to_uppercase()),
            _ => out.push_str(&text),
        }
    }
    Ok(out)
}

/// The moment at which a day written as `2024-07-26` begins.
pub fn parse(text: &str) -> Option<i64> {
    let parts: Vec<&str> = text.split('-').collect();
    let [y, m, d] = parts.as_slice() else { return None };
    if y.len() != 4 || m.len() != 2 || d.len() != 2 || !text.bytes().all(|b| b == b'-' || b.is_ascii_digit()) {
        return None;
    }
    let (year, month, day) = (y.parse().ok()?, m.parse().ok()?, d.parse().ok()?);
    let days = (1..=12).contains(&month).then(|| days_before(year, month, day))?;
    (civil(days) == (year, month, day)).then_some(days * 86_400)
}

/// The year and number of the week, by ISO 8601, that a day lies in.
fn iso_week(year: i64, day_of_year: i64, weekday: i64) -> (i64, i64) {
    let weeks = |year: i64| {
        // A year has 53 weeks if it starts on a Thursday, or on a Wednesday and is a leap year.
        let first = (days_before(year, 1, 1) + 4).rem_euclid(7);
        let leap = days_before(year + 1, 1, 1) - days_before(year, 1, 1) == 366;
        if first == 4 || first == 3 && leap { 53 } else { 52 }
    };
    match (day_of_year - (weekday + 6) % 7 + 9) / 7 {
        0 => (year - 1, weeks(year - 1)),
        week if week > weeks(year) => (year + 1, 1),
        week => (year, week),
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian; Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date (`days_from_civil`).
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are Python's `datetime.fromtimestamp(t, timezone.utc).strftime(format)`.
    #[test]
    fn dates_are_those_of_python() {
        for (seconds, format, expected) in [
            (1_721_952_000, "%d %b %Y", "26 Jul 2024"),
            (1_721_952_000, "%A, %B %-d, %Y (%j)", "Friday, July 26, 2024 (208)"),
            (0, "%Y-%m-%d %H:%M:%S %a %p %I", "1970-01-01 00:00:00 Thu AM 12"),
            (951_827_696, "%F %T %y", "2000-02-29 12:34:56 00"),
            (951_827_696, "%I %p %e%%", "12 PM 29%"),
            (-1, "%F %T", "1969-12-31 23:59:59"),
            (
                1_721_952_000,
                "%x|%X|%c|%U|%W|%w|%u|%G|%V|%D|%R|%C|%g",
                "07/26/24|00:00:00|Fri Jul 26 00:00:00 2024|29|30|5|5|2024|30|07/26/24|00:00|20|24",
            ),
            (1_721_952_000, "%l|%k|%P|%r|%_d|%^a|%#b|%-H|100%", "12| 0|am|12:00:00 AM|26|FRI|JUL|0|100%"),
            (1_104_537_600, "%G-%V %U %W", "2004-53 00 00"),
            (1_230_681_600, "%G-%V %j", "2009-01 366"),
        ] {
            assert_eq!(strftime(format, seconds).unwrap(), expected);
        }
        assert!(strftime("%Q", 0).unwrap_err().contains("%Q"));
    }

    #[test]
    fn a_day_is_read_as_it_is_written() {
        for (text, expected) in [
            ("2024-07-26", Some(1_721_952_000)),
            ("1970-01-01", Some(0)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2023-02-29", None),
            ("2024-13-01", None),
            ("2024-7-26", None),
            ("24-07-2026", None),
            ("today", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
