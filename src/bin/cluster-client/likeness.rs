//! Finds the known word that was probably meant by a mistyped one.

/// Returns the known word that is most like a mistyped one, if one is: fewest edits, where two letters in the wrong order
/// are one, then the most equal length.
pub(crate) fn alike<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE: f64 = 0.8;
    let edits = |known: &str| strsim::osa_distance(typed, known);
    let is_like = |known: &&str| strsim::jaro_winkler(typed, known) > LIKE || (edits(known) == 1 && typed.len() > 2);
    known.filter(is_like).min_by_key(|known| (edits(known), known.len().abs_diff(typed.len())))
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
        assert_eq!(alike("hosst", ["host", "hosts"].into_iter()), Some("hosts"));
        assert_eq!(alike("yse", ["to", "yes"].into_iter()), Some("yes"));
        assert_eq!(alike("x", ["o", "f"].into_iter()), None);
    }
}
