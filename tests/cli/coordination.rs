//! The page `docs/coordination.md`: its files and commands, on an etcd of three members. Skipped, with a word, without
//! `etcd`, `etcdctl` and `openssl`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{PATIENCE, Ran, text, timeless};
use crate::etcd::has;
use crate::etcd_cluster::program;
use crate::tls_server::Authority;
use crate::tutorial::{Block, blocks, commands};

const PAGE: &str = include_str!("../../docs/coordination.md");
/// The ports of the page: the members for clients and for each other, and the nodes.
const PORTS: [&str; 9] = ["2381", "2382", "2383", "2391", "2392", "2393", "9001", "9002", "9003"];

/// A directory for each coordinator, and free ports instead of those of the page.
struct Place {
    folder: tempfile::TempDir,
    ports: Vec<String>,
    /// Ends with the test, with all that it has started.
    background: Vec<Child>,
}

impl Place {
    /// `None`, with a word, if a program is missing.
    fn new() -> Option<Self> {
        program("3.4")?;
        if !["etcdctl", "openssl"].iter().all(|program| has(program, "version")) {
            return None;
        }
        let held: Vec<_> = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports = held.iter().map(|held| held.local_addr().unwrap().port().to_string()).collect();
        let place = Place { folder: tempfile::tempdir().unwrap(), ports, background: Vec::new() };
        for name in ["first", "second", "bin"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        // The page calls the command by its name.
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cluster-client"), place.path("bin/cluster-client")).unwrap();
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the ports of the page. Each stands behind a colon or in the list of the members.
    fn here(&self, text: &str) -> String {
        PORTS.iter().zip(&self.ports).fold(text.to_owned(), |text, (shown, port)| text.replace(shown, port))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, self.here(text)).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// A shell script in a directory, with a home of its own.
    fn shell(&self, directory: &str, script: &str) -> Command {
        let path = format!("{}:{}", text(&self.path("bin")), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-ec", &self.here(script)]).current_dir(self.path(directory));
        command.env_clear().env("PATH", path).env("HOME", self.path(directory)).stdin(Stdio::null());
        command
    }

    /// Starts a script whose processes run on.
    fn start(&mut self, script: &str) {
        let script = format!("{script}\nwait");
        let mut command = self.shell("first", &script);
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.background.push(child);
    }

    fn run(&self, directory: &str, line: &str) -> Ran {
        Ran::of(&mut self.shell(directory, line))
    }

    /// Repeats a command until it exits with 0.
    fn run_until_it_succeeds(&self, directory: &str, line: &str) -> Ran {
        let start = Instant::now();
        loop {
            let ran = self.run(directory, line);
            if ran.code == Some(0) {
                return ran;
            }
            assert!(start.elapsed() < PATIENCE * 2, "{line}: {ran:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for child in &mut self.background {
            // The whole group of processes.
            let _ = Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", child.id())]).status();
            let _ = child.wait();
        }
    }
}

fn of(language: &str, part: &str) -> &'static str {
    let is_it = |(found, text): &Block| *found == language && text.contains(part);
    blocks(PAGE).into_iter().find(is_it).unwrap_or_else(|| panic!("no {language} block has {part}")).1
}

/// Leaves out what differs between runs: times, and `process 4711 on work` with its column of a table.
fn comparable(text: &str) -> Vec<String> {
    let is_start = |word: &&str| word.starts_with("20") && word.ends_with('Z');
    let line = |line: &str| {
        let (before, owner) = line.split_once("process ").unwrap_or((line, ""));
        let after = owner.split_whitespace().skip(3).filter(|word| !is_start(word));
        before.split_whitespace().chain(after).collect::<Vec<_>>().join(" ")
    };
    timeless(text).lines().map(line).collect()
}

/// The output that the page shows for a command.
fn shown(line: &str, part: &str) -> &'static str {
    let consoles = blocks(PAGE).into_iter().filter(|(language, _)| *language == "console");
    let mut found = consoles.flat_map(|(_, console)| commands(console)).filter(|(command, _)| *command == line);
    found.find(|(_, output)| output.contains(part)).unwrap_or_else(|| panic!("the page has no {line} with {part}")).1
}

fn assert_shown(place: &Place, line: &str, part: &str, ran: &Ran) {
    let printed = if ran.out.is_empty() { &ran.err } else { &ran.out };
    // `recover` and others also print the next command, which has the path of the test.
    let printed: Vec<&str> = printed.lines().filter(|line| !line.starts_with("Next:")).collect();
    let printed = printed.join("\n");
    assert_eq!(comparable(&printed), comparable(&place.here(shown(line, part))), "{line}\n{ran:#?}");
}

#[test]
fn second_coordinator_of_the_page_recovers_the_killed_create() {
    let Some(mut place) = Place::new() else { return };
    place.write("first/members.sh", of("sh", "member m1"));
    place.start(of("sh", "cluster-client node"));
    // The settle time of the page is the default, which would only cost time here.
    let configuration = of("toml", "/demo").replace("[etcd]", "settle = \"500ms\"\n[etcd]");
    for directory in ["first", "second"] {
        place.write(&format!("{directory}/cluster-client.toml"), &configuration);
    }
    place.run_until_it_succeeds("second", "cluster-client journal list");
    place.run_until_it_succeeds("second", "cluster-client status ready || [ $? = 1 ]");

    let killed = place.run("first", of("sh", "timeout --signal KILL"));
    assert!(killed.err.contains("payments: creating"), "{killed:#?}");
    let ran = place.run("second", "cluster-client journal list").exits(0);
    assert_shown(&place, "cluster-client journal list", "running", &ran);
    let ran = place.run("second", "cluster-client recover").exits(4);
    assert!(ran.out.contains("payments is busy"), "{ran:#?}");
    let ran = place.run_until_it_succeeds("second", "cluster-client recover");
    assert_shown(&place, "cluster-client recover", "settled", &ran);
    place.run("first", "cluster-client status payments").exits(1);
    place.run("first", "cluster-client recover").exits(0).reports("nothing to recover");
}

#[test]
fn commands_of_the_page_set_up_tls_and_authentication() {
    let Some(mut place) = Place::new() else { return };
    place.write("first/members.sh", of("sh", "member m1"));
    let setup = of("sh", "openssl req -x509");
    let (before, after) = setup.split_once("scheme=https").expect("the members are started");
    let (start, after) = after.split_once('\n').unwrap();
    place.run("first", before).exits(0);
    place.start(&format!("umask 077\nscheme=https{start}"));
    let (export, after) = after.split_once('\n').unwrap();
    place.run_until_it_succeeds("first", &format!("{export}\netcdctl endpoint health"));
    place.run("first", &format!("umask 077\n{export}\n{after}")).exits(0);

    let journal = of("toml", "ca_file");
    place.write("first/cluster-client.toml", &format!("hosts = [\"http://127.0.0.1:9001\"]\n{journal}"));
    let ran = place.run("first", "cluster-client journal list").exits(0);
    assert_shown(&place, "cluster-client journal list", "etcds://", &ran);
    assert!(!ran.err.contains("warning"), "{ran:#?}");
    place.start("cluster-client node 127.0.0.1:9001 -q");
    place.run_until_it_succeeds("first", "cluster-client create ready --exist-ok");
    fs::write(place.path("first/cluster.password"), "another").unwrap();
    let ran = place.run("first", "cluster-client create payments").exits(1);
    assert!(ran.out.contains("correct the etcd user and its password"), "{ran:#?}");
}

/// The configuration of the Kubernetes example, at its paths of a pod.
#[test]
fn configuration_of_the_kubernetes_example_is_accepted() {
    let Some(place) = Place::new() else { return };
    let manifests = include_str!("../../deploy/kubernetes-etcd.yaml");
    let manifests = yaml_rust2::YamlLoader::load_from_str(manifests).unwrap();
    let configuration = manifests[0]["data"]["cluster-client.toml"].as_str().unwrap();
    let secrets = place.path("first");
    for file in ["ca.pem", "password"] {
        assert!(configuration.contains(&format!("\"/etc/cluster/{file}\"")), "{configuration}");
    }
    place.write("first/ca.pem", &Authority::new("the authority").pem);
    place.write("first/password", "S3CR3T");
    place.write("first/cluster-client.toml", &configuration.replace("/etc/cluster", text(&secrets)));
    let ran = place.run("first", "cluster-client hosts").exits(0);
    for part in ["etcds://etcd-0.etcd:2379,", "etcd.user", "http://node3:8000"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    // No file is left out, and each pod reads this configuration.
    fs::remove_file(place.path("first/password")).unwrap();
    place.run("first", "cluster-client hosts").exits(2).reports("etcd password file");
    let pod = |kind: &yaml_rust2::Yaml| kind["template"]["spec"]["containers"][0].clone();
    for container in [pod(&manifests[1]["spec"]), pod(&manifests[2]["spec"]["jobTemplate"]["spec"])] {
        let variable = &container["env"][0];
        let mount = &container["volumeMounts"][0]["mountPath"];
        assert_eq!(variable["name"].as_str(), Some("CLUSTER_CLIENT_CONFIG"));
        assert_eq!(
            variable["value"].as_str(),
            Some(format!("{}/cluster-client.toml", mount.as_str().unwrap())).as_deref()
        );
        assert_eq!(container["volumeMounts"][1]["mountPath"].as_str(), Some("/etc/cluster"));
    }
}
