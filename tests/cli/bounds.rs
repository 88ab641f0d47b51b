//! Files that are read at the start. The configuration must be a regular file that no other user can write. Lists of
//! groups must end.

#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::{Bench, Ran, Running, text};

const AUTO: &str = "cluster-client.toml";
/// A user that is neither root nor the user of the tests.
const OTHER: u32 = 54_321;

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Returns the command in a shell that limits its address space (`ulimit -v`).
fn with_little_memory(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.command(arguments);
    let program = command.get_program().to_owned();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -v 500000; exec \"$@\"", "sh"])
        .arg(program)
        .args(command.get_args())
        .stdin(Stdio::null());
    shell.current_dir(command.get_current_dir().unwrap()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command = shell;
    command
}

/// Returns whether the test can change the owner of files. Prints a line if not.
fn is_root(bench: &Bench) -> bool {
    let root = fs::metadata(bench.write("owner", "")).unwrap().uid() == 0;
    if !root {
        eprintln!("skipped: only root can give files away");
    }
    root
}

#[test]
fn configuration_that_is_a_pipe_is_refused_without_blocking() {
    let bench = Bench::new();
    fs::remove_file(bench.path(AUTO)).unwrap();
    make_pipe(&bench.path(AUTO));
    for arguments in [&["create", "g"][..], &["hosts"], &["recover"], &["status", "g"]] {
        let ran = bench
            .run(arguments)
            .exits(2)
            .reports("configuration file \"cluster-client.toml\" (the default) is a pipe: ");
        ran.reports("name a regular file");
    }
    make_pipe(&bench.path("pipe"));
    bench.run(&["hosts", "--config", "pipe"]).exits(2).reports("\"pipe\" (from --config) is a pipe: ");
    bench.assert_untouched();
}

#[test]
fn configuration_that_is_no_regular_file_is_refused_with_its_kind() {
    let bench = Bench::new();
    let _socket = UnixListener::bind(bench.path("socket")).unwrap();
    for (path, what) in [
        ("/dev/zero", "is a device: name a regular file"),
        ("/dev/full", "is a device"),
        (".", "is a directory"),
        ("socket", "is a socket"),
        ("/dev/stdin", "is a device"),
    ] {
        Ran::of(&mut with_little_memory(&bench, &["hosts", "--config", path])).exits(2).reports(what);
    }
    let mut from_pipe = bench.command(&["hosts", "--config", "/dev/stdin"]);
    Ran::with_input(&mut from_pipe, b"attempts = 5").exits(2).reports("is a pipe: ").reports("which can be read again");
}

#[test]
fn null_device_is_an_empty_configuration() {
    let bench = Bench::new();
    bench.configure("attempts = 7");
    bench.run(&["hosts"]).exits(0).prints("attempts");
    let ran = bench.run(&["hosts", "--config", "/dev/null", "-o", "json"]).exits(0);
    assert_eq!(ran.json()[0]["settings"]["attempts"]["value"], 3);
}

#[test]
fn configuration_of_one_mebibyte_is_read_and_a_larger_one_is_refused() {
    let bench = Bench::new();
    let mut text = b"attempts = 4\n#".to_vec();
    text.resize(1 << 20, b'x');
    bench.write("limit.toml", &text);
    bench.run(&["hosts", "--config", "limit.toml"]).exits(0);
    text.push(b'x');
    bench.write(AUTO, &text);
    bench.run(&["hosts"]).exits(2).reports("(the default) has more than 1024 KiB: name the right file");
    // Test a sparse file.
    File::create(bench.path("sparse.toml")).unwrap().set_len(1 << 40).unwrap();
    let mut command = with_little_memory(&bench, &["hosts", "--config", "sparse.toml"]);
    Ran::of(&mut command).exits(2).reports("has more than 1024 KiB");
}

#[test]
fn endless_list_of_groups_is_refused() {
    let bench = Bench::new();
    let ran = Ran::of(&mut with_little_memory(&bench, &["create", "-f", "/dev/zero"])).exits(2);
    ran.reports("/dev/zero, line 1 has more than 64 KiB: write one group a line");
    let mut command = with_little_memory(&bench, &["create", "-f", "/dev/urandom"]);
    Ran::of(&mut command).exits(2).reports("/dev/urandom, line ");
    let endless = |line: &str| {
        let mut source = Command::new("yes").arg(line).stdout(Stdio::piped()).spawn().unwrap();
        let mut command = with_little_memory(&bench, &["create", "-f", "-"]);
        let ran = Ran::of(command.stdin(source.stdout.take().unwrap()));
        // `yes` ends when the last reader of its pipe is closed.
        drop(command);
        source.wait().unwrap();
        ran.exits(2)
    };
    endless("group").reports("group \"group\" (from standard input, line 1 and standard input, line 2) is there twice");
    endless("# nothing but comments, none of which is a group of any cluster")
        .reports("standard input has more than 256 MiB");
    bench.assert_untouched();
}

