//! Checks the rules of the house: the dependencies, the floors, and the facts that the README states.

#[path = "support/package.rs"]
mod package;
#[path = "support/source_tree.rs"]
mod source_tree;
#[path = "support/syntax.rs"]
mod syntax;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::package::{metadata, read, root};
use crate::source_tree::SourceTree;

/// The names of the crates that a build with these features brings, this one included.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn lean_set_has_at_most_34_crates_and_the_readme_has_the_number() {
    let lean = crates(&["--no-default-features"]);
    assert!(lean.len() <= 34, "{}: {lean:?}", lean.len());
    let said = format!("brings {} crates in all", lean.len());
    assert!(read("README.md").contains(&said), "the README should say: {said}");
}

/// Name and version of each crate in a lock file.
fn locked(path: &str) -> BTreeSet<(String, String)> {
    let lock = read(path);
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        package.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"')).map(str::to_owned)
    };
    lock.split("[[package]]")
        .filter_map(|package| Some((field(package, "name")?, field(package, "version")?)))
        .collect()
}

/// docs/decisions/ureq-versions.md says why.
#[test]
fn patches_of_ureq_are_allowed_and_both_engines_have_one_version_of_its_parser() {
    let metadata = metadata(&["--all-features"]);
    let packages = metadata["packages"].as_array().unwrap();
    let requirement = |package: &str, of: &str| {
        let package = packages.iter().find(|found| found["name"] == package).unwrap();
        let dependency = package["dependencies"].as_array().unwrap().iter().find(|found| found["name"] == of).unwrap();
        dependency["req"].as_str().unwrap().to_owned()
    };
    let version = |name: &str| {
        let found: Vec<&str> =
            packages.iter().filter(|p| p["name"] == name).filter_map(|p| p["version"].as_str()).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0].to_owned()
    };
    let minor = |version: &str| version.rsplit_once('.').unwrap().0.to_owned();
    assert_eq!(minor(&requirement("cluster-client", "ureq")), format!("~{}", minor(&version("ureq"))));
    assert_eq!(requirement("cluster-client", "ureq-proto"), requirement("ureq", "ureq-proto"));
    version("ureq-proto");
}

/// Otherwise a test of the example would have to download them.
#[test]
fn examples_lock_the_versions_of_the_main_lock_file() {
    let main = locked("Cargo.lock");
    for example in ["build_script", "tested_service"] {
        let crates = locked(&format!("examples/{example}/Cargo.lock"));
        let others: Vec<_> = crates.difference(&main).filter(|(name, _)| !name.ends_with("-example")).collect();
        assert!(crates.len() > 20 && others.is_empty(), "{example}: {others:?}");
    }
}

#[test]
fn no_async_runtime_is_among_the_normal_dependencies() {
    let all = crates(&["--all-features"]);
    for runtime in ["tokio", "async-std", "smol", "futures-executor", "hyper", "reqwest"] {
        assert!(!all.contains(runtime), "{runtime} came in: {all:?}");
    }
    // Readiness alone is no runtime. The feature `multiplex` brings it, and the command has that feature.
    assert!(crates(&["--features", "multiplex"]).contains("mio") && crates(&["--features", "cli"]).contains("mio"));
    assert!(!crates(&["--features", "rustls,testing"]).contains("mio"));
    for wanted in
        ["ureq", "rayon", "retry", "thiserror", "log", "env_logger", "clap", "signal-hook", "toml", "httparse"]
    {
        assert!(all.contains(wanted), "{wanted} is gone");
    }
}

/// The floors of the library, lowest first. A module uses its own floor and those below.
const FLOORS: [&[&str]; 6] =
    [&["values"], &["api"], &["protocol"], &["sync", "http"], &["engine", "journal"], &["client"]];
/// Folders that decide: no IO, no clock, no thread, no randomness.
const DECISIONS: [&str; 3] = ["values", "api", "protocol"];
/// Stands beside the floors: a server, which uses nothing of the client.
const TESTING: &str = "testing";
/// The one file of it that uses the library: it checks a user's `Journal`.
const CONFORMANCE: &str = "testing::conformance";

/// Names of several types that are still to be cut. Nothing may be added.
const KNOWN_SHARED_NAMES: [&str; 8] =
    ["Answer", "Connection", "Engine", "Failure", "Origin", "Phase", "State", "Target"];

fn library() -> SourceTree {
    SourceTree::read(&root().join("src"))
}

