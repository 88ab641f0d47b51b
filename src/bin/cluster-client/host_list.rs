//! Lists of hosts: the value of `--hosts` or a variable, and the lines of `--hosts-file`.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;

use cluster_client::{ConfigError, Host, Hosts, Origin};

use crate::groups::is_stdin;
use crate::open::{self, ReadError};

pub(crate) const OPTION: &str = "--hosts-file";

/// Maximum size of a list, in bytes.
const LIMIT: u64 = 16 << 20;

/// Parses a list separated by commas. Names the remedy for lists that are separated or prefixed in another way.
pub(crate) fn parse(list: &str, origin: Origin) -> Result<Hosts, ConfigError> {
    let refused = |problem: &str, remedy: &str| {
        Err(ConfigError::new("host list", list, problem, remedy).from_origin(origin.clone()))
    };
    // With a second at sign, it may be a password.
    if list.starts_with('@') && list.matches('@').count() == 1 {
        return refused("begins with an at sign", "give --hosts-file FILE to read the hosts from a file");
    }
    let is_spaced = |entry: &str| entry.split_whitespace().filter(|word| word.contains("://")).count() > 1;
    if !list.contains('@') && list.split(',').any(is_spaced) {
        if list.trim().contains('\n') {
            let remedy = "separate them by commas, or give --hosts-file FILE to read one a line";
            return refused("has hosts separated by line ends", remedy);
        }
        return refused("has hosts separated by spaces", "separate them by commas");
    }
    Hosts::parse_list(list, origin)
}

/// Reads one host a line. Blank lines and comments are skipped. The file is regular, or standard input. `origin` is that
/// of its name.
pub(crate) fn read(path: &Path, origin: &Origin) -> Result<Hosts, ConfigError> {
    let refused = |problem: String, remedy: &str| {
        let shown = path.to_string_lossy();
        ConfigError::new("list of hosts", shown, problem, remedy).from_origin(origin.clone())
    };
    let found = if is_stdin(path) { read_stdin() } else { open::read(path, LIMIT).map(|(bytes, _)| bytes) };
    let bytes = found.map_err(|error| {
        let (problem, remedy) = error.into();
        refused(problem, remedy)
    })?;
    let text = String::from_utf8(bytes).map_err(|_| refused("is not UTF-8".into(), "write it in ASCII"))?;
    let mut hosts = Vec::new();
    let mut lines: HashMap<Host, usize> = HashMap::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let Some(url) = host_of(line) else { continue };
        let place = |lines: &str| Origin::Option(format!("{}, line {lines}", path.to_string_lossy()));
        let host = Host::parse(url).map_err(|error| error.from_origin(place(&number.to_string())))?;
        if let Some(first) = lines.insert(host.clone(), number) {
            let refused = ConfigError::new("host", url, "is there twice", "name each host once");
            return Err(refused.from_origin(place(&format!("{first} and {number}"))));
        }
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(refused("names no host".into(), "write one a line"));
    }
    Hosts::new(hosts).map_err(|error| error.from_origin(origin.clone()))
}

/// Returns the host of a line. No host has a `#`, so a comment may follow it.
fn host_of(line: &str) -> Option<&str> {
    let end = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
    let host = line[..end].trim();
    (!host.is_empty() && !host.starts_with('#')).then_some(host)
}

fn read_stdin() -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        let problem = format!("has more than {} KiB", LIMIT >> 10);
        return Err((problem, "give a shorter list").into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_a_host_or_a_comment() {
        assert_eq!(host_of(" http://a:1  # rack 3\r"), Some("http://a:1"));
        assert_eq!(host_of("http://a:1\t# rack 3"), Some("http://a:1"));
        assert_eq!(host_of("# all of them"), None);
        assert_eq!(host_of("   "), None);
    }
}
