//! The characters and the length of the ids that a mapping allows.

use crate::values::config::ConfigError;
use crate::values::group::GroupId;

/// The ids that a mapping allows. An id outside could mean more than itself, such as `*` for every index of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdRule {
    /// The class as it was written, such as `A-Za-z0-9._-`.
    chars: String,
    ranges: Vec<(char, char)>,
    /// Maximum length in bytes.
    max: usize,
}

/// Number of random characters of a drawn id. 36 to the power of 12 ids make it unlikely that one is taken.
const RANDOM: usize = 12;
const CHARS: &str = "ids.chars";
const MAX: &str = "ids.max";
const EXAMPLE: &str = "write ranges and single characters, such as A-Za-z0-9._-";

impl IdRule {
    pub(super) fn parse(chars: &str, max: usize) -> Result<Self, ConfigError> {
        let refused = |problem: &str, remedy: &str| Err(ConfigError::new(CHARS, chars, problem, remedy));
        if chars.is_empty() {
            return refused("is empty", EXAMPLE);
        }
        if chars.chars().any(char::is_control) {
            return refused("has a control character, which no id has", "remove it");
        }
        if chars.starts_with('[') && chars.ends_with(']') {
            return refused("is in brackets", "remove them: only the content of the class is written");
        }
        if chars.starts_with('^') && chars.chars().nth(1).is_some() {
            return refused(
                "begins with ^, which does not negate",
                "list the allowed characters, and put a ^ that is allowed later",
            );
        }
        if chars.trim_end_matches('\\').contains('\\') || chars.ends_with(r"\\") {
            return refused("has a backslash, and there are no escapes", "put a \\ that is allowed last, once");
        }
        if !(1..=GroupId::MAX_BYTES).contains(&max) {
            let remedy = format!("choose 1 to {} bytes", GroupId::MAX_BYTES);
            return Err(ConfigError::new(MAX, max.to_string(), "is out of bounds", remedy));
        }
        Ok(IdRule { chars: chars.into(), ranges: ranges(chars)?, max })
    }

    /// Whether an id may contain the character.
    pub(super) fn allows(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
    }

    /// Checks an id of a thing of this noun.
    pub(super) fn check(&self, noun: &str, group: &GroupId) -> Result<(), ConfigError> {
        let id = group.as_str();
        let refused = |problem: String, remedy: String| Err(ConfigError::new(noun.to_owned(), id, problem, remedy));
        if let Some(c) = id.chars().find(|c| !self.allows(*c)) {
            let problem = format!("has the character {c:?}, which this API does not allow in an id");
            return refused(problem, format!("use characters of {} only", self.chars));
        }
        if id.len() > self.max {
            let problem = format!("has {} bytes, more than the {} that this API allows", id.len(), self.max);
            return refused(problem, "use a shorter id".into());
        }
        Ok(())
    }

    /// Draws an id of letters and digits. It begins with as much of `prefix` as the rule allows as a whole, or not with
    /// it. Returns `None` if the rule allows neither letters nor digits.
    pub(super) fn random(&self, prefix: &str, random: &mut fastrand::Rng) -> Option<String> {
        let room = self.max.min(RANDOM + prefix.len());
        let fits = prefix.len() + RANDOM / 2 <= room && prefix.chars().all(|c| self.allows(c));
        let prefix = if fits { prefix } else { "" };
        let kinds = [('a'..='z'), ('0'..='9'), ('A'..='Z')];
        let mut allowed: Vec<char> = kinds.iter().take(2).cloned().flatten().filter(|c| self.allows(*c)).collect();
        if allowed.is_empty() {
            allowed = kinds.into_iter().flatten().filter(|c| self.allows(*c)).collect();
        }
        let mut id = prefix.to_owned();
        while id.len() < room.min(prefix.len() + RANDOM) {
            // Many services want a letter first.
            let letters = allowed.iter().filter(|c| c.is_alphabetic()).count();
            let first = if id.is_empty() && letters > 0 { letters } else { allowed.len() };
            id.push(*allowed.get(random.usize(..first.max(1)))?);
        }
        Some(id)
    }

