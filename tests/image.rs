//! Runs the image without a container engine. The files that the last stage of the Dockerfile copies are in an empty root
//! that cannot be written. The command runs there as the image's user, as process 1, without capabilities.
//!
//! Each test starts itself again in a network of its own, which has the loopback interface only. It needs Linux, root,
//! bubblewrap and Rust's musl target, and is skipped with a word where one of them is absent. `deploy/musl-check` runs it
//! with the binary of the Dockerfile's own profile.
#![cfg(all(target_os = "linux", feature = "testing", feature = "rustls"))]

#[path = "support/deployment.rs"]
mod deployment;
#[path = "support/tls.rs"]
mod tls;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cluster_client::{DirectoryJournal, GroupId, Hosts, Intent, Journal as _, Purpose};
use tempfile::TempDir;
use yaml_rust2::Yaml;

use crate::deployment::{ROOT, copy, only, pod, stages, yaml};
use crate::tls::{Authority, TlsNode};

/// Set in the process that runs inside the network of its own: the path of the binary.
const INSIDE: &str = "CLUSTER_CLIENT_IMAGE_INSIDE";
/// The binary of the image. Without it, the test builds one.
const BINARY: &str = "CLUSTER_CLIENT_IMAGE_BINARY";
/// Generous, because it only bounds how long a broken test hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `test` in a network of its own, with the image's binary.
fn in_own_network(name: &str, test: fn(&Image)) {
    if let Some(binary) = std::env::var_os(INSIDE) {
        return test(&Image::assemble(Path::new(&binary)));
    }
    let binary = match BUILT.as_ref() {
        Ok(binary) => binary,
        Err(reason) => return println!("skipped: the image: {reason}"),
    };
    let status = Command::new("bwrap")
        .args(["--unshare-net", "--die-with-parent", "--dev-bind", "/", "/", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, binary)
        .status();
    assert!(status.unwrap().success());
}

static BUILT: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
    if fs::metadata("/proc/self").map_or(1, |found| found.uid()) != 0 {
        return Err("it takes root to become the image's user".into());
    }
    let mut probe = as_user(0);
    probe.args(["--ro-bind", "/", "/", "--unshare-pid", "--", "/bin/true"]);
    if !probe.output().is_ok_and(|done| done.status.success()) {
        return Err("no bwrap and setpriv here, or they are not permitted".into());
    }
    std::env::var_os(BINARY).map_or_else(build, |binary| Ok(fs::canonicalize(binary).unwrap()))
});

/// Builds the command as the Dockerfile does, but without the optimizations of its profile, which take minutes.
fn build() -> Result<PathBuf, String> {
    let triple = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = Command::new(rustc).args(["--print", "target-libdir", "--target", &triple]).output().unwrap();
    if !Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).exists() {
        return Err(format!("Rust has no target {triple} here"));
    }
    if Command::new("musl-gcc").arg("--version").output().is_err() {
        return Err("no musl-gcc here".into());
    }
    let build = stages()[0]
        .steps
        .iter()
        .rev()
        .find_map(|(_, step)| step.split("&&").find(|c| c.contains("cargo build")).map(str::to_owned));
    let build = build.expect("the Dockerfile builds with cargo");
    let flags = build.split_whitespace().skip_while(|word| *word != "--no-default-features");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--locked", "--target", &triple])
        .args(flags)
        .current_dir(ROOT)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(target.join(triple).join("debug/cluster-client"))
}

/// Becomes the user with this id in a container whose process sees the host's other users as nobody.
fn as_user(id: u32) -> Command {
    let id = id.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "bwrap", "--unshare-user", "--cap-drop", "ALL"]);
    command
}

/// The image: its files, and what its Dockerfile says about their process.
struct Image {
    directory: TempDir,
    user: u32,
    entry: String,
    environment: Vec<(String, String)>,
    volume: String,
}

