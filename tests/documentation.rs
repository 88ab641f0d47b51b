//! Checks what a reader of the documentation gets: examples and bounds in the rustdoc, links that lead somewhere, facts
//! of the README, and the metadata of the package.

#[path = "support/package.rs"]
mod package;
#[path = "support/public_api.rs"]
mod public_api;
#[path = "support/syntax.rs"]
mod syntax;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use crate::package::{metadata, read, root};
use crate::public_api::Documented;

/// Types of which each public method has an example of its own: those that a program begins with.
const MAIN_TYPES: [&str; 4] = ["Bulk", "ClientBuilder", "ClusterClient", "OperationOptions"];

/// Public items without an example. A type needs one on itself or on a method, a method of a main type on itself.
fn without_example(items: &[Documented]) -> Vec<&str> {
    let shown: BTreeSet<&str> = items.iter().filter(|item| item.has_example()).map(Documented::owner).collect();
    let lacks = |item: &&Documented| match item.name.split_once("::") {
        Some((owner, _)) => MAIN_TYPES.contains(&owner) && !item.has_example(),
        None => !shown.contains(&*item.name),
    };
    items.iter().filter(lacks).map(|item| &*item.name).collect()
}

/// Types whose methods set something that has bounds.
const BOUNDED_TYPES: [&str; 3] = ["ApiBuilder", "ClientBuilder", "RetryPolicy"];

/// Settings that are a number or a time, without bounds such as `1 ms to 1 h`.
fn without_bounds(items: &[Documented]) -> Vec<&str> {
    let names_bounds = |text: &str| {
        let mut ends = text.split("to ").skip(1);
        ends.any(|end| end.starts_with(|first: char| first.is_ascii_digit()))
    };
    let lacks =
        |item: &&Documented| BOUNDED_TYPES.contains(&item.owner()) && item.takes_number && !names_bounds(&item.text);
    items.iter().filter(lacks).map(|item| &*item.name).collect()
}

/// The public items of the library. `lib.rs` and `testing` re-export them.
static PUBLIC_ITEMS: LazyLock<Vec<Documented>> = LazyLock::new(|| {
    let exported: BTreeSet<String> =
        ["src/lib.rs", "src/testing/mod.rs"].iter().flat_map(|file| public_api::exported(&root().join(file))).collect();
    let mut items = public_api::read(&root().join("src"));
    items.retain(|item| exported.contains(item.owner()));
    for name in ["ClusterClient", "ClusterClient::create_group", "Journal", "Node::start", "TlsSettings", "Engine"] {
        assert!(items.iter().any(|item| item.name == name), "{name} was not found");
    }
    items
});

/// The lints missing_docs, missing_errors_doc and missing_panics_doc check the rest.
#[test]
fn public_types_and_the_methods_of_the_main_types_have_examples() {
    assert_eq!(without_example(&PUBLIC_ITEMS), [""; 0]);
}

#[test]
fn settings_with_bounds_name_them() {
    let items = &*PUBLIC_ITEMS;
    let settings = items.iter().filter(|item| item.takes_number && BOUNDED_TYPES.contains(&item.owner()));
    assert!(settings.count() >= 10);
    assert_eq!(without_bounds(items), [""; 0]);
}

#[test]
fn missing_bounds_are_found() {
    let source = |text: &str| {
        format!("pub struct RetryPolicy; impl RetryPolicy {{ #[doc = \"{text}\"] pub fn with(&self, n: u32) {{}} }}")
    };
    let lacking = |text: &str| without_bounds(&public_api::parse(&source(text))).join(" ");
    assert_eq!(lacking("Sets the number: 1 to 100."), "");
    assert_eq!(lacking("Sets the number. It has to be small."), "RetryPolicy::with");
}

#[test]
fn a_missing_example_is_found() {
    let example = "/// Text.\n///\n/// ```\n/// f();\n/// ```\n";
    let source = |on_type: &str, on_method: &str| {
        format!(
            "{on_type}pub struct ClusterClient; pub(crate) struct Hidden; #[cfg(test)] pub struct Tested;
             impl ClusterClient {{ {on_method} pub fn build(&self) {{}} fn own(&self) {{}} }}
             impl Clone for ClusterClient {{ fn clone(&self) -> Self {{ ClusterClient }} }}
             pub struct Value; impl Value {{ {on_method} pub fn parse() {{}} }}"
        )
    };
    let lacking = |source: &str| without_example(&public_api::parse(source)).join(" ");
    assert_eq!(lacking(&source(example, example)), "");
    assert_eq!(lacking(&source("", example)), "");
    assert_eq!(lacking(&source(example, "")), "ClusterClient::build Value");
    for not_compiled in ["```text", "```ignore", "```json", "```rust,ignore"] {
        let other = example.replacen("```", not_compiled, 1);
        assert_eq!(lacking(&source(&other, &other)), "ClusterClient ClusterClient::build Value", "{not_compiled}");
    }
}

/// Name of a heading in a link.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.replace(' ', "-").chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