    /// The class as it was written, and the maximum length in bytes.
    pub(super) fn parts(&self) -> (&str, usize) {
        (&self.chars, self.max)
    }
}

/// Parses a class. A dash is a range between two characters, and itself at either end.
fn ranges(chars: &str) -> Result<Vec<(char, char)>, ConfigError> {
    let letters: Vec<char> = chars.chars().collect();
    let mut ranges = Vec::new();
    let mut rest = &letters[..];
    while let [first, tail @ ..] = rest {
        let ['-', last, tail @ ..] = tail else {
            ranges.push((*first, *first));
            rest = tail;
            continue;
        };
        if first > last {
            let problem = format!("has the range {first}-{last}, which is backwards");
            return Err(ConfigError::new(CHARS, chars, problem, format!("write {last}-{first}")));
        }
        // In `a-c-e` the second dash could mean a range or itself.
        if let ['-', _, ..] = tail {
            let problem = format!("has a dash after the range {first}-{last}");
            return Err(ConfigError::new(CHARS, chars, problem, "put a dash that is allowed last"));
        }
        ranges.push((*first, *last));
        rest = tail;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_id_is_within_the_rule() {
        let mut random = fastrand::Rng::with_seed(7);
        for (chars, max, begins) in [
            ("a-z0-9-", 63, "probe-"),
            ("a-z0-9-", 12, "probe-"),
            ("a-z0-9-", 11, ""),
            ("A-Za-z0-9._", 64, ""),
            ("A-Z", 8, ""),
            ("0-9", 4, ""),
            ("a", 1, "a"),
        ] {
            let rule = IdRule::parse(chars, max).unwrap();
            for _ in 0..100 {
                let id = rule.random("probe-", &mut random).unwrap();
                assert!(id.starts_with(begins) && id.len() <= max, "{chars} {max}: {id}");
                rule.check("group", &GroupId::parse(&id).unwrap()).unwrap_or_else(|refused| panic!("{refused}"));
                assert!(!chars.contains("a-z") || id.starts_with(char::is_alphabetic), "{id}");
            }
        }
        assert_eq!(IdRule::parse("*_.", 9).unwrap().random("probe-", &mut random), None);
    }

    #[test]
    fn class_allows_its_ranges_and_single_characters() {
        for (chars, inside, outside) in [
            ("A-Za-z0-9._-", "Az09._-", "*/ \"ü\\,["),
            ("-a", "-a", "b"),
            ("a-", "a-", "b"),
            ("a^", "a^", "b"),
            ("+-/", "+,-./", "*0"),
            ("ä-ü", "äéöü", "a\u{fd}"),
            ("a\\", "a\\", "w"),
            ("^", "^", "a"),
        ] {
            let rule = IdRule::parse(chars, 8).unwrap();
            for c in inside.chars() {
                assert!(rule.allows(c), "{chars} {c}");
            }
            for c in outside.chars() {
                assert!(!rule.allows(c), "{chars} {c}");
            }
        }
    }

    #[test]
    fn malformed_rules_are_refused_with_the_reason() {
        for (chars, max, reason) in [
            ("", 8, "is empty"),
            ("[a-z]", 8, "in brackets"),
            ("^a-z", 8, "does not negate"),
            (r"\w", 8, "no escapes"),
            (r"a-z\\", 8, "no escapes"),
            ("z-a", 8, "backwards"),
            ("a-c-e", 8, "dash after the range"),
            ("a\n", 8, "control character"),
            ("a-z", 0, "1 to 255"),
            ("a-z", 256, "1 to 255"),
        ] {
            let message = IdRule::parse(chars, max).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("ids."), "{chars}: {message}");
        }
    }

    #[test]
    fn id_outside_is_refused_with_the_character() {
        let rule = IdRule::parse("A-Za-z0-9._-", 8).unwrap();
        for (id, reason) in
            [("a*", "'*'"), ("_all\"", "'\"'"), ("größe", "'ö'"), ("a/b", "'/'"), ("123456789", "9 bytes")]
        {
            let message = rule.check("group", &GroupId::parse(id).unwrap()).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
        assert!(rule.check("group", &GroupId::parse("a.b-C_9").unwrap()).is_ok());
    }
}
