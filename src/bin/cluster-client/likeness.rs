//! Finds the known word that was probably meant by a mistyped one.

/// Returns the known word that is most like a mistyped one, if one is.
pub(crate) fn alike<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.8;
    let rated = known.map(|known| (strsim::jaro_winkler(typed, known), known));
    rated.filter(|(rate, _)| *rate > LIKE).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_word_is_found_and_a_different_one_is_not() {
        let known = ["attempts", "timeout", "hosts"];
        assert_eq!(alike("attempt", known.into_iter()), Some("attempts"));
        assert_eq!(alike("time_out", known.into_iter()), Some("timeout"));
        assert_eq!(alike("colour", known.into_iter()), None);
    }
}
