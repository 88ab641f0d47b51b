//! Floor 1: the durable record that an operation is unfinished, as a value and as text.
//!
//! The text is read by recovery and by people, so it consists of `key: value` lines. Its last line is a checksum of all
//! bytes before it. The checksum detects torn writes and flipped bits; without it, half an intent could pass for a
//! whole one with fewer hosts. It does not detect forgery: the mode of the directory protects against that.
//!
//! The node API is written as its two paths, and any other API as `api: NAME DIGEST` in their place. A host that got
//! credentials is a `host with credentials`, and a settle time other than 10 s is a line of its own. Programs without
//! these keys refuse them, so the version of the format did not change.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::values::api::{Api, ApiRef};
use crate::values::cause::JournalError;
use crate::values::checksum::fnv1a;
use crate::values::group::GroupId;
use crate::values::host::{Host, Hosts};
use crate::values::mask;
use crate::values::printable::Printable;

/// The durable record that an operation on a group is unfinished: its purpose, and the hosts that are not settled. It
/// exists exactly as long as the operation is unfinished.
///
/// ```
/// use cluster_client::{Intent, Purpose};
///
/// let text = "\
/// cluster-client intent 2
/// group: users-42
/// for: delete
/// collection: /v1/group/
/// member: /v1/group/{id}/
/// host: http://node1:8000
/// host: http://node2:8000
/// writer: process 4242 on admin1
/// started: 2026-01-31T23:59:59Z
/// checksum: 49ccf75b47a50052
/// ";
/// let intent = Intent::parse(text.as_bytes())?;
/// assert_eq!(intent.group().as_str(), "users-42");
/// assert_eq!(intent.purpose(), Purpose::Delete);
/// assert_eq!(intent.hosts().len(), 2);
/// # Ok::<(), cluster_client::UnreadableIntent>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub(crate) group: GroupId,
    pub(crate) purpose: Purpose,
    /// The API of the requests to its hosts, for the operation and for its recovery.
    pub(crate) api: ApiRef,
    pub(crate) hosts: Vec<Host>,
    /// Those of its hosts whose requests had credentials. A host may answer 404 to a request without them.
    pub(crate) authorized: HashSet<Host>,
    /// The settle time of the operation.
    pub(crate) settle: Duration,
}

/// The purpose of an unfinished operation, which decides what recovery does.
///
/// ```
/// use cluster_client::Purpose;
///
/// let rolled_back = |purpose: Purpose| matches!(purpose, Purpose::Create { .. });
/// assert!(!rolled_back(Purpose::Delete) && !rolled_back(Purpose::Present));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A create: it is rolled back.
    #[non_exhaustive]
    Create {
        /// Whether the probe verified every host without the group. If not, no group is known to be ours, and a
        /// recovery only checks.
        was_absent: bool,
    },
    /// A delete: it is finished.
    Delete,
    /// A repair to present: it is finished.
    Present,
}

impl Purpose {
    /// A [`Purpose::Create`], for tests of your own [`Journal`](crate::Journal). `was_absent`: whether the probe verified
    /// every host without the group.
    ///
    /// ```
    /// use cluster_client::Purpose;
    ///
    /// assert!(matches!(Purpose::create(true), Purpose::Create { was_absent: true, .. }));
    /// ```
    pub const fn create(was_absent: bool) -> Self {
        Purpose::Create { was_absent }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Purpose::Create { .. } => "create",
            Purpose::Delete => "delete",
            Purpose::Present => "repair to present",
        })
    }
}

/// The error of a claim.
///
/// ```
/// use cluster_client::ClaimError;
///
/// let ClaimError::Busy(holder) = ClaimError::Busy("process 7 holds it".into()) else { unreachable!() };
/// assert_eq!(holder, "process 7 holds it");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClaimError {
    /// A living operation holds the group: its holder, as far as known.
    Busy(String),
    /// The journal could not be read or written.
    Failed(JournalError),
}

