//! The versions and the machine of a measurement.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::peers::Peer;
use crate::places::Places;
use crate::{Failure, child};

/// The libraries under measurement, by their names in the lock file.
const LIBRARIES: [&str; 3] = ["reqwest", "hyper", "tokio"];
/// Maximum time for a program to print its version.
const LIMIT: Duration = Duration::from_secs(10);

/// Names and values, in the order of the report.
pub(crate) type Setting = Vec<(&'static str, String)>;

/// Unknown values are left out.
pub(crate) fn find(places: &Places, peers: &[Peer]) -> Setting {
    let lock = std::fs::read_to_string(places.lock()).unwrap_or_default();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let program = |name| peers.iter().find(|peer| peer.name.starts_with(name))?.command.as_ref().ok()?.first();

    let mut setting = vec![("rustc", version(Path::new(&rustc), "--version"))];
    setting.extend(LIBRARIES.map(|name| (name, locked(&lock, name))));
    setting.push(("Go", program("go").and_then(|_| version(Path::new("go"), "version"))));
    setting.push(("Python", program("python").and_then(|interpreter| version(interpreter, "--version"))));
    setting.push(("cores", std::thread::available_parallelism().ok().map(|cores| cores.to_string())));
    setting.push(("kernel", std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()));
    setting.into_iter().filter_map(|(name, value)| Some((name, value?.trim().to_owned()))).collect()
}

/// Returns one line.
pub(crate) fn line(setting: &Setting) -> String {
    let parts: Vec<String> = setting.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("Measured with {}.", parts.join(", "))
}

/// The first word of the answer that has a digit and a dot: `go version go1.22.2 linux/amd64` says 1.22.2.
fn version(program: &Path, question: &str) -> Option<String> {
    let answer: Result<_, Failure> = child::output(Command::new(program).arg(question), LIMIT);
    number(&answer.ok()?.stdout)
}

fn number(answer: &str) -> Option<String> {
    let mut words = answer.split_whitespace().map(|word| word.trim_start_matches(char::is_alphabetic));
    words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')).map(str::to_owned)
}

fn locked(lock: &str, name: &str) -> Option<String> {
    let (_, entry) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    entry.split_once('"').map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (answer, version) in [
            ("rustc 1.95.0 (59807616e 2026-04-14)", "1.95.0"),
            ("go version go1.22.2 linux/amd64", "1.22.2"),
            ("Python 3.12.3", "3.12.3"),
        ] {
            assert_eq!(number(answer).as_deref(), Some(version));
        }
        assert_eq!(number("none"), None);
    }

    #[test]
    fn libraries_are_found_in_the_lock_file() {
        let lock = "[[package]]\nname = \"hyper\"\nversion = \"1.2.3\"\n[[package]]\nname = \"hyper-util\"\nversion = \"0.1\"\n";
        assert_eq!(locked(lock, "hyper").as_deref(), Some("1.2.3"));
        assert_eq!(locked(lock, "tokio"), None);
    }
}
