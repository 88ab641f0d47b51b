//! The image and the manifests, as far as they can be checked where no engine runs: what they name exists, and the build
//! stage's own instructions run, with a stand-in for cargo. `deploy/musl-check` runs them with a real musl compiler.
#![cfg(unix)]

#[path = "support/deployment.rs"]
mod deployment;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use yaml_rust2::Yaml;

use crate::deployment::{ROOT, copy, from, manifest, only, pod, read, stages, yaml};

/// The user of the final stage, which the manifests must repeat for the journal's volume to be writable.
const USER: i64 = 65532;

// ---------------------------------------------------------------------------------------------------- the Dockerfile

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
                for include in ["include_str!(\"", "include_str!(concat!(\"", "include_bytes!(\"", "include!(\""] {
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

/// The pods that the manifests start: of the Job, and of the CronJob.
fn pods() -> [Yaml; 2] {
    ["Job", "CronJob"].map(pod)
}

/// The entry of a list with this name.
fn named<'a>(list: &'a Yaml, name: &str) -> &'a Yaml {
    let mut found = list.as_vec().expect("a list").iter().filter(|entry| entry["name"].as_str() == Some(name));
    let first = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "{name} twice");
    first
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
    let expected = [("v1", "ConfigMap"), ("v1", "PersistentVolumeClaim"), ("batch/v1", "Job"), ("batch/v1", "CronJob")];
    assert_eq!(kinds, expected.map(|(version, kind)| (version.to_owned(), kind.to_owned())));
}

/// Where the validator is: on PATH, or where .ci/run installs it.
fn validator() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([Path::new(ROOT).join("target/tools/bin")]);
    places.map(|place| place.join("kubernetes-validate")).find(|file| file.exists())
}

/// The oldest and the newest version of Kubernetes whose schemas are used. A failure policy is stable from 1.31 on.
const KUBERNETES: [&str; 2] = ["1.31", "1.37"];

#[test]
fn manifests_fit_the_schemas_of_kubernetes() {
    let Some(validator) = validator() else {
        println!("skipped: schemas of Kubernetes: no kubernetes-validate here");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let accepts = |version: &str, text: &str| {
        let file = directory.path().join("manifests.yaml");
        fs::write(&file, text).expect("it is written");
        let out = Command::new(&validator).args(["--strict", "-k", version]).arg(file).output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.success(), said)
    };
    let files = [
        ("deploy/kubernetes.yaml", &["configmap", "persistentvolumeclaim", "job", "cronjob"][..]),
        ("deploy/kubernetes-etcd.yaml", &["configmap", "job", "cronjob"]),
    ];
    for (version, (file, kinds)) in KUBERNETES.into_iter().flat_map(|version| files.map(|file| (version, file))) {
        let text = read(file);
        let (accepted, said) = accepts(version, &text);
        assert!(accepted, "{version}: {said}");
        for kind in kinds {
            assert!(said.contains(&format!(" passed for resource {kind}/")), "{version}: {kind}: {said}");
        }
        // Each of these is in the Job and in the CronJob, and the message shows that it was found.
        for (key, other) in
            [("mountPath:", "mountpath:"), ("runAsUser: 65532", "runAsUser: nobody"), ("restartPolicy:", "restart:")]
        {
            let (accepted, said) = accepts(version, &text.replace(key, other));
            assert!(!accepted, "{version}: {other} was accepted");
            assert_eq!(said.matches(" did not validate ").count(), 2, "{version}: {other}: {said}");
        }
    }
}

#[test]
fn pods_take_hosts_from_the_config_map() {
    let map = manifest("ConfigMap");
    let data = map["data"].as_hash().expect("data");
    assert_eq!(data.keys().filter_map(Yaml::as_str).collect::<Vec<_>>(), ["HOSTS"]);
    let hosts = map["data"]["HOSTS"].as_str().expect("text");
    assert!(
        hosts.split(',').all(|host| host.starts_with("https://") && !host.contains(char::is_whitespace)),
        "{hosts}"
    );
    for pod in pods() {
        let container = only(&pod["containers"]);
        assert_eq!(only(&container["envFrom"])["configMapRef"]["name"], map["metadata"]["name"]);
        let image = container["image"].as_str().expect("an image");
        assert_eq!(image, format!("cluster-client:{}", env!("CARGO_PKG_VERSION")), "the version that this is");
        assert!(read("Dockerfile").contains(&format!("docker build -t {image} .")));
    }
}

/// Both pods have the same journal, secrets and rights.
#[test]
fn cron_job_recovers_with_the_pod_of_the_job() {
    let [job, cron] = pods();
    let args = |pod: &Yaml| format!("{:?}", only(&pod["containers"])["args"]);
    assert_eq!(args(&job), format!("{:?}", yaml("[create, example-group]")[0]));
    assert_eq!(args(&cron), format!("{:?}", yaml("[recover]")[0]));
    assert_eq!(format!("{job:?}").replace(&args(&job), &args(&cron)), format!("{cron:?}"));
    let schedule = manifest("CronJob");
    assert_eq!(schedule["spec"]["concurrencyPolicy"].as_str(), Some("Forbid"));
    assert_eq!(schedule["spec"]["jobTemplate"]["spec"]["backoffLimit"].as_i64(), Some(0));
}

#[test]
fn journal_is_on_a_persistent_volume_claim() {
    let claim = manifest("PersistentVolumeClaim");
    for pod in pods() {
        let volume = named(&pod["volumes"], "state");
        assert_eq!(volume["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
        let mount = named(&only(&pod["containers"])["volumeMounts"], "state");
        let state = format!("ENV XDG_STATE_HOME={}", mount["mountPath"].as_str().expect("a path"));
        assert!(read("Dockerfile").lines().any(|line| line == state), "the image's journal is elsewhere");
        assert_eq!(pod["securityContext"]["fsGroup"].as_i64(), Some(USER), "the volume must be writable to the user");
    }
}

/// The comment has the command that makes the secret, with the files that the variables name.
#[test]
fn authority_and_token_are_a_mounted_secret() {
    for pod in pods() {
        let secret = &named(&pod["volumes"], "secrets")["secret"];
        let name = secret["secretName"].as_str().expect("a name");
        assert_eq!(secret["defaultMode"].as_i64(), Some(440), "0440, which YAML 1.2 reads as a decimal number");
        let mount = named(&only(&pod["containers"])["volumeMounts"], "secrets");
        assert_eq!(mount["readOnly"].as_bool(), Some(true));
        let directory = mount["mountPath"].as_str().expect("a path");
        let variables = only(&pod["containers"])["env"].as_vec().expect("variables");
        assert_eq!(variables.len(), 2);
        let mut command = format!("kubectl create secret generic {name}");
        for variable in variables {
            let file = variable["value"].as_str().and_then(|path| path.strip_prefix(directory)?.strip_prefix('/'));
            write!(command, " --from-file={}", file.expect("a file of the secret")).expect("text");
        }
        assert!(read("deploy/kubernetes.yaml").contains(&command), "{command}");
    }
}

#[test]
fn pods_have_no_privileges() {
    for pod in pods() {
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
