//! Texts with a password in them that no parser takes: host lists, single values and configuration files. Random tests
//! and the fuzz target `secrets` draw from here, each with its own source of numbers.

#![allow(dead_code, reason = "several crates use a part of this")]

/// Draws a number below its argument.
pub(crate) type Pick<'a> = &'a mut dyn FnMut(usize) -> usize;

/// A text, and the parts of its password that nothing may show.
#[derive(Debug, Clone)]
pub(crate) struct Malformed {
    pub(crate) text: String,
    pub(crate) parts: Vec<String>,
}

impl Malformed {
    /// Fails where `shown` has a part of the password, in any case of its letters.
    #[track_caller]
    pub(crate) fn assert_hidden(&self, shown: &str) {
        let shown_in_capitals = shown.to_uppercase();
        for part in &self.parts {
            assert!(!shown_in_capitals.contains(part), "{part} of {:?} is shown: {shown}", self.text);
        }
    }

    /// Fails where an error shows a part of the password: as text, in its debug form or by one of its causes.
    #[track_caller]
    pub(crate) fn assert_hidden_by(&self, error: &dyn std::error::Error) {
        self.assert_hidden(&format!("{error:?} {error:#?}"));
        let mut next = Some(error);
        while let Some(error) = next {
            self.assert_hidden(&error.to_string());
            next = error.source();
        }
    }
}

/// Pieces that make a password hard to find in a text. No piece has a capital Q, because the words begin with one.
const PIECES: [&str; 48] = [
    ",",
    "/",
    "#",
    "?",
    ":",
    "@",
    " ",
    "\n",
    "\"",
    "'",
    "\\",
    "`",
    "=",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "&",
    ";",
    "$",
    "|",
    "<",
    ">",
    "%",
    "%2F",
    "%40",
    "%2540",
    "://",
    "//",
    ",http://",
    "http://",
    "https://node1,",
    ":80,",
    "***",
    "***@",
    "...",
    "\t",
    "\r",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{ff20}",
    "ß",
    "\\u0040",
    "80",
    "12345",
    ",,",
];

const SCHEMES: [&str; 16] = [
    "http://",
    "https://",
    "HTTP://",
    "",
    "http:/",
    "https//",
    "http:",
    "//",
    "ftp://",
    "http:///",
    "http//:",
    ":",
    " http://",
    "http://http://",
    "user://",
    "http%3A//",
];