/// The writer of an intent and the start of its operation, for the people who read it.
///
/// ```
/// use cluster_client::Stamp;
///
/// let stamp = Stamp::new(4242, Some("admin1"), std::time::SystemTime::UNIX_EPOCH);
/// assert_eq!(stamp.writer(), "process 4242 on admin1");
/// assert_eq!(stamp.started(), "1970-01-01T00:00:00Z");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    writer: String,
    started: String,
}

impl Stamp {
    /// The stamp of a process on a machine, for an operation that started at this time. Control characters in the
    /// machine's name are left out.
    pub fn new(process: u32, machine: Option<&str>, started: SystemTime) -> Self {
        let mut writer = format!("process {process}");
        if let Some(machine) = machine {
            writer.push_str(" on ");
            writer.extend(machine.chars().filter(|c| !c.is_control()));
        }
        Stamp { writer, started: rfc3339(started) }
    }

    /// The stamp of a text that [`Intent::parse`] accepts.
    pub(crate) fn of_text(text: &str) -> Self {
        let value = |key| text.split('\n').find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
        Stamp { writer: value("writer: "), started: value("started: ") }
    }

    /// The process and its machine.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// The start of the operation: UTC, to the second, as in RFC 3339.
    pub fn started(&self) -> &str {
        &self.started
    }
}

/// The error of a text that is no intent, with a remedy. It continues a sentence that names the file.
///
/// ```
/// use cluster_client::Intent;
///
/// let unreadable = Intent::parse(b"cluster-client intent 2\ngroup: users-42\n").unwrap_err();
/// assert!(unreadable.to_string().starts_with("it is damaged or cut short"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {remedy}", Printable::new(problem))]
pub struct UnreadableIntent {
    problem: String,
    remedy: &'static str,
}

#[cfg(feature = "etcd")]
impl UnreadableIntent {
    /// The problem without its remedy, which may be about a file.
    pub(crate) fn problem(&self) -> Printable<'_> {
        Printable::new(&self.problem)
    }

    /// The remedy for an intent of another version, which must not be deleted.
    pub(crate) fn remedy_of_another_version(&self) -> Option<&'static str> {
        (self.remedy == OTHER_VERSION).then_some(OTHER_VERSION)
    }
}

/// The remedy for an unreadable file, to be carried out by a person.
pub(crate) const BY_HAND: &str =
    "ask for the status of its group, delete this file, then repair the group to present or absent";

/// The remedy for an intent of another version of the format, or with lines that this version does not know.
const OTHER_VERSION: &str = "recover with the version of cluster-client that wrote it";

/// The first words of the first line; the version of the format follows.
const FORMAT: &str = "cluster-client intent ";
const VERSION: &str = "2";
const CHECKSUM: &str = "checksum: ";
const HOST: &str = "host";
const AUTHORIZED: &str = "host with credentials";
const SETTLE: &str = "settle";