#[test]
fn more_than_a_million_groups_are_refused() {
    let bench = Bench::new();
    let mut list: Vec<u8> = Vec::new();
    (0..=1_000_000).for_each(|number| writeln!(list, "{number}").unwrap());
    bench.write("groups.txt", list);
    bench.run(&["create", "-f", "groups.txt"]).exits(2).reports("groups.txt names more than 1000000 groups: split it");
    bench.assert_untouched();
}

#[test]
fn list_of_groups_is_read_from_a_pipe() {
    let bench = Bench::new();
    make_pipe(&bench.path("pipe"));
    // The byte order mark is not part of the id.
    bench.write("list", "\u{feff}one\r\ntwo\n");
    let _writer = Running::of(Command::new("sh").args(["-c", "cat list > pipe"]).current_dir(bench.path(".")));
    bench.run(&["create", "-f", "pipe", "-q"]).exits(0);
    assert!(bench.cluster.all_have("one") && bench.cluster.all_have("two"));
}

#[test]
fn configuration_that_others_can_write_is_refused_unless_it_is_named() {
    let bench = Bench::new();
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(bench.path(AUTO), Permissions::from_mode(mode)).unwrap();
        let ran = bench.run(&["create", "g"]).exits(2);
        let ran = ran.reports(&format!(
            "\"cluster-client.toml\" (the default) can be written by other users (mode {mode:04o}): "
        ));
        ran.reports("run chmod go-w on it, or name it with --config");
        bench.assert_untouched();
        bench.run(&["hosts", "--config", AUTO]).exits(0);
    }
    fs::set_permissions(bench.path(AUTO), Permissions::from_mode(0o644)).unwrap();
    bench.run(&["hosts"]).exits(0);
}

#[test]
fn configuration_of_another_user_is_refused_unless_it_is_named() {
    let bench = Bench::new();
    if !is_root(&bench) {
        return;
    }
    chown(bench.path(AUTO), Some(OTHER), None).unwrap();
    let ran = bench.run(&["create", "g"]).exits(2);
    let ran = ran.reports(
        "\"cluster-client.toml\" (the default) belongs to the user 54321, and this command runs as the user 0: ",
    );
    ran.reports("name it with --config if you trust it, or chown it");
    bench.assert_untouched();
    bench.run(&["hosts", "--config", AUTO]).exits(0);

    // The link of another user points to an own file.
    chown(bench.path(AUTO), Some(0), None).unwrap();
    fs::rename(bench.path(AUTO), bench.path("own.toml")).unwrap();
    symlink("own.toml", bench.path(AUTO)).unwrap();
    bench.run(&["hosts"]).exits(0);
    lchown(bench.path(AUTO), Some(OTHER), None).unwrap();
    bench.run(&["hosts"]).exits(2).reports("belongs to the user 54321");
}

#[test]
fn configuration_of_root_is_read_by_every_user() {
    let bench = Bench::new();
    if !is_root(&bench) {
        return;
    }
    fs::set_permissions(bench.path("."), Permissions::from_mode(0o755)).unwrap();
    let program = bench.path("command");
    // A process of its own copies. A child that another test forks would inherit a descriptor that is open for writing
    // here, and exec would fail with ETXTBSY.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_cluster-client")).arg(&program).status().unwrap().success());
    let as_other = |file: &str| {
        let mut command = Command::new(&program);
        command.args(["hosts", "--hosts", "http://node1"]).current_dir(text(&bench.path("."))).env_clear();
        bench.configure(file);
        Ran::of(command.uid(OTHER))
    };
    as_other("attempts = 5").exits(0).prints("from the file cluster-client.toml");
    chown(bench.path(AUTO), Some(OTHER + 1), None).unwrap();
    as_other("attempts = 5").exits(2).reports("belongs to the user 54322, and this command runs as the user 54321");
}