fn pick_of<'a>(pick: Pick<'_>, of: &[&'a str]) -> &'a str {
    of[pick(of.len())]
}

/// A part of a password that is found nowhere else.
fn word(pick: Pick<'_>) -> String {
    const LETTERS: &[u8] = b"BCDFGHJKLMNPRSTVWXZ23456789";
    let length = 5 + pick(4);
    std::iter::once('Q').chain((0..length).map(|_| char::from(LETTERS[pick(LETTERS.len())]))).collect()
}

/// Words with anything between them; the words are the parts to look for.
fn password(pick: Pick<'_>) -> Malformed {
    let (mut text, mut parts) = (String::new(), Vec::new());
    for _ in 0..=pick(5) {
        match pick(8) {
            0..4 => text.push_str(pick_of(pick, &PIECES)),
            4 => text.extend(char::from_u32(u32::try_from(pick(0x11_0000)).unwrap_or(0)).filter(|c| *c != 'Q')),
            _ => {
                parts.push(word(pick));
                text.push_str(&parts[parts.len() - 1]);
            }
        }
    }
    if parts.is_empty() {
        parts.push(word(pick));
        text.push_str(&parts[0]);
    }
    Malformed { text, parts }
}

/// Hosts with user info, alone or among others, and mostly with something else wrong too.
pub(crate) fn hosts(pick: Pick<'_>) -> Malformed {
    const BEFORE: [&str; 8] = ["", "", "", "http://node1:8000,", "http://node1, ", ",", ",,", " "];
    const USERS: [&str; 5] = ["user:", "", "user:80:", "[user:", "us%65r:"];
    const AFTER: [&str; 12] = [
        "node1",
        "node1:8000",
        "node1:0",
        "node1,",
        "node1,,http://node2",
        "node1/path",
        "http://node1",
        "",
        " ",
        "\n",
        "n?x",
        "n#x",
    ];
    let (mut text, mut parts) = (String::new(), Vec::new());
    for number in 0..=pick(2) {
        if number > 0 {
            text.push_str(pick_of(pick, &[",", ", ", ";", " ", ""]));
        }
        let password = password(pick);
        let at = if pick(8) == 0 { pick_of(pick, &["%40", "\u{ff20}", "@@", "%2540"]) } else { "@" };
        for piece in [
            pick_of(pick, &BEFORE),
            pick_of(pick, &SCHEMES),
            pick_of(pick, &USERS),
            &password.text,
            at,
            pick_of(pick, &AFTER),
        ] {
            text.push_str(piece);
        }
        parts.extend(password.parts);
    }
    Malformed { text, parts }
}

/// Hosts that end within a password, as a shell leaves them at an `&`. A part that looks like a port or follows one
/// cannot be told from a host with a path, so the password begins with a letter.
pub(crate) fn cut_hosts(pick: Pick<'_>) -> Malformed {
    let password = password(pick);
    let scheme = pick_of(pick, &SCHEMES);
    let before = pick_of(pick, &["", "", "http://node1:8000,", "http://node1, "]);
    let mut text = format!("{before}{scheme}user:x{}", password.text);
    for sign in ["@", "%40", "%2540", "\u{ff20}", "\\u0040"] {
        text = text.replace(sign, "");
    }
    let most = text.chars().count();
    text = text.chars().take(most - pick(most / 2)).collect();
    Malformed { text, parts: password.parts }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.extend(["\\u", &format!("{:04x}", u32::from(c))]),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A configuration file with such hosts where they belong, where they do not, and where no TOML is any more.
pub(crate) fn config(pick: Pick<'_>) -> Malformed {
    const KEYS: [&str; 15] = [
        "timeout",
        "request_timeout",
        "attempts",
        "first_delay",
        "max_delay",
        "settle",
        "rollback_timeout",
        "threads",
        "engine",
        "in_flight",
        "journal",
        "etcd",
        "paths",
        "hosts",
        "attempt",
    ];
    let Malformed { text, parts } = hosts(pick);
    let string = quoted(&text);
    // On a line of its own a part of the password would be a key like any other.
    let raw = text.replace(['\n', '\r'], " ");
    let key = pick_of(pick, &KEYS);
    let mut config = String::from(pick_of(pick, &["", "", "# a comment\n", "attempts = 3\n", "\n\n"]));
    let lines = match pick(16) {
        0 => format!("hosts = [{string}]"),
        1 => format!("hosts = {string}"),
        2 => format!("hosts = {raw}"),
        3 => format!("hosts = [{raw}]"),
        4 => format!("{key} = {string}\n{key} = {string}"),
        5 => format!("{string} = 1"),
        6 => format!("{key} = {string}"),
        7 => format!("[paths]\n{} = {string}", pick_of(pick, &["collection", "member", "other"])),
        8 => format!("[{string}]"),
        9 => format!("[paths]\n{string} = {string}"),
        10 => format!("hosts = [{string}, 1]\n"),
        11 => format!("hosts = ['{raw}']"),
        12 => format!("{key}.{string} = {string}"),
        13 => format!("[etcd]\n{} = {string}", pick_of(pick, &["ttl", "user", "password_file", "ca_file", "other"])),
        14 => format!("journal = {}", quoted(&format!("etcd://{text}"))),
        _ => raw,
    };
    config.push_str(&lines);
    // A change of an encoded at sign would leave none.
    let is_plain = text.rfind('@').is_some_and(|at| !text[at..].contains(['%', '\\', '\u{ff20}']));
    match pick(4) {
        0 => {
            let end = pick(config.chars().count() + 1);
            config = config.chars().take(end).collect();
        }
        1 if is_plain => {
            let at = pick(config.chars().count() + 1);
            let at = config.char_indices().nth(at).map_or(config.len(), |(at, _)| at);
            config.insert_str(at, pick_of(pick, &["\"", "'", "=", "[", "]", "\\", ",", "#", "\u{1}", "{"]));
        }
        _ => {}
    }
    Malformed { text: config, parts }
}
