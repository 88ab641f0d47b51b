//! A time in an error, as a person types it: `0s`, `1500ms`, `25h`. Rust's own text of these is `0ns`, `1.5s`, `90000s`.

use std::time::Duration;

/// Returns the time in the largest unit that gives a whole number.
pub(crate) fn in_units(time: Duration) -> String {
    let ms = time.as_millis();
    let is_whole = time.subsec_nanos().is_multiple_of(1_000_000);
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    match units.into_iter().find(|(unit, _)| ms.is_multiple_of(*unit)) {
        _ if time.is_zero() => "0s".into(),
        Some((unit, name)) if is_whole => format!("{}{name}", ms / unit),
        _ => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_that_a_person_types() {
        for (ms, text) in [(0, "0s"), (1, "1ms"), (1_500, "1500ms"), (90_000, "90s"), (7_200_000, "2h")] {
            assert_eq!(in_units(Duration::from_millis(ms)), text);
        }
        assert_eq!(in_units(Duration::from_secs(25 * 3600)), "25h");
        assert_eq!(in_units(Duration::from_micros(1)), "1µs");
    }
}