impl Image {
    /// Copies what the last stage copies.
    fn assemble(binary: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let stages = stages();
        let last = stages.last().unwrap();
        assert_eq!(last.image, "scratch");
        let (user, group) = last.only("USER").split_once(':').unwrap();
        let text = |keyword| yaml(last.only(keyword)).remove(0)[0].as_str().unwrap().to_owned();
        let (name, value) = last.only("ENV").split_once('=').unwrap();
        let image = Image {
            user: user.parse().unwrap(),
            entry: text("ENTRYPOINT"),
            environment: vec![(name.into(), value.into())],
            volume: text("VOLUME"),
            directory,
        };
        assert_eq!(user, group);
        for (flags, sources, to) in last.all("COPY").map(copy) {
            let target = image.path("root").join(to.trim_start_matches('/'));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            match sources.as_slice() {
                [source] if source.ends_with("/cluster-client") => drop(fs::copy(binary, &target).unwrap()),
                // The build stage makes it empty, with this mode.
                ["/src/state"] => {
                    fs::create_dir(&target).unwrap();
                    fs::set_permissions(&target, Permissions::from_mode(0o700)).unwrap();
                }
                other => panic!("{other:?}: teach this test that file"),
            }
            if let Some(owner) = flags.iter().find_map(|flag| flag.strip_prefix("--chown=")) {
                assert_eq!(owner, last.only("USER"));
                chown(&target, Some(image.user), Some(image.user)).unwrap();
            }
        }
        image
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes an empty directory with this owner, group and mode beside the image.
    fn directory(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(owner), Some(self.user)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Writes a file as a container runtime mounts it: it belongs to root, and the user's group can read it.
    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::write(&path, text).unwrap();
        chown(&path, Some(0), Some(self.user)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o440)).unwrap();
        path
    }

    /// A container with this volume, and with files or directories mounted read-only.
    fn container(&self, volume: &Path, mounts: &[(&Path, &str)]) -> Command {
        let root = self.path("root");
        // A runtime makes the mount points before it makes the root read-only.
        for (source, to) in mounts.iter().copied().chain([(Path::new("/proc"), "/proc"), (Path::new("/dev"), "/dev")]) {
            let point = root.join(to.trim_start_matches('/'));
            fs::create_dir_all(point.parent().unwrap()).unwrap();
            if source.is_dir() {
                fs::create_dir_all(&point).unwrap();
            } else {
                fs::OpenOptions::new().append(true).create(true).open(&point).unwrap();
            }
        }
        let mut command = as_user(self.user);
        command.args([
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--as-pid-1",
            "--die-with-parent",
            "--new-session",
        ]);
        command
            .arg("--ro-bind")
            .arg(root)
            .args(["/", "--proc", "/proc", "--dev", "/dev", "--bind"])
            .arg(volume)
            .arg(&self.volume);
        for (source, to) in mounts {
            command.arg("--ro-bind").arg(source).arg(to);
        }
        command.arg("--clearenv");
        for (name, value) in &self.environment {
            command.args(["--setenv", name, value]);
        }
        command
    }
}

