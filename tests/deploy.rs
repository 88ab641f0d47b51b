//! The image and the manifests, as far as they can be checked where no engine runs: what they name exists, and the build
//! stage's own instructions run, with a stand-in for cargo. `deploy/musl-check` runs them with a real musl compiler.
#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::process::Command;

use yaml_rust2::{Yaml, YamlLoader};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The user of the final stage, which the manifests must repeat for the journal's volume to be writable.
const USER: i64 = 65532;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// ---------------------------------------------------------------------------------------------------- the Dockerfile

/// `FROM image [AS name]` and the instructions that follow it, continued lines joined.
struct Stage {
    image: String,
    name: Option<String>,
    steps: Vec<(String, String)>,
}

impl Stage {
    fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a str> {
        self.steps.iter().filter(move |(k, _)| k == keyword).map(|(_, rest)| rest.as_str())
    }

    fn only<'a>(&'a self, keyword: &'a str) -> &'a str {
        let mut found = self.all(keyword);
        let first = found.next().unwrap_or_else(|| panic!("no {keyword}"));
        assert_eq!(found.next(), None, "{keyword} twice");
        first
    }
}

fn stages() -> Vec<Stage> {
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
fn copy(rest: &str) -> (Vec<&str>, Vec<&str>, &str) {
    let (flags, mut paths): (Vec<&str>, Vec<&str>) = rest.split_whitespace().partition(|w| w.starts_with("--"));
    let to = paths.pop().expect("COPY has a destination");
    (flags, paths, to)
}

fn from(flags: &[&str]) -> Option<String> {
    flags.iter().find_map(|f| f.strip_prefix("--from=")).map(str::to_owned)
}

/// Output of `cargo metadata` in `dir`. JSON is YAML, so one parser reads both.
fn metadata(dir: &Path) -> Yaml {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(dir)
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    yaml(&String::from_utf8(out.stdout).expect("cargo writes UTF-8")).remove(0)["packages"][0].clone()
}

fn yaml(text: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(text).expect("it parses")
}

#[test]
fn every_image_is_pinned_to_a_version_that_builds_the_crate() {
    let stages = stages();
    let (last, builders) = stages.split_last().expect("there are stages");
    assert_eq!(last.image, "scratch");
    let package = metadata(Path::new(ROOT));
    let oldest: Vec<u32> = numbers(package["rust_version"].as_str().expect("Cargo.toml names a rust-version"));
    for stage in builders {
        let (image, tag) = stage.image.split_once(':').expect("the image has a tag");
        assert_eq!(image, "rust", "an official image, from the engine's default registry");
        let (version, system) = tag.split_once('-').expect("the tag names the system");
        assert_eq!(numbers(version).len(), 3, "{tag}: a full version, not a moving one");
        assert!(numbers(version) >= oldest, "{tag}: older than {oldest:?}");
        assert!(system.starts_with("alpine") && numbers(&system["alpine".len()..]).len() == 2, "{tag}: musl");
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|n| n.parse().expect("a number")).collect()
}

#[test]
fn every_copied_file_exists_and_is_not_ignored() {
    let stages = stages();
    let ignored = |path: &str| {
        // Docker's rule: the last line that matches a path or one of its parents decides.
        let ignore = read(".dockerignore");
        let rules = ignore.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        rules.fold(false, |ignored, rule| {
            let (pattern, verdict) = rule.strip_prefix('!').map_or((rule, true), |p| (p, false));
            assert!(pattern == "*" || !pattern.contains(['*', '?', '[']), "{rule}: teach this test that pattern");
            let hit = pattern == "*" || Path::new(path).starts_with(pattern.trim_matches('/'));
            if hit { verdict } else { ignored }
        })
    };
    for (at, stage) in stages.iter().enumerate() {
        for (flags, sources, _) in stage.all("COPY").map(copy) {
            match from(&flags) {
                Some(name) => {
                    assert!(
                        stages[..at].iter().any(|s| s.name.as_ref() == Some(&name)),
                        "--from={name}: no such stage"
                    );
                }
                None => {
                    for source in sources {
                        assert!(Path::new(ROOT).join(source).exists(), "COPY {source}: not in the repository");
                        assert!(!ignored(source), "COPY {source}: .dockerignore keeps it out");
                    }
                }
            }
        }
    }
    for kept_out in ["target", ".git", ".ci", "deploy", "fuzz/target", "cluster-client.toml", ".env"] {
        assert!(ignored(kept_out), "{kept_out} would be sent to the engine");
    }
}

/// A file outside `src` that the sources include (a README as documentation, say) must be copied too.
#[test]
fn every_included_file_is_copied() {
    fn visit(dir: &Path, copied: &[String]) {
        for entry in fs::read_dir(dir).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                visit(&path, copied);
            } else if path.extension() == Some(OsStr::new("rs")) {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                for include in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
                    for found in text.split(include).skip(1).filter_map(|rest| rest.split('"').next()) {
                        let target = normal(&dir.join(found));
                        let target = target.strip_prefix(ROOT.trim_end_matches('/')).expect("inside the repository");
                        let target = target.trim_start_matches('/');
                        assert!(
                            copied.iter().any(|c| Path::new(target).starts_with(c)),
                            "{} includes {target}, which the Dockerfile does not copy",
                            path.display()
                        );
                    }
                }
            }
        }
    }
    fn normal(path: &Path) -> String {
        let mut parts: Vec<&OsStr> = Vec::new();
        for part in path.components() {
            match part {
                Component::ParentDir => drop(parts.pop()),
                Component::Normal(name) => parts.push(name),
                _ => {}
            }
        }
        parts.iter().fold(String::new(), |all, part| all + "/" + &part.to_string_lossy())
    }
    let stages = stages();
    let copied: Vec<String> = stages[0].all("COPY").flat_map(|c| copy(c).1).map(str::to_owned).collect();
    visit(&Path::new(ROOT).join("src"), &copied);
    assert!(!Path::new(ROOT).join("build.rs").exists() || copied.iter().any(|c| c == "build.rs"));
}