impl Intent {
    /// An intent in the default API, for tests of your own [`Journal`](crate::Journal). Only the client records intents
    /// of operations.
    ///
    /// ```
    /// use cluster_client::{DirectoryJournal, GroupId, Hosts, Intent, Journal, Purpose};
    ///
    /// let hosts = Hosts::parse(["http://node1:8000", "http://node2:8000"])?;
    /// let intent = Intent::new(GroupId::parse("payments")?, Purpose::create(true), &hosts);
    ///
    /// let directory = tempfile::tempdir()?;
    /// let journal = DirectoryJournal::open(directory.path().join("journal"))?;
    /// let mut claim = journal.claim(intent.group()).expect("the group is free");
    /// claim.record(&intent)?;
    /// drop(claim);
    /// let claim = journal.claim(intent.group()).expect("the group is free again");
    /// assert_eq!(claim.inherited(), Some(&intent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(group: GroupId, purpose: Purpose, hosts: &Hosts) -> Self {
        Intent::of(group, purpose, Api::default().reference(), hosts.as_slice().to_vec())
    }

    /// An intent without credentials, in the usual settle time.
    pub(crate) fn of(group: GroupId, purpose: Purpose, api: ApiRef, hosts: Vec<Host>) -> Self {
        Intent { group, purpose, api, hosts, authorized: HashSet::new(), settle: Intent::USUAL_SETTLE }
    }

    /// Sets the API of the operation's requests.
    ///
    /// ```
    /// use cluster_client::{Api, GroupId, Hosts, Intent, Purpose};
    ///
    /// let api = Api::new("/v2/groups", "/v2/groups/{id}")?;
    /// let hosts = Hosts::parse(["http://node1:8000"])?;
    /// let intent = Intent::new(GroupId::parse("payments")?, Purpose::Delete, &hosts).with_api(&api);
    /// assert_eq!(intent.api(), &api.reference());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_api(mut self, api: &Api) -> Self {
        self.api = api.reference();
        self
    }

    /// The group of the operation.
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// The purpose of the operation.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The API of the operation's requests. Recovery uses it too, whatever the client is configured with, because a 404
    /// in another API proves nothing.
    pub fn api(&self) -> &ApiRef {
        &self.api
    }

    /// The hosts that are not settled.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Those of [`Intent::hosts`] whose requests had credentials, in no order. Recovery needs credentials for them too,
    /// because many services answer 404 to a request without them.
    ///
    /// ```
    /// # let text = "cluster-client intent 2\ngroup: g\nfor: delete\ncollection: /v1/group/\n\
    /// #     member: /v1/group/{id}/\nhost with credentials: https://a\nhost: http://b\nwriter: process 1\n\
    /// #     started: 2026-01-31T23:59:59Z\nchecksum: 63dfeee74c06ccd3\n";
    /// let intent = cluster_client::Intent::parse(text.as_bytes())?;
    /// assert_eq!(intent.hosts().len(), 2);
    /// assert!(intent.authorized().eq(&intent.hosts()[..1]));
    /// # Ok::<(), cluster_client::UnreadableIntent>(())
    /// ```
    pub fn authorized(&self) -> impl Iterator<Item = &Host> {
        self.authorized.iter()
    }

    /// The text of the intent with its stamp, for [`Intent::parse`]. A journal without files can store it as a value.
    ///
    /// ```
    /// # let text = "cluster-client intent 2\ngroup: g\nfor: delete\ncollection: /v1/group/\n\
    /// #     member: /v1/group/{id}/\nhost: http://a\nwriter: process 1\n\
    /// #     started: 2026-01-31T23:59:59Z\nchecksum: 90f989bb6cef9ef8\n";
    /// use cluster_client::{Intent, Stamp};
    ///
    /// let intent = Intent::parse(text.as_bytes())?;
    /// let again = intent.to_text(&Stamp::new(1, None, std::time::SystemTime::now()));
    /// assert_eq!(Intent::parse(again.as_bytes())?, intent);
    /// # Ok::<(), cluster_client::UnreadableIntent>(())
    /// ```
    pub fn to_text(&self, stamp: &Stamp) -> String {
        let mut text = format!("{FORMAT}{VERSION}\ngroup: {}\nfor: {}\n", self.group.as_str(), words_of(self.purpose));
        match &self.api {
            ApiRef::Paths(api) => {
                let (collection, member) = api.paths().unwrap_or_default();
                text.extend(["collection: ", collection, "\nmember: ", member, "\n"]);
            }
            ApiRef::Named { name, digest } => text.extend(["api: ", name, " ", digest, "\n"]),
        }
        for host in &self.hosts {
            let key = if self.authorized.contains(host) { AUTHORIZED } else { HOST };
            text.extend([key, ": ", host.as_str(), "\n"]);
        }
        if self.settle != Intent::USUAL_SETTLE {
            let _ = writeln!(text, "{SETTLE}: {} ms", self.settle.as_nanos().div_ceil(1_000_000));
        }
        text.extend(["writer: ", stamp.writer(), "\nstarted: ", stamp.started(), "\n"]);
        let sum = fnv1a(text.as_bytes());
        let _ = writeln!(text, "{CHECKSUM}{sum:016x}");
        text
    }

    /// Reads the text of [`Intent::to_text`]. A file of a [`DirectoryJournal`](crate::DirectoryJournal) may contain
    /// several such texts, one after the other.
    ///
    /// # Errors
    /// An [`UnreadableIntent`] for a text that was cut or changed, has an unknown, missing or repeated key, names a
    /// host twice, or has another version. It names the first problem and its remedy.
    ///
    /// ```
    /// use cluster_client::Intent;
    ///
    /// let newer = Intent::parse(b"cluster-client intent 3\n").unwrap_err();
    /// assert!(newer.to_string().contains("version 3"), "{newer}");
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, UnreadableIntent> {
        let text = str::from_utf8(text).map_err(|_| by_hand("it is not text"))?;
        check_version(text)?;
        // A right checksum proves that a program has written this text. What cannot be read was meant by its version.
        read_lines(checked_body(text)?).map_err(|unreadable| UnreadableIntent { remedy: OTHER_VERSION, ..unreadable })
    }

    /// Splits a file into its texts, for [`Intent::parse`]. Returns at least one, even if it is no intent. Bytes
    /// between two texts stay with one of them, which then cannot be read.
    pub(crate) fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
        let begins = |at: &usize| text[*at..].starts_with(FORMAT.as_bytes()) && text[at - 1] == b'\n';
        let mut starts = (1..text.len()).filter(begins);
        let mut start = Some(0);
        std::iter::from_fn(move || {
            let from = start?;
            start = starts.next();
            Some(&text[from..start.unwrap_or(text.len())])
        })
    }
}