fn folder(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// Each import that points to a higher floor, out of `testing`, or to a name that hides its floor.
fn wrong_imports(tree: &SourceTree) -> Vec<String> {
    let floor_of = |module: &str| FLOORS.iter().position(|floor| floor.contains(&folder(module)));
    let mut wrong = Vec::new();
    for (name, module) in tree.modules.iter().filter(|(name, _)| !name.is_empty()) {
        let own = if name == CONFORMANCE { floor_of("journal") } else { floor_of(name) };
        let Some(own) = own.or((folder(name) == TESTING).then_some(0)) else {
            wrong.push(format!("{name} is on no floor"));
            continue;
        };
        for path in module.paths.union(&module.reexports).filter(|path| path.starts_with("crate::")) {
            let used = tree.module_of(path).unwrap_or_default();
            let is_right = match floor_of(used) {
                _ if folder(used) == folder(name) => true,
                Some(floor) => (folder(name) != TESTING || name == CONFORMANCE) && floor <= own,
                // A name that lib.rs re-exports hides its floor.
                None => false,
            };
            if !is_right {
                wrong.push(format!("{name} uses {path}"));
            }
        }
    }
    wrong
}

/// Each use of IO, a clock, a thread or randomness in a module that decides.
fn impure(tree: &SourceTree) -> Vec<String> {
    const BANNED: [&str; 20] = [
        "std::env",
        "std::fs",
        "std::io",
        "std::net",
        "std::os",
        "std::process",
        "std::thread",
        "std::sync::Barrier",
        "std::sync::Condvar",
        "std::sync::Mutex",
        "std::sync::RwLock",
        "std::sync::mpsc",
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "fastrand",
        "log",
        "mio",
        "rayon",
        "rustls",
        "ureq",
    ];
    // An error keeps the IO error that caused it, an address is checked, a generator is passed in with its seed.
    const ALLOWED: [&str; 7] = [
        "std::io::Error",
        "std::io::ErrorKind",
        "std::net::IpAddr",
        "std::net::Ipv4Addr",
        "std::net::Ipv6Addr",
        "fastrand::Rng::with_seed",
        "fastrand::Rng",
    ];
    let is_below = |path: &str, of: &str| path == of || path.starts_with(&format!("{of}::"));
    let mut found = Vec::new();
    for (name, module) in tree.modules.iter().filter(|(name, _)| DECISIONS.contains(&folder(name))) {
        for path in module.paths.union(&module.reexports) {
            let is_allowed = ALLOWED.iter().any(|allowed| is_below(path, allowed)) && path != "fastrand::Rng::new";
            if !is_allowed && BANNED.iter().any(|banned| is_below(path, banned)) {
                found.push(format!("{name} uses {path}"));
            }
        }
        // `Instant::elapsed` reads the clock.
        found.extend(module.methods.get("elapsed").map(|method| format!("{name} calls {method}")));
    }
    found
}

/// Each macro of the library that prints.
fn prints(tree: &SourceTree) -> Vec<String> {
    let all = tree.modules.iter().flat_map(|(name, module)| module.macros.iter().map(move |call| (name, call)));
    all.filter(|(_, call)| ["print", "println", "eprint", "eprintln", "dbg"].contains(&call.as_str()))
        .map(|(name, call)| format!("{name} has {call}!"))
        .collect()
}

#[test]
fn every_import_points_to_its_own_floor_or_below() {
    assert_eq!(wrong_imports(&library()), [""; 0]);
}

#[test]
fn no_two_files_import_each_other() {
    assert_eq!(library().circles(), [[""; 0]; 0]);
}

/// Checks it for the library without its tests. The command is a crate of its own.
#[test]
fn no_name_stands_for_two_types() {
    let tree = library();
    let mut shared = tree.shared_names();
    shared.retain(|name, _| !KNOWN_SHARED_NAMES.contains(name));
    assert_eq!(shared, [].into());
}

#[test]
fn decisions_have_no_io_clock_thread_or_randomness_of_their_own() {
    assert_eq!(impure(&library()), [""; 0]);
}

#[test]
fn library_prints_nothing() {
    assert_eq!(prints(&library()), [""; 0]);
}

/// A small library, with `extra` at the end of the file `file`.
fn planted(file: &str, extra: &str) -> SourceTree {
    let files = [
        ("lib.rs", "mod values; mod api; mod protocol; mod client;\n"),
        ("values.rs", "pub(crate) struct Host;\n"),
        ("api.rs", "use crate::values::Host;\n"),
        ("protocol/mod.rs", "mod round; #[cfg(test)] mod tests; use crate::values::Host;\n"),
        ("protocol/round.rs", "use super::rules; use std::io::Error;\n"),
        ("client/mod.rs", "mod driver; mod batch; use self::driver::Driver;\n"),
        ("client/driver.rs", "use crate::protocol; #[cfg(test)] mod tests { use crate::client::batch::Bulk; }\n"),
        ("client/batch.rs", "use super::driver::Driver;\n"),
    ];
    SourceTree::parse(&|name| {
        let (_, text) = files.iter().find(|(file, _)| *file == name)?;
        Some(format!("{text}{}", if name == file { extra } else { "" }))
    })
}

#[test]
fn a_planted_violation_of_each_rule_is_found() {
    let clean = planted("", "");
    assert_eq!(wrong_imports(&clean), [""; 0]);
    assert_eq!(clean.circles(), [[""; 0]; 0]);
    assert_eq!(clean.shared_names(), [].into());
    assert_eq!(impure(&clean), [""; 0]);
    assert_eq!(prints(&clean), [""; 0]);

    for upward in [
        "use crate::client::driver::Driver;",
        "pub(crate) use crate::client::driver::Driver;",
        "fn f() { let _ = crate::client::batch::limit(); }",
        "fn f() { assert!(crate::client::batch::limit() > 1, \"{}\", 2); }",
        "type Alias = Option<crate::client::driver::Driver>;",
        "mod inner { use super::super::client::driver::Driver; }",
        "use crate::{client::driver, values};",
    ] {
        let wrong = wrong_imports(&planted("values.rs", upward));
        assert!(wrong.iter().any(|wrong| wrong.starts_with("values uses crate::client")), "{upward}: {wrong:?}");
    }
    let hidden = wrong_imports(&planted("client/batch.rs", "use crate::Host;"));
    assert_eq!(hidden, ["client::batch uses crate::Host"]);
    let circle = planted("client/driver.rs", "use crate::client::batch::Bulk;");
    assert_eq!(circle.circles(), [["client::batch", "client::driver"]]);
    for second in ["struct Host;", "pub enum Host {}", "type Host = u8;", "mod inner { trait Host {} }"] {
        let shared = planted("protocol/round.rs", second);
        assert_eq!(shared.shared_names(), [("Host", vec!["protocol::round", "values"])].into(), "{second}");
    }

    for (code, path) in [
        ("use std::fs;", "std::fs"),
        ("use std::{fs::File, fmt};", "std::fs::File"),
        ("fn f() { std::fs::read(\"x\").ok(); }", "std::fs::read"),
        ("use std::time::Instant; fn f() { Instant::now(); }", "std::time::Instant::now"),
        ("use std::time as t; fn f() { vec![t::SystemTime::now()]; }", "std::time::SystemTime::now"),
        ("use std::sync::{Arc, Mutex};", "std::sync::Mutex"),
        ("fn f() { fastrand::u32(..); }", "fastrand::u32"),
        ("use fastrand::Rng; fn f() { Rng::new(); }", "fastrand::Rng::new"),
    ] {
        let found = impure(&planted("protocol/round.rs", code));
        assert!(found.contains(&format!("protocol::round uses {path}")), "{code}: {found:?}");
    }
    assert_eq!(impure(&planted("api.rs", "fn f() { g().elapsed(); }")), ["api calls elapsed"]);
    assert_eq!(prints(&planted("client/driver.rs", "fn f() { println!(\"x\"); }")), ["client::driver has println!"]);
    assert_eq!(prints(&planted("api.rs", "fn f() { vec![dbg!(1)]; }")), ["api has dbg!"]);
}

/// The files of a folder of the library and of the folders in it, without those of tests and models.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false if name != "tests.rs" && !name.contains("model") => found.push(path),
            false => {}
        }
    }
    found
}

/// A row names files, or a folder with a slash at its end, in code spans.
#[test]
fn every_file_of_a_floor_has_its_row_in_the_architecture() {
    let page = read("docs/architecture.md");
    for floor in FLOORS.concat().into_iter().filter(|floor| *floor != "sync") {
        let folder = root().join("src").join(floor);
        let table = page.split(&format!("| file of `{floor}/` | content |\n")).nth(1).expect(floor);
        let cells = table.lines().take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
        let listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        for file in sources(&folder).into_iter().filter(|file| *file != folder.join("mod.rs")) {
            let name = file.strip_prefix(&folder).unwrap().to_string_lossy().replace('\\', "/");
            let is_named = |listed: &&str| name == *listed || listed.ends_with('/') && name.starts_with(*listed);
            assert!(listed.iter().any(is_named), "docs/architecture.md has no row for {floor}/{name}");
        }
        for name in listed {
            assert!(folder.join(name).exists(), "docs/architecture.md names {floor}/{name}");
        }
    }
}