/// The build stage for real, in a directory of its own, but for cargo: the stand-in only reads the manifest and notes its
/// arguments.
#[test]
fn build_stage_creates_the_files_of_the_final_stage() {
    let stages = stages();
    let [build, last] = stages.as_slice() else { panic!("two stages") };
    let room = tempfile::tempdir().expect("a directory");
    let (bin, context) = (room.path().join("bin"), room.path().join("src"));
    fs::create_dir(&bin).and_then(|()| fs::create_dir(&context)).expect("directories");
    let stand_in = format!(
        "#!/bin/sh\nset -e\necho \"$*\" >> '{calls}'\n\
         '{cargo}' metadata --no-deps --offline --locked --format-version 1 > /dev/null\n\
         mkdir -p target/dist\necho '#!/bin/sh' > target/dist/cluster-client\nchmod +x target/dist/cluster-client\n",
        calls = room.path().join("calls").display(),
        cargo = env!("CARGO"),
    );
    fs::write(bin.join("cargo"), stand_in).expect("the stand-in is written");
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).expect("the stand-in can run");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());

    assert_eq!(build.only("WORKDIR"), "/src");
    for (keyword, rest) in &build.steps {
        match keyword.as_str() {
            "WORKDIR" => {}
            "COPY" => {
                let (_, sources, to) = copy(rest);
                for source in sources {
                    let target = if to.ends_with('/') { context.join(to).join(source) } else { context.join(to) };
                    let from = Path::new(ROOT).join(source);
                    let status = Command::new("cp").arg("-R").arg(from).arg(merged(&target)).status().expect("cp runs");
                    assert!(status.success(), "COPY {rest}");
                }
                if rest.starts_with("Cargo.toml ") {
                    let section = "\n[[bench]]\nname = \"absent\"\nharness = false\n\n[dependencies]\n";
                    let manifest = read("Cargo.toml").replace("\n[dependencies]\n", section);
                    assert!(manifest.contains(section));
                    fs::write(context.join("Cargo.toml"), manifest).expect("the manifest is written");
                }
            }
            "RUN" => {
                let out = Command::new("sh").args(["-c", rest]).current_dir(&context).env("PATH", &path).output();
                let out = out.expect("sh runs");
                assert!(out.status.success(), "RUN {rest}\n{}", String::from_utf8_lossy(&out.stderr));
            }
            other => panic!("{other}: teach this test and deploy/musl-check that instruction"),
        }
    }

    // A section whose file was not copied would stop cargo, and the rest of the manifest must still be there.
    let manifest = fs::read_to_string(context.join("Cargo.toml")).expect("the manifest was copied");
    for section in ["[[bench]]", "[[example]]", "[[test]]"] {
        assert!(!manifest.contains(section), "{section}: its file is not in the build stage");
    }
    let package = metadata(&context);
    let ours = metadata(Path::new(ROOT));
    assert_eq!((&package["dependencies"], &package["features"]), (&ours["dependencies"], &ours["features"]));

    // One command twice, so that the second finds the dependencies built.
    let calls = fs::read_to_string(room.path().join("calls")).expect("cargo was called");
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0], calls[1]);
    let words: Vec<&str> = calls[0].split_whitespace().collect();
    let value = |flag: &str| words.iter().position(|w| *w == flag).map(|at| words[at + 1]);
    assert!(words.contains(&"--locked"));
    let profile = value("--profile").expect("a profile is named");
    assert!(manifest.contains(&format!("[profile.{profile}]")), "{profile}: not in Cargo.toml");
    let features: Vec<&str> = value("--features").expect("features are named").split(',').collect();
    for feature in &features {
        assert!(!package["features"][*feature].is_badvalue(), "{feature}: not a feature");
    }
    let command = package["targets"].as_vec().and_then(|all| all.iter().find(|t| t["kind"][0].as_str() == Some("bin")));
    let command = command.expect("there is a command");
    for required in command["required-features"].as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
        assert!(features.contains(&required), "the command needs the feature {required}");
    }
    assert_eq!(command["name"].as_str(), Some("cluster-client"));

    for (flags, sources, _) in last.all("COPY").map(copy) {
        assert_eq!(from(&flags), build.name, "the final stage takes from the build stage only");
        for source in sources {
            let inside = source.strip_prefix("/src/").expect("below WORKDIR");
            assert!(context.join(inside).exists(), "COPY {source}: the build stage makes no such thing");
        }
    }
}

