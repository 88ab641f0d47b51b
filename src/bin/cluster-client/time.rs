//! Times as typed and printed: `500ms`, `10s`, `2m`, `1h`.

use std::time::Duration;

/// The problem of an invalid time, and the remedy.
pub(crate) type TimeRefusal = (&'static str, &'static str);

const REMEDY: &str = "write a number and a unit, such as 500ms, 10s, 2m or 1h";

/// Reads a whole or decimal number with a unit. The library checks the bounds.
pub(crate) fn parse(text: &str) -> Result<Duration, TimeRefusal> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(("is negative", REMEDY));
    }
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text[..text.len() - unit.len()].parse::<f64>().map_err(|_| ("is no time", REMEDY))?;
    let seconds = match unit.trim_start() {
        "ms" => number / 1_000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        "" => return Err(("has no unit", REMEDY)),
        _ => return Err(("has a unit that is not one of ms, s, m, h", REMEDY)),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| ("is too long", REMEDY))
}

/// Parses an option. clap adds the option and the value to the error.
pub(crate) fn parse_option(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|(problem, remedy)| format!("it {problem}: {remedy}"))
}

/// Returns the time in the form that [`parse`] reads, in the largest unit that gives a whole number.
pub(crate) fn show(time: Duration) -> String {
    let ms = time.as_millis();
    let rest = time.subsec_nanos() % 1_000_000;
    match ms {
        _ if rest > 0 => format!("{ms}.{rest:06}").trim_end_matches('0').to_owned() + "ms",
        0 => "0s".into(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// Returns a measured time: `41 ms`, `3.2 s`.
pub(crate) fn measured(time: Duration) -> String {
    match time.as_millis() {
        0 => "<1 ms".into(),
        ms @ 1..1000 => format!("{ms} ms"),
        _ => seconds(time),
    }
}

/// Returns a measured time in seconds: `0.1 s`.
pub(crate) fn seconds(time: Duration) -> String {
    if time < Duration::from_millis(50) {
        return "<0.1 s".into();
    }
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_a_number_and_a_unit() {
        let read = |text| parse(text).unwrap();
        assert_eq!(read("500ms"), Duration::from_millis(500));
        assert_eq!(read("10s"), Duration::from_secs(10));
        assert_eq!(read("1.5 m"), Duration::from_secs(90));
        assert_eq!(read("1h"), Duration::from_secs(3600));
    }

    #[test]
    fn parse_refuses_an_invalid_time_with_its_problem() {
        let problem = |text| parse(text).unwrap_err().0;
        assert_eq!(problem("-1s"), "is negative");
        assert_eq!(problem("10"), "has no unit");
        assert_eq!(problem("3 fortnights"), "has a unit that is not one of ms, s, m, h");
        assert_eq!(problem("10sec"), "has a unit that is not one of ms, s, m, h");
        assert_eq!(problem("99999999999999999999999h"), "is too long");
        for none in ["", "s", ".", "1..5s", "NaNs", "infs", "1e3s", "ten s", "\u{0663}s"] {
            assert!(parse(none).is_err(), "{none}");
        }
    }

    #[test]
    fn show_returns_the_typed_form() {
        for text in ["1ms", "0.25ms", "1.5ms", "1500ms", "10s", "90s", "2m", "1h", "0s"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn measured_times_read_like_measurements() {
        assert_eq!(measured(Duration::from_micros(300)), "<1 ms");
        assert_eq!(measured(Duration::from_millis(41)), "41 ms");
        assert_eq!(measured(Duration::from_millis(3_210)), "3.2 s");
        assert_eq!(seconds(Duration::from_millis(98)), "0.1 s");
    }
}