/// Checks the version. It is checked before the checksum, which another version may not have.
fn check_version(text: &str) -> Result<(), UnreadableIntent> {
    let first = text.split('\n').next().unwrap_or_default();
    match first.strip_prefix(FORMAT) {
        Some(VERSION) => Ok(()),
        Some(other) if !other.is_empty() && other.bytes().all(|b| b.is_ascii_digit()) => Err(UnreadableIntent {
            problem: format!("it is of version {other} of the format, and this program reads version {VERSION}"),
            remedy: OTHER_VERSION,
        }),
        _ => Err(by_hand("its first line is not that of an intent")),
    }
}

/// Returns all lines before the last, if the last is their checksum and the text ends after it.
fn checked_body(text: &str) -> Result<&str, UnreadableIntent> {
    let damaged = || by_hand("it is damaged or cut short, its last line is not the checksum of the others");
    let lines = text.strip_suffix('\n').ok_or_else(damaged)?;
    let (body, last) = lines.split_at(lines.rfind('\n').ok_or_else(damaged)? + 1);
    // Compared as text, so that each number has one spelling and every changed byte is detected.
    let expected = format!("{CHECKSUM}{:016x}", fnv1a(body.as_bytes()));
    if last == expected { Ok(body) } else { Err(damaged()) }
}

/// Reads the lines after the first.
fn read_lines(body: &str) -> Result<Intent, UnreadableIntent> {
    let mut lines = Lines::default();
    for line in body.split_terminator('\n').skip(1) {
        lines.take(line)?;
    }
    lines.into_intent()
}

/// The lines that were read so far.
#[derive(Default)]
struct Lines<'a> {
    group: Option<&'a str>,
    purpose: Option<&'a str>,
    api: Option<&'a str>,
    collection: Option<&'a str>,
    member: Option<&'a str>,
    writer: Option<&'a str>,
    started: Option<&'a str>,
    settle: Option<&'a str>,
    hosts: Vec<Host>,
    seen: HashSet<Host>,
    authorized: HashSet<Host>,
}

impl<'a> Lines<'a> {
    fn take(&mut self, line: &'a str) -> Result<(), UnreadableIntent> {
        let (key, value) =
            line.split_once(": ").ok_or_else(|| by_hand(format!("the line {line:?} has no \"key: value\"")))?;
        let place = match key {
            "group" => &mut self.group,
            "for" => &mut self.purpose,
            "api" => &mut self.api,
            "collection" => &mut self.collection,
            "member" => &mut self.member,
            "writer" => &mut self.writer,
            "started" => &mut self.started,
            SETTLE => &mut self.settle,
            HOST => return self.take_host(value).map(drop),
            AUTHORIZED => {
                let host = self.take_host(value)?;
                self.authorized.insert(host);
                return Ok(());
            }
            // The colon may belong to a password.
            _ if mask::has_user_info(line) => return Err(by_hand("it has an unknown key")),
            _ => return Err(by_hand(format!("it has the unknown key {key:?}"))),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(by_hand(format!("it has the key {key:?} twice"))),
        }
    }