/// Runs a container to its end, and returns its exit code with all that it printed.
fn run(mut container: Command, entry: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = container.arg("--").arg(entry).args(arguments).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// A container that runs. Its drop kills it.
struct Running(Child);

impl Running {
    fn start(mut container: Command, entry: &str, arguments: &[&str]) -> Self {
        Running(
            container
                .arg("--")
                .arg(entry)
                .args(arguments)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    /// The process 1 of the container, as this machine numbers it: the child of bwrap.
    fn process(&self) -> String {
        let bwrap = self.0.id();
        fs::read_to_string(format!("/proc/{bwrap}/task/{bwrap}/children")).unwrap().trim().to_owned()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.process()]).status().unwrap();
        assert!(sent.success());
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node of the image, in a container of its own.
struct NodeContainer {
    running: Running,
    port: String,
}

impl NodeContainer {
    fn signal(&self, name: &str) {
        self.running.signal(name);
    }

    fn has(&self, group: &str) -> bool {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        write!(stream, "GET /v1/group/{group}/ HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.contains(" 200 ")
    }
}

fn start_node(image: &Image, number: usize, delay: &str) -> NodeContainer {
    let volume = image.directory(&format!("volume-of-node-{number}"), image.user, 0o700);
    let container = image.container(&volume, &[]);
    let mut running = Running::start(container, &image.entry, &["node", "127.0.0.1:0", "--delay", delay]);
    let mut first = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let port = first.trim().rsplit(':').next().unwrap().to_owned();
    assert!(port.parse::<u16>().is_ok(), "{first}");
    NodeContainer { running, port }
}

fn wait_until(what: &str, is_there: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the journal in this volume has an intent.
fn has_intent(volume: &Path) -> bool {
    let mut files = fs::read_dir(volume.join("cluster-client")).into_iter().flatten().flatten();
    files.any(|file| file.path().extension().is_some_and(|extension| extension == "intent"))
}

fn lines_of(path: &str, starts: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| starts.iter().any(|start| line.starts_with(start)));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Asserts that the process has no right that the image's user does not need.
fn check_rights(image: &Image, process: &str) {
    let none = "0000000000000000";
    let user = image.user;
    let expected = [
        format!("Uid: {user} {user} {user} {user}"),
        format!("Gid: {user} {user} {user} {user}"),
        format!("CapPrm: {none}"),
        format!("CapEff: {none}"),
        format!("CapBnd: {none}"),
        "NoNewPrivs: 1".to_owned(),
    ];
    let starts = ["Uid:", "Gid:", "CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:"];
    assert_eq!(lines_of(&format!("/proc/{process}/status"), &starts), expected);
    let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let root = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[4] == "/").unwrap();
    assert!(root[5].split(',').any(|option| option == "ro"), "{root:?}");
    let interfaces = fs::read_to_string(format!("/proc/{process}/net/dev")).unwrap();
    let interfaces: Vec<&str> =
        interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(interfaces, ["lo"]);
}

#[test]
fn image_creates_and_recovers_as_its_user_in_a_read_only_root() {
    in_own_network("image_creates_and_recovers_as_its_user_in_a_read_only_root", |image| {
        // A node holds each request back, so that a create is under way for a while.
        let nodes: Vec<_> = (1..=3).map(|number| start_node(image, number, "400ms")).collect();
        check_rights(image, &nodes[0].running.process());
        let hosts: Vec<_> =
            nodes.iter().enumerate().map(|(at, node)| format!("http://node{}:{}", at + 1, node.port)).collect();
        let settings = format!("hosts = {hosts:?}\nrequest_timeout = \"2s\"\nsettle = \"2s\"\n");
        let settings = image.file("cluster-client.toml", &settings);
        let names = image.file("hosts", "127.0.0.1 localhost node1 node2 node3\n");
        fs::set_permissions(&names, Permissions::from_mode(0o444)).unwrap();
        let volume = image.directory("volume", image.user, 0o700);
        let container = || {
            let mut container =
                image.container(&volume, &[(&names, "/etc/hosts"), (&settings, "/etc/cluster/cluster-client.toml")]);
            container.args(["--setenv", "CLUSTER_CLIENT_CONFIG", "/etc/cluster/cluster-client.toml"]);
            container
        };
        let command = |arguments: &[&str]| run(container(), &image.entry, arguments);
        let states = |group: &str| {
            let (_, printed) = command(&["status", group, "-o", "json"]);
            let count = |state: &str| printed.matches(&format!("\"state\":\"{state}\"")).count();
            (count("present"), count("absent"), count("unknown"))
        };

        let (exit, printed) = command(&["create", "payments"]);
        assert_eq!(exit, Some(0), "{printed}");
        assert_eq!((command(&["status", "payments"]).0, states("payments")), (Some(0), (3, 0, 0)));

        // Killed when one host has the group and another does not answer: the next container recovers from the volume.
        let mut create = Running::start(container(), &image.entry, &["create", "orders"]);
        wait_until("the intent", || has_intent(&volume));
        nodes[2].signal("STOP");
        wait_until("the group on the first node", || nodes[0].has("orders"));
        create.kill();
        nodes[2].signal("CONT");
        let (exit, printed) = command(&["journal", "list"]);
        assert!(exit == Some(0) && printed.contains("orders"), "{printed}");
        let (exit, printed) = command(&["recover"]);
        assert_eq!(exit, Some(0), "{printed}");
        assert_eq!(states("orders"), (0, 3, 0), "{printed}");

        // Stopped as an engine stops a container: process 1 rolls back.
        let signal = stages().last().unwrap().only("STOPSIGNAL").trim_start_matches("SIG").to_owned();
        let mut create = Running::start(container(), &image.entry, &["create", "users"]);
        wait_until("the intent", || has_intent(&volume));
        create.signal(&signal);
        assert_eq!((create.0.wait().unwrap().code(), states("users")), (Some(130), (0, 3, 0)));

        let (exit, printed) = command(&["create", "other", "--journal", "/other"]);
        assert!(exit == Some(2) && printed.contains("Read-only file system"), "{printed}");
        let (exit, printed) = command(&["delete", "payments", "--yes"]);
        assert_eq!((exit, states("payments")), (Some(0), (0, 3, 0)), "{printed}");
    });
}

/// What Kubernetes makes of the specification of a pod, with these hosts.
struct Pod {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    secrets: String,
}

impl Pod {
    fn of(kind: &str) -> Self {
        let pod = pod(kind);
        let container = only(&pod["containers"]);
        let text = |value: &Yaml| value.as_str().unwrap().to_owned();
        let list = |value: &Yaml| value.as_vec().unwrap().clone();
        let mounts = list(&container["volumeMounts"]);
        let secrets = mounts.iter().find(|mount| mount["name"].as_str() == Some("secrets")).unwrap();
        Pod {
            variables: list(&container["env"]).iter().map(|v| (text(&v["name"]), text(&v["value"]))).collect(),
            arguments: list(&container["args"]).iter().map(text).collect(),
            secrets: text(&secrets["mountPath"]),
        }
    }

    fn run(&self, image: &Image, volume: &Path, secrets: &Path, hosts: &str) -> (Option<i32>, String) {
        let mut container = image.container(volume, &[(secrets, &self.secrets)]);
        for (name, value) in self.variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain([
            ("HOSTS", hosts),
            ("CLUSTER_CLIENT_ATTEMPTS", "1"),
            ("RUST_LOG", "warn"),
        ]) {
            container.args(["--setenv", name, value]);
        }
        run(container, &image.entry, &self.arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Lays out a secret as the kubelet does: links to a directory that one rename replaces.
fn mount_secret(image: &Image, version: &str, files: &[(&str, &str)]) -> PathBuf {
    let secrets = image.path("secrets");
    if !secrets.exists() {
        image.directory("secrets", 0, 0o3775);
        for (name, _) in files {
            symlink(format!("..data/{name}"), secrets.join(name)).unwrap();
        }
    }
    image.directory(&format!("secrets/..{version}"), 0, 0o2755);
    for (name, text) in files {
        image.file(&format!("secrets/..{version}/{name}"), text);
    }
    symlink(format!("..{version}"), secrets.join("..new")).unwrap();
    fs::rename(secrets.join("..new"), secrets.join("..data")).unwrap();
    secrets
}

#[test]
fn pods_of_the_manifests_create_and_recover_with_mounted_secrets() {
    in_own_network("pods_of_the_manifests_create_and_recover_with_mounted_secrets", |image| {
        let authority = Authority::new("cluster");
        let nodes: Vec<_> = (0..2).map(|_| TlsNode::start(&authority.node())).collect();
        for node in &nodes {
            node.require_token("xyzzy");
        }
        let all_have = |group: &str| nodes.iter().all(|node| node.node.has(group));
        let none_has = |group: &str| !nodes.iter().any(|node| node.node.has(group));
        // There is no /etc/hosts, so the hosts are addresses.
        let hosts: Vec<_> = nodes.iter().map(|node| format!("https://127.0.0.1:{}", node.address.port())).collect();
        let hosts = hosts.join(",");
        // As a persistent volume with an fsGroup is mounted.
        let volume = image.directory("volume", 0, 0o2775);
        let (job, cron_job) = (Pod::of("Job"), Pod::of("CronJob"));

        let secrets = mount_secret(image, "1", &[("ca.pem", &authority.pem), ("token", "xyzzy\n")]);
        let (exit, printed) = job.run(image, &volume, &secrets, &hosts);
        assert_eq!(exit, Some(0), "{printed}");
        assert!(all_have("example-group") && !printed.contains("can be read by"), "{printed}");
        // A second pod on the same claim finds the group, for which the Job has a rule.
        assert_eq!(job.run(image, &volume, &secrets, &hosts).0, Some(5));

        // A delete of an earlier pod is left over.
        let group = GroupId::parse("old").unwrap();
        assert!(nodes.iter().all(|node| node.node.insert("old")));
        let journal = volume.join("cluster-client");
        let intent = Intent::new(group.clone(), Purpose::Delete, &Hosts::parse(hosts.split(',')).unwrap());
        let owner = |path: &Path| fs::metadata(path).unwrap().uid();
        assert_eq!(owner(&journal), image.user);
        let before = image.path("journal-of-another");
        DirectoryJournal::open(&before).unwrap().claim(&group).unwrap().record(&intent).unwrap();
        fs::copy(before.join("old.intent"), journal.join("old.intent")).unwrap();
        chown(journal.join("old.intent"), Some(image.user), Some(image.user)).unwrap();
        fs::set_permissions(journal.join("old.intent"), Permissions::from_mode(0o600)).unwrap();
        let (exit, printed) = cron_job.run(image, &volume, &secrets, &hosts);
        assert!(exit == Some(0) && none_has("old") && all_have("example-group"), "{printed}");
        let (exit, printed) = cron_job.run(image, &volume, &secrets, &hosts);
        assert_eq!(exit, Some(0), "nothing is left: {printed}");

        // Another authority, and another token: nothing is changed.
        assert!(nodes.iter().all(|node| node.node.remove("example-group")));
        let other = Authority::new("another");
        let secrets = mount_secret(image, "2", &[("ca.pem", &other.pem), ("token", "xyzzy\n")]);
        let (exit, printed) = job.run(image, &volume, &secrets, &hosts);
        assert!(exit == Some(1) && printed.contains("unknown issuer") && none_has("example-group"), "{printed}");
        let secrets = mount_secret(image, "3", &[("ca.pem", &authority.pem), ("token", "wrong\n")]);
        let (exit, printed) = job.run(image, &volume, &secrets, &hosts);
        assert!(exit == Some(1) && printed.contains("401") && none_has("example-group"), "{printed}");
        assert!(!printed.contains("wrong"), "{printed}");
    });
}
