//! The rules of the house, as tests: what the crate may depend on, which floor may use which, and that the
//! README says what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

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
fn the_lean_set_is_at_most_thirty_crates_and_the_readme_says_how_many() {
    let lean = crates(&["--no-default-features"]);
    assert!(lean.len() <= 30, "{}: {lean:?}", lean.len());
    let said = format!("brings {} crates in all", lean.len());
    assert!(read("README.md").contains(&said), "the README should say: {said}");
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
const FLOORS: [&[&str]; 3] = [&["api", "protocol", "values"], &["engine", "http", "journal", "sync"], &["client"]];
/// It stands beside the floors: a server, which uses nothing of the client.
const TESTING: &str = "testing";

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
            found.push(path);
        }
    }
}

/// Modules that are only there for tests have these names.
fn is_test(path: &Path) -> bool {
    ["tests.rs", "subject.rs", "faults.rs", "loom_models.rs", "sync/model.rs", "threads/model.rs"]
        .iter()
        .any(|name| path.ends_with(name))
}

/// The folder of the library that a source file belongs to.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The file of a folder, or the folder itself, that the words after `crate::` lead to.
fn file_of(used: &str) -> String {
    let mut words = used.split("::");
    let (folder, file) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_file =
        root().join(format!("src/{folder}/{file}.rs")).exists() || root().join(format!("src/{folder}/{file}")).is_dir();
    if is_file && !file.is_empty() { format!("{folder}/{file}") } else { folder.to_owned() }
}

fn module_of_use(used: &str) -> String {
    used.split("::").next().unwrap_or_default().to_owned()
}

/// The same name for a source file.
fn own_file(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
    let relative = relative.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
    relative.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// The modules that a source file names with `crate::`, its tests left out.
fn uses(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = BTreeSet::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let path =
                line[at + 7..].split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').next().unwrap_or_default();
            found.insert(path.to_owned());
        }
    }
    found
}

#[test]
fn every_import_points_to_the_same_floor_or_below_and_never_in_a_circle() {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    let floor_of = |folder: &str| FLOORS.iter().position(|floor| floor.contains(&folder));
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in paths {
        let folder = module_of(&path);
        if matches!(folder.as_str(), "lib" | "bin" | "simulation" | "fuzzing") {
            continue;
        }
        let used = uses(&fs::read_to_string(&path).unwrap());
        if folder == TESTING {
            let outside =
                used.iter().filter(|name| !name.is_empty() && module_of_use(name) != TESTING).collect::<Vec<_>>();
            assert!(outside.is_empty(), "{}: testing uses {outside:?}", path.display());
            continue;
        }
        let floor = floor_of(&folder).unwrap_or_else(|| panic!("{folder} is on no floor"));
        let own = own_file(&path);
        let known = imports.entry(own.clone()).or_default();
        known.extend(used.iter().map(|used| file_of(used)).filter(|used| *used != own));
        for used in used.iter().map(|used| module_of_use(used)).filter(|used| *used != folder) {
            // A type that lib.rs re-exports is named without its module: that hides the floor.
            let below = floor_of(&used).unwrap_or_else(|| panic!("{}: crate::{used} is no module", path.display()));
            assert!(below <= floor, "{}: floor {floor} uses {used} of floor {below}", path.display());
        }
    }
    // Taking away, again and again, what uses nothing that is left empties a graph without circles.
    while !imports.is_empty() {
        let free: Vec<String> = imports
            .iter()
            .filter(|(_, uses)| uses.is_disjoint(&imports.keys().cloned().collect()))
            .map(|(module, _)| module.clone())
            .collect();
        assert!(!free.is_empty(), "imports in a circle: {imports:?}");
        imports.retain(|module, _| !free.contains(module));
    }
}

#[test]
fn decisions_know_no_io_clock_thread_or_randomness_of_their_own() {
    let banned = [
        "std::net",
        "std::fs",
        "std::io",
        "std::thread",
        "std::sync::Mutex",
        "Instant::now",
        "SystemTime::now",
        "fastrand::u",
        "fastrand::Rng::new",
        "rayon::",
        "ureq::",
        "println!",
    ];
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    for path in paths.iter().filter(|path| FLOORS[0].contains(&module_of(path).as_str())) {
        let source = fs::read_to_string(path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // An error keeps the IO error that caused it, and an address is checked: both are only values.
            let line = line.replace("std::io::Error", "").replace("std::net::{Ipv4Addr, Ipv6Addr}", "");
            for word in banned {
                assert!(!line.contains(word), "{}: {word} in {line:?}", path.display());
            }
        }
    }
}

#[test]
fn the_library_prints_nothing() {
    let mut paths = Vec::new();
    sources(&root().join("src"), &mut paths);
    for path in paths.iter().filter(|path| !matches!(module_of(path).as_str(), "bin" | "simulation")) {
        let source = fs::read_to_string(path).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for print in ["println!", "print!", "dbg!"] {
                assert!(!line.contains(print), "{}: {line}", path.display());
            }
        }
    }
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.replace(' ', "-").chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn the_readme_names_what_exists() {
    let readme = read("README.md");
    let manifest = read("Cargo.toml");
    assert!(readme.contains("cargo run --release --features cli -- demo"));
    assert!(readme.contains("cargo test --all-features"));
    for feature in ["rustls", "cli", "multiplex", "testing"] {
        assert!(manifest.contains(&format!("\n{feature} = [")), "{feature}");
        assert!(readme.contains(&format!("`{feature}`")), "{feature}");
    }
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(readme.contains(&format!("Rust {version} or later")), "{version}");
    for (_, target) in readme.match_indices("](").map(|(at, _)| (at, &readme[at + 2..])) {
        let target = target.split(')').next().unwrap();
        if target.contains("://") {
            continue;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { "README.md" } else { file };
        assert!(root().join(file).exists(), "the README links to {target}");
        let is_there = |text: String| text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
        assert!(heading.is_empty() || is_there(read(file)), "the README links to {target}");
    }
}