/// `cp -R a b` puts `a` below an existing `b`, where COPY merges the two.
fn merged(target: &Path) -> &Path {
    if target.is_dir() { target.parent().expect("below the context") } else { target }
}

#[test]
fn final_stage_runs_the_command_unprivileged_with_its_journal() {
    let stages = stages();
    let last = stages.last().expect("there are stages");
    assert_eq!(last.only("USER"), format!("{USER}:{USER}"));
    let copies: Vec<_> = last.all("COPY").map(copy).collect();
    let entry = yaml(last.only("ENTRYPOINT")).remove(0);
    let entry = entry[0].as_str().expect("the exec form: there is no shell");
    assert!(copies.iter().any(|(_, _, to)| *to == entry), "{entry} is copied");
    let volume = yaml(last.only("VOLUME")).remove(0);
    let volume = volume[0].as_str().expect("the exec form");
    let owned = format!("--chown={USER}:{USER}");
    assert!(
        copies.iter().any(|(flags, _, to)| *to == volume && flags.contains(&owned.as_str())),
        "{volume}: not theirs"
    );
    assert_eq!(last.only("ENV"), format!("XDG_STATE_HOME={volume}"));
}

// ---------------------------------------------------------------------------------------------------- the manifests

fn manifest(kind: &str) -> Yaml {
    let all = yaml(&read("deploy/kubernetes.yaml"));
    let mut found = all.into_iter().filter(|m| m["kind"].as_str() == Some(kind));
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "{kind} twice");
    first
}

fn only(list: &Yaml) -> &Yaml {
    let list = list.as_vec().expect("a list");
    assert_eq!(list.len(), 1);
    &list[0]
}

