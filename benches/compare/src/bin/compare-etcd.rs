//! An etcd of three members on loopback, for the rows with a journal in etcd: `compare-etcd FOLDER`.
//!
//! Prints `ready ENDPOINT,ENDPOINT,ENDPOINT`. Ends its members, and removes the folder, when its standard input is
//! closed, so they cannot outlive the runner.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time until all members serve clients.
const START: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1).map(PathBuf::from) else {
        eprintln!("usage: compare-etcd FOLDER");
        return ExitCode::FAILURE;
    };
    let mut members = Vec::new();
    let started = start(&folder, &mut members);
    match &started {
        Ok(endpoints) => {
            println!("ready {}", endpoints.join(","));
            let _ = io::stdin().read_to_end(&mut Vec::new());
        }
        Err(failure) => eprintln!("compare-etcd: {failure}"),
    }
    for mut member in members {
        let _ = member.kill();
        let _ = member.wait();
    }
    let _ = fs::remove_dir_all(&folder);
    if started.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(folder: &Path, members: &mut Vec<Child>) -> io::Result<Vec<String>> {
    fs::create_dir_all(folder)?;
    let held = (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>()?;
    let addresses = held.iter().map(|held| Ok(held.local_addr()?.to_string())).collect::<io::Result<Vec<_>>>()?;
    drop(held);
    let (clients, peers) = addresses.split_at(3);
    let cluster: Vec<String> = (0..3).map(|number| format!("m{number}=http://{}", peers[number])).collect();
    for number in 0..3 {
        let (client, peer) = (format!("http://{}", clients[number]), format!("http://{}", peers[number]));
        let log = File::create(folder.join(format!("log{number}")))?;
        let member = Command::new("etcd")
            .args(["--name", &format!("m{number}"), "--logger", "zap", "--data-dir"])
            .arg(folder.join(format!("m{number}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster.join(",")])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        members.push(member);
    }
    let deadline = Instant::now() + START;
    for number in 0..3 {
        while !fs::read_to_string(folder.join(format!("log{number}")))?.contains("serving client traffic") {
            if Instant::now() > deadline {
                return Err(io::Error::other("the members of etcd do not start"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(clients.to_vec())
}
