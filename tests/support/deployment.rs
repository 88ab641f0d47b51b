//! Reads the Dockerfile and the Kubernetes manifests.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::fs;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

pub(crate) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn yaml(text: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(text).expect("it parses")
}

/// `FROM image [AS name]` and the instructions that follow it, continued lines joined.
pub(crate) struct Stage {
    pub(crate) image: String,
    pub(crate) name: Option<String>,
    pub(crate) steps: Vec<(String, String)>,
}

impl Stage {
    pub(crate) fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a str> {
        self.steps.iter().filter(move |(k, _)| k == keyword).map(|(_, rest)| rest.as_str())
    }

    pub(crate) fn only<'a>(&'a self, keyword: &'a str) -> &'a str {
        let mut found = self.all(keyword);
        let first = found.next().unwrap_or_else(|| panic!("no {keyword}"));
        assert_eq!(found.next(), None, "{keyword} twice");
        first
    }
}

pub(crate) fn stages() -> Vec<Stage> {
    let text = read("Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with('#') && !l.trim().is_empty()).collect();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in lines.join("\n").replace("\\\n", " ").lines() {
        let (keyword, rest) = instruction.split_once(' ').expect("an instruction has an argument");
        if keyword == "FROM" {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let name = words.iter().position(|w| *w == "AS").map(|at| words[at + 1].to_owned());
            stages.push(Stage { image: words[0].to_owned(), name, steps: Vec::new() });
        } else {
            let stage = stages.last_mut().expect("FROM comes first");
            stage.steps.push((keyword.to_owned(), rest.trim().to_owned()));
        }
    }
    stages
}

/// The flags, the sources and the destination of a COPY.
pub(crate) fn copy(rest: &str) -> (Vec<&str>, Vec<&str>, &str) {
    let (flags, mut paths): (Vec<&str>, Vec<&str>) = rest.split_whitespace().partition(|w| w.starts_with("--"));
    let to = paths.pop().expect("COPY has a destination");
    (flags, paths, to)
}

pub(crate) fn from(flags: &[&str]) -> Option<String> {
    flags.iter().find_map(|f| f.strip_prefix("--from=")).map(str::to_owned)
}

pub(crate) fn manifest(kind: &str) -> Yaml {
    let all = yaml(&read("deploy/kubernetes.yaml"));
    let mut found = all.into_iter().filter(|m| m["kind"].as_str() == Some(kind));
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "{kind} twice");
    first
}

/// The specification of the pods of a Job or a CronJob.
pub(crate) fn pod(kind: &str) -> Yaml {
    let spec = manifest(kind)["spec"].clone();
    let job = if kind == "CronJob" { spec["jobTemplate"]["spec"].clone() } else { spec };
    job["template"]["spec"].clone()
}

pub(crate) fn only(list: &Yaml) -> &Yaml {
    let list = list.as_vec().expect("a list");
    assert_eq!(list.len(), 1);
    &list[0]
}
