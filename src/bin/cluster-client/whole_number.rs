//! Parses whole numbers and truth values of the command line. The error names the problem and the remedy; that of the standard library
//! ("invalid digit found in string") does not.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

/// Parses an option. clap adds the option and the value to the error. The library checks the bounds.
pub(crate) fn parse_option<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "it is too large".into(),
        _ => "it is no whole number: write digits only, such as 3".into(),
    })
}

/// Parses an option that has to be above zero.
pub(crate) fn parse_positive(text: &str) -> Result<u32, String> {
    match parse_option(text)? {
        0 => Err("choose 1 or more".into()),
        number => Ok(number),
    }
}

/// Parses the variable of an option without a value.
pub(crate) fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("it is neither true nor false: write one of them, or unset it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_within_the_bounds_of_their_type() {
        assert_eq!(parse_option(" 12 "), Ok(12_u32));
        assert_eq!(parse_option("0"), Ok(0_u16));
        for text in ["", "x", "-1", "1.5", "1e3", "0x1", "1 2"] {
            assert!(parse_option::<u32>(text).unwrap_err().contains("no whole number"), "{text}");
        }
        assert!(parse_option::<u16>("65536").unwrap_err().contains("too large"));
        assert_eq!(parse_positive("1"), Ok(1));
        assert!(parse_positive("0").unwrap_err().contains("1 or more"));
    }
}