    fn take_host(&mut self, value: &str) -> Result<Host, UnreadableIntent> {
        let host = Host::parse(value).map_err(|refused| by_hand(refused.to_string()))?;
        if !self.seen.insert(host.clone()) {
            return Err(by_hand(format!("it names the host {host} twice")));
        }
        self.hosts.push(host.clone());
        Ok(host)
    }

    fn into_intent(self) -> Result<Intent, UnreadableIntent> {
        let missing = |key: &str| by_hand(format!("it has no line {key:?}"));
        let group = self.group.ok_or_else(|| missing("group"))?;
        let group = GroupId::parse(group).map_err(|refused| by_hand(refused.to_string()))?;
        let purpose = purpose_of(self.purpose.ok_or_else(|| missing("for"))?)?;
        let api = match (self.api, self.collection, self.member) {
            (Some(api), None, None) => ApiRef::parse(api)
                .ok_or_else(|| by_hand(format!("it has the API {api:?}, which is no name and digest")))?,
            (Some(_), ..) => return Err(by_hand("it has an API and paths")),
            (None, collection, member) => {
                let collection = collection.ok_or_else(|| missing("collection"))?;
                let member = member.ok_or_else(|| missing("member"))?;
                ApiRef::Paths(Api::new(collection, member).map_err(|refused| by_hand(refused.to_string()))?)
            }
        };
        self.writer.ok_or_else(|| missing("writer"))?;
        self.started.ok_or_else(|| missing("started"))?;
        if self.hosts.is_empty() {
            return Err(missing(HOST));
        }
        let settle = self.settle.map_or(Ok(Intent::USUAL_SETTLE), settle_of)?;
        Ok(Intent { group, purpose, api, hosts: self.hosts, authorized: self.authorized, settle })
    }
}

fn words_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Create { was_absent: true } => "create, verified absent before",
        Purpose::Create { was_absent: false } => "create, not looked at before",
        Purpose::Delete => "delete",
        Purpose::Present => "repair to present",
    }
}

fn purpose_of(words: &str) -> Result<Purpose, UnreadableIntent> {
    [Purpose::Create { was_absent: true }, Purpose::Create { was_absent: false }, Purpose::Delete, Purpose::Present]
        .into_iter()
        .find(|purpose| words_of(*purpose) == words)
        .ok_or_else(|| by_hand(format!("it is for {words:?}, which is no known purpose")))
}

/// Reads a settle time. It has one spelling, and is within the bounds of the setting.
fn settle_of(text: &str) -> Result<Duration, UnreadableIntent> {
    let time = text.strip_suffix(" ms").and_then(|number| number.parse().ok()).map(Duration::from_millis);
    let is_spelt = |time: &Duration| format!("{} ms", time.as_millis()) == text;
    let bounds = Duration::from_millis(1)..=Intent::LONGEST_SETTLE;
    time.filter(|time| is_spelt(time) && bounds.contains(time))
        .ok_or_else(|| by_hand(format!("it has the settle time {text:?}, which is none")))
}

fn by_hand(problem: impl Into<String>) -> UnreadableIntent {
    UnreadableIntent { problem: mask::sentence(&problem.into()).into_owned(), remedy: BY_HAND }
}

impl Intent {
    /// Beginning of the first line in every version of the format.
    pub(crate) const FIRST_WORDS: &[u8] = FORMAT.as_bytes();
    /// The default settle time, and that of an intent that names none.
    pub(crate) const USUAL_SETTLE: Duration = Duration::from_secs(10);
    /// The longest settle time of a client.
    pub(crate) const LONGEST_SETTLE: Duration = Duration::from_secs(3600);
}