#[test]
fn each_manifest_has_kind_and_version() {
    let kinds: Vec<(String, String)> = yaml(&read("deploy/kubernetes.yaml"))
        .iter()
        .map(|m| {
            assert!(m["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty()));
            let word = |key: &str| m[key].as_str().expect("a word").to_owned();
            (word("apiVersion"), word("kind"))
        })
        .collect();
    let expected = [("v1", "ConfigMap"), ("v1", "PersistentVolumeClaim"), ("batch/v1", "Job")];
    assert_eq!(kinds, expected.map(|(version, kind)| (version.to_owned(), kind.to_owned())));
}

#[test]
fn job_takes_hosts_from_the_config_map() {
    let (map, job) = (manifest("ConfigMap"), manifest("Job"));
    let data = map["data"].as_hash().expect("data");
    assert_eq!(data.keys().filter_map(Yaml::as_str).collect::<Vec<_>>(), ["HOSTS"]);
    let hosts = map["data"]["HOSTS"].as_str().expect("text");
    assert!(hosts.split(',').all(|host| host.starts_with("http://") && !host.contains(char::is_whitespace)), "{hosts}");
    let container = only(&job["spec"]["template"]["spec"]["containers"]);
    assert_eq!(only(&container["envFrom"])["configMapRef"]["name"], map["metadata"]["name"]);
    assert_eq!(container["args"][0].as_str(), Some("create"));
    let image = container["image"].as_str().expect("an image");
    assert_eq!(image, format!("cluster-client:{}", env!("CARGO_PKG_VERSION")), "the version that this is");
    assert!(read("Dockerfile").contains(&format!("docker build -t {image} .")));
}

#[test]
fn journal_is_on_a_persistent_volume_claim() {
    let (claim, job) = (manifest("PersistentVolumeClaim"), manifest("Job"));
    let pod = &job["spec"]["template"]["spec"];
    let volume = only(&pod["volumes"]);
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
    let mount = only(&only(&pod["containers"])["volumeMounts"]).clone();
    assert_eq!(mount["name"], volume["name"]);
    let state = format!("ENV XDG_STATE_HOME={}", mount["mountPath"].as_str().expect("a path"));
    assert!(read("Dockerfile").lines().any(|line| line == state), "the image's journal is elsewhere");
    assert_eq!(pod["securityContext"]["fsGroup"].as_i64(), Some(USER), "the volume must be writable to the user");
}

#[test]
fn pod_has_no_privileges() {
    let job = manifest("Job");
    let pod = &job["spec"]["template"]["spec"];
    let container = only(&pod["containers"]);
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["securityContext"]["runAsUser"].as_i64(), Some(USER));
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"));
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    let rights = &container["securityContext"];
    assert_eq!(rights["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(rights["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(only(&rights["capabilities"]["drop"]).as_str(), Some("ALL"));
    assert!(container["resources"]["requests"]["memory"].as_str().is_some());
    assert!(container["resources"]["limits"]["memory"].as_str().is_some());
}

/// USE.md's table of exits: another pod can help after 1, 3, 4 and 130, and cannot after 2 and 5.
#[test]
fn job_ends_on_exit_codes_without_a_useful_retry() {
    let job = manifest("Job");
    let spec = &job["spec"];
    assert!(spec["backoffLimit"].as_i64().is_some_and(|tries| (1..=6).contains(&tries)));
    assert_eq!(spec["template"]["spec"]["restartPolicy"].as_str(), Some("Never"), "podFailurePolicy asks for it");
    let rules = spec["podFailurePolicy"]["rules"].as_vec().expect("rules");
    let ends = rules.iter().find(|r| r["action"].as_str() == Some("FailJob")).expect("one rule ends the Job");
    let container = only(&spec["template"]["spec"]["containers"]);
    assert_eq!(ends["onExitCodes"]["containerName"], container["name"]);
    let exits: Vec<i64> =
        ends["onExitCodes"]["values"].as_vec().expect("exits").iter().filter_map(Yaml::as_i64).collect();
    assert_eq!((ends["onExitCodes"]["operator"].as_str(), exits.as_slice()), (Some("In"), [2, 5].as_slice()));
}