#[test]
fn readme_names_all_features_and_the_version() {
    let readme = read("README.md");
    let manifest = read("Cargo.toml");
    assert!(readme.contains("cargo run --release --features cli -- demo"));
    assert!(readme.contains("cargo test --all-features"));
    let features = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let features = features.lines().filter_map(|line| line.split_once(" = [")).map(|(name, _)| name);
    let features: BTreeSet<&str> = features.filter(|name| *name != "default").collect();
    let table = readme.split("| feature |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: BTreeSet<&str> = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, features);
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(readme.contains(&format!("Rust {version} or later")), "{version}");
}

/// The documents whose links are checked.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "benches/compare", "fuzz"] {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path());
        found.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "md")));
    }
    found
}

/// The targets of the links in `text`, except those of other sites.
fn links(text: &str) -> Vec<&str> {
    let inline = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split(')').next());
    let definitions = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    inline.chain(definitions.map(|(_, target)| target)).filter(|target| !target.contains("://")).collect()
}

#[test]
fn links_of_the_documents_lead_to_files_and_headings() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(file.exists(), "{} links to {target}", document.display());
            let is_there = |text: String| text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            let is_found = heading.is_empty() || is_there(fs::read_to_string(file).unwrap());
            assert!(is_found, "{} links to {target}", document.display());
        }
    }
}

/// A link leads to the module that contains the page, or to the file in the package. The page of the crate has no images.
#[test]
fn links_of_the_readme_work_in_the_documentation_of_the_crate() {
    let (readme, root) = (read("README.md"), read("src/lib.rs"));
    let inline = readme.match_indices("](").filter_map(|(at, _)| readme[at + 2..].split(')').next());
    for target in inline.filter(|target| !target.contains("://")) {
        assert!(target.starts_with('#'), "the page of the crate has no file {target}");
    }
    let packaged = packaged();
    let definitions: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).collect();
    assert!(definitions.len() > 5, "{definitions:?}");
    for (name, target) in definitions {
        let module = root.split(&format!("#[doc = include_str!(\"../{target}\")]\npub mod ")).nth(1);
        let link = match module.and_then(|rest| rest.split(' ').next()) {
            Some(module) => format!("crate::{module}"),
            None if name == "screen" => "data:image/svg+xml,".to_owned(),
            None => format!("https://docs.rs/crate/cluster-client/latest/source/{target}"),
        };
        assert!(packaged.contains(target), "{target} is not in the package");
        assert!(
            root.contains(&format!("#![doc = \"[{name}]: {link}\\n\"]\n")),
            "lib.rs does not define [{name}] as {link}"
        );
        assert!(readme.contains(&format!("][{name}]")), "the README does not use [{name}]");
    }
}

/// The pages with which rustdoc makes modules. Relative links would be dead there.
#[test]
fn pages_of_the_documentation_have_no_relative_links() {
    let root = read("src/lib.rs");
    let pages: Vec<&str> =
        root.split("#[doc = include_str!(\"../").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(pages.contains(&"docs/command.md"), "{pages:?}");
    for page in pages {
        let text = read(page);
        let relative: Vec<&str> = links(&text).into_iter().filter(|target| !target.starts_with('#')).collect();
        assert_eq!(relative, [""; 0], "{page}");
    }
}

/// The files of the package.
fn packaged() -> BTreeSet<String> {
    let list = Command::new(env!("CARGO"))
        .args(["package", "--list", "--offline", "--allow-dirty"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    String::from_utf8(list.stdout).unwrap().lines().map(|line| line.replace('\\', "/")).collect()
}

/// The limits of the registry, and what the documentation of a release is built with.
#[test]
fn metadata_of_the_package_is_complete() {
    let metadata = metadata(&["--no-deps"]);
    let package = &metadata["packages"][0];
    let words =
        |key: &str| -> Vec<&str> { package[key].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect() };
    assert!((3..=5).contains(&words("keywords").len()) && (1..=5).contains(&words("categories").len()));
    let is_keyword = |word: &&str| word.len() <= 20 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    assert!(words("keywords").iter().all(is_keyword));
    assert!(
        package["description"].as_str().is_some_and(|text| (40..=200).contains(&text.len()) && text.ends_with('.'))
    );
    assert!(package["rust_version"].is_string() && package["documentation"].is_string());
    assert_eq!(package["metadata"]["docs"]["rs"]["all-features"], true);

    let packaged = packaged();
    let licences = package["license"].as_str().unwrap().split(" OR ").map(|name| match name {
        "MIT" => "LICENSE-MIT",
        "Apache-2.0" => "LICENSE-APACHE",
        other => panic!("{other}: its text is missing"),
    });
    for file in licences.chain([package["readme"].as_str().unwrap(), "CHANGELOG.md", "Cargo.lock"]) {
        assert!(packaged.contains(file), "{file} is not in the package");
    }
}

/// One sentence, real output, then what a newcomer needs, in the order of need.
#[test]
fn readme_is_in_the_order_of_a_newcomer() {
    let readme = read("README.md");
    let places =
        ["# cluster-client", "```console", "## Install", "## A first create", "## The HTTP contract", "## Errors"];
    let places = places.map(|part| readme.find(&format!("{part}\n")).unwrap_or_else(|| panic!("no {part}")));
    assert!(places.is_sorted(), "{places:?}");
    assert!(readme[places[5]..].contains("\n## Limits\n"));
}

#[test]
fn readme_has_at_most_150_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines}");
}