/// Formats a time. The standard library has no calendar. A time before 1970 is shown as 1970.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar. Years begin on the first of March
/// here: the leap day is then the last day, and one formula gives the lengths of the months.
fn date_of(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468; // from the first of March of the year 0
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (cycle, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let january_on = u64::from(month >= 10);
    (cycle * 400 + year + january_on, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(purpose: Purpose, hosts: &[&str]) -> Intent {
        let hosts = hosts.iter().map(|host| Host::parse(host).unwrap()).collect();
        Intent::of(GroupId::parse("users-42").unwrap(), purpose, Api::default().reference(), hosts)
    }

    fn stamp() -> Stamp {
        Stamp::new(4242, Some("admin1"), UNIX_EPOCH + Duration::from_secs(1_769_903_999))
    }

    /// A text with these lines and their checksum.
    fn signed(lines: &[&str]) -> String {
        let body = lines.join("\n") + "\n";
        format!("{body}{CHECKSUM}{:016x}\n", fnv1a(body.as_bytes()))
    }

    const LINES: [&str; 8] = [
        "cluster-client intent 2",
        "group: users-42",
        "for: delete",
        "collection: /v1/group/",
        "member: /v1/group/{id}/",
        "host: http://node1:8000",
        "writer: process 1",
        "started: 2026-01-31T23:59:59Z",
    ];

    #[test]
    fn to_text_writes_the_documented_text() {
        let text = intent(Purpose::Delete, &["http://node1:8000", "http://node2:8000"]).to_text(&stamp());
        let expected = "cluster-client intent 2\ngroup: users-42\nfor: delete\ncollection: /v1/group/\n\
            member: /v1/group/{id}/\nhost: http://node1:8000\nhost: http://node2:8000\nwriter: process 4242 on admin1\nstarted: 2026-01-31T23:59:59Z\n\
            checksum: 49ccf75b47a50052\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn written_intent_is_parsed_back() {
        let (create, blind) = (Purpose::Create { was_absent: true }, Purpose::Create { was_absent: false });
        for purpose in [create, blind, Purpose::Delete, Purpose::Present] {
            for id in ["users-42", " padded ", "a: b", "checksum: 0", "größe\u{2028}x", &"ß".repeat(127)] {
                let group = GroupId::parse(id).unwrap();
                let intent = Intent { group, ..intent(purpose, &["http://[::1]:1/a", "https://n"]) };
                assert_eq!(Intent::parse(intent.to_text(&stamp()).as_bytes()), Ok(intent));
            }
        }
    }

    #[test]
    fn other_api_is_written_as_name_and_digest_and_parsed_back() {
        let api = ApiRef::Named { name: "rabbitmq-vhosts".into(), digest: "0123456789abcdef".into() };
        let intent = Intent { api, ..intent(Purpose::Delete, &["http://node1:8000"]) };
        let text = intent.to_text(&stamp());
        assert!(text.contains("\napi: rabbitmq-vhosts 0123456789abcdef\nhost: "), "{text}");
        assert!(!text.contains("collection:"), "{text}");
        assert_eq!(Intent::parse(text.as_bytes()), Ok(intent));
    }

    #[test]
    fn credentials_and_a_long_settle_time_are_written_and_parsed_back() {
        let intent = intent(Purpose::Delete, &["https://node1", "http://node2:8000"]);
        let authorized = HashSet::from([intent.hosts[0].clone()]);
        let intent = Intent { authorized, settle: Duration::from_millis(60_500), ..intent };
        let text = intent.to_text(&stamp());
        let lines = "\nhost with credentials: https://node1\nhost: http://node2:8000\nsettle: 60500 ms\nwriter: ";
        assert!(text.contains(lines), "{text}");
        assert_eq!(Intent::parse(text.as_bytes()), Ok(intent));
    }

    #[test]
    fn every_cut_text_is_refused() {
        let text = intent(Purpose::Delete, &["http://node1:8000", "http://node2:8000"]).to_text(&stamp());
        for end in 0..text.len() {
            assert!(Intent::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
            assert!(Intent::parse(&text.as_bytes()[end + 1..]).is_err(), "from {}", end + 1);
        }
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let intent = intent(Purpose::Present, &["http://node1:8000", "http://node2:8000"]);
        let intent = Intent { group: GroupId::parse("größe").unwrap(), ..intent };
        let text = intent.to_text(&stamp()).into_bytes();
        let mut changed = text.clone();
        for at in 0..text.len() {
            for flip in 1..=255 {
                changed[at] = text[at] ^ flip;
                assert!(Intent::parse(&changed).is_err(), "byte {at} as {}", changed[at]);
            }
            changed[at] = text[at];
        }
        assert!(Intent::parse(&changed).is_ok());
    }

    #[test]
    fn added_bytes_and_repeated_texts_are_refused() {
        let text = signed(&LINES);
        assert!(Intent::parse(text.as_bytes()).is_ok());
        for wrong in [format!("{text}\n"), format!("{text}x"), format!("\n{text}"), text.repeat(2)] {
            assert!(Intent::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn invalid_text_with_a_valid_checksum_is_refused_with_the_reason() {
        let with = |at: usize, line| {
            let mut lines = LINES.to_vec();
            lines[at] = line;
            signed(&lines)
        };
        let and = |line| signed(&[&LINES[..], &[line]].concat());
        let without = |at: usize| signed(&[&LINES[..at], &LINES[at + 1..]].concat());
        let named = |api| signed(&[&LINES[..3], &[api], &LINES[5..]].concat());
        for (text, reason) in [
            (with(0, "cluster-client intent 1"), "recover with the version"),
            (with(0, "cluster-client intent 3"), "recover with the version"),
            (with(0, "cluster-client intent 01"), "version 01"),
            (with(0, "cluster-client intent "), "first line"),
            (with(0, "something else"), "first line"),
            (without(0), "first line"),
            (without(1), "no line \"group\""),
            (without(2), "no line \"for\""),
            (without(3), "no line \"collection\""),
            (without(4), "no line \"member\""),
            (without(5), "no line \"host\""),
            (without(6), "no line \"writer\""),
            (without(7), "no line \"started\""),
            (and("group: users-42"), "\"group\" twice"),
            (and("for: delete"), "\"for\" twice"),
            (and("host: HTTP://NODE1:8000/"), "host http://node1:8000 twice"),
            (and("api: hub 0123456789abcdef"), "an API and paths"),
            (with(3, "api: hub 0123456789abcdef"), "an API and paths"),
            (named("api: hub"), "no name and digest"),
            (named("api: hub 0123456789ABCDEF"), "no name and digest"),
            (named("api: hub 0123456789abcde"), "no name and digest"),
            (named("api: h/b 0123456789abcdef"), "no name and digest"),
            (named("api:  0123456789abcdef"), "no name and digest"),
            (and("note: x"), "unknown key \"note\""),
            (and(""), "no \"key: value\""),
            (with(1, "group: .."), "another path"),
            (with(1, "group: a\rb"), "U+000D"),
            (with(2, "for: fun"), "no known purpose"),
            (with(3, "collection: v1"), "start with a slash"),
            (with(4, "member: /v1/group/"), "exactly once"),
            (with(5, "host: node1"), "no scheme"),
            (and("host with credentials: http://node1:8000"), "host http://node1:8000 twice"),
            (and("settle: 60"), "settle time \"60\""),
            (and("settle: 060000 ms"), "settle time"),
            (and("settle: 0 ms"), "settle time"),
            (and("settle: 3600001 ms"), "settle time"),
        ] {
            let message = Intent::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains(": "), "{reason}: {message}");
            assert!(!message.contains('\n'), "an error is one line: {message}");
            assert_eq!(message.contains("delete this file"), reason == "first line", "{message}");
        }
        assert_eq!(Intent::parse(b"\xff").unwrap_err().problem, "it is not text");
    }

    #[test]
    fn rfc3339_agrees_with_date() {
        // From `date -u -d @N +%FT%TZ`.
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), date);
        }
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn machine_name_cannot_add_lines() {
        let stamp = Stamp::new(1, Some("a\nhost: http://b"), UNIX_EPOCH);
        assert!(!stamp.writer().contains('\n'));
    }
}
