//! The proxy of the configuration file.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use cluster_client::testing::Node;

use crate::bench::{Bench, Ran};

/// A proxy that knows the addresses of names that nothing else knows. It keeps the head of each request.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn to(nodes: HashMap<String, SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (kept, nodes) = (Arc::clone(&heads), Arc::new(nodes));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, nodes) = (Arc::clone(&kept), Arc::clone(&nodes));
                thread::spawn(move || while forward(&stream, &nodes, &kept).is_some() {});
            }
        });
        Proxy { address, heads }
    }

    fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().unwrap())
    }
}

/// Forwards one request in absolute form, and its answer.
fn forward(client: &TcpStream, nodes: &HashMap<String, SocketAddr>, heads: &Mutex<Vec<String>>) -> Option<()> {
    let (head, body) = message(&mut BufReader::new(client))?;
    heads.lock().unwrap().push(head.clone());
    let mut client = client;
    let (method, rest) = head.split_once(" http://")?;
    let (authority, rest) = rest.split_once('/')?;
    let Some(node) = nodes.get(authority) else {
        return client.write_all(b"HTTP/1.1 502 x\r\ncontent-length: 0\r\n\r\n").ok();
    };
    let mut node = TcpStream::connect(node).ok()?;
    node.write_all(&[format!("{method} /{rest}").as_bytes(), &body].concat()).ok()?;
    let (head, body) = message(&mut BufReader::new(&node))?;
    client.write_all(&[head.as_bytes(), &body].concat()).ok()
}

fn message(stream: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).ok().filter(|length| *length > 0)?;
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

#[test]
fn hosts_are_reached_through_the_proxy_of_the_file_with_both_engines() {
    let bench = Bench::new();
    let names: Vec<String> = (0..3).map(|number| format!("node{number}.invalid:8000")).collect();
    let addresses = bench.cluster.nodes().iter().map(Node::address);
    let proxy = Proxy::to(names.iter().cloned().zip(addresses).collect());
    bench.write("password", "open sesame\n");
    bench.configure_also(&format!(
        "proxy = \"http://{}\"\nproxy_user = \"Aladdin\"\nproxy_password_file = \"password\"\n",
        proxy.address
    ));
    let hosts = names.iter().map(|name| format!("http://{name}")).collect::<Vec<_>>().join(",");
    for engine in ["threads", "multiplexed"] {
        let run = |arguments: &[&str]| {
            let mut command = bench.command(arguments);
            command.args(["--hosts", &hosts, "--engine", engine, "-vv"]).env("RUST_LOG", "trace");
            let ran = Ran::of(&mut command);
            for secret in ["open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ", "Aladdin"] {
                assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:#?}");
            }
            ran
        };
        run(&["create", "g"]).exits(0);
        assert!(bench.cluster.all_have("g"));
        run(&["delete", "g", "--yes"]).exits(0);
        assert!(bench.cluster.none_has("g"));
        let heads = proxy.take_heads();
        let authorization = "\r\nproxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert!(heads.len() >= 12 && heads.iter().all(|head| head.contains(authorization)), "{heads:?}");
    }
}

#[test]
fn proxies_of_the_environment_have_no_effect() {
    let bench = Bench::new();
    for engine in ["threads", "multiplexed"] {
        let mut command = bench.command(&["status", "g", "--engine", engine]);
        for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(variable, "http://127.0.0.1:1");
        }
        Ran::of(&mut command).exits(1);
    }
    bench.configure_also("proxy = \"http://127.0.0.1:1\"\n");
    bench.run(&["status", "g"]).exits(1);
    bench.configure_also("proxy = \"http://127.0.0.1:1\"\nno_proxy = [\".invalid\"]\nattempts = 1\n");
    bench
        .run(&["status", "g", "--hosts", "http://node1.example:1"])
        .exits(4)
        .prints("the proxy 127.0.0.1:1 cannot be reached: connection refused");
    let direct = bench.run(&["status", "g", "--hosts", "http://node1.invalid:1"]).exits(4);
    assert!(direct.out.contains("the host name has no address") && !direct.out.contains("proxy"), "{direct:?}");
}

#[test]
fn refused_proxy_settings_name_the_key_or_value_and_the_file() {
    let bench = Bench::new();
    bench.write("empty", "");
    for (text, words) in [
        (
            "proxy = \"http://u:S3CR3T@p:1\"",
            "proxy \"http://***@p:1\" (from the file cluster-client.toml) has user info",
        ),
        ("proxy = \"https://p:1\"", "use http://: TLS to the hosts goes through it"),
        ("proxy = \"p:3128\"", "(from the file cluster-client.toml) has no scheme"),
        ("proxy = [\"S3CR3T\"]", "key \"proxy\" (from the file cluster-client.toml, line 1) is not a text"),
        ("no_proxy = [\"a\"]", "is there without a proxy"),
        ("proxy = \"http://p:1\"\nno_proxy = \"a\"", "is not a list of texts"),
        ("proxy = \"http://p:1\"\nno_proxy = [\"10.0.0.0/40\"]", "entry of no_proxy \"10.0.0.0/40\" (from the file"),
        ("proxy = \"http://p:1\"\nproxy_user = \"S3CR3T\"", "has no password: add proxy_password_file"),
        ("proxy = \"http://p:1\"\nproxy_password_file = \"x\"", "has no user: add proxy_user"),
        (
            "proxy = \"http://p:1\"\nproxy_user = \"u\"\nproxy_password_file = \"empty\"",
            "basic password file \"empty\" (from the file cluster-client.toml) for the proxy is empty",
        ),
    ] {
        bench.configure(text);
        let ran = bench.run(&["status", "g"]).exits(2);
        assert!(ran.err.contains(words) && !ran.err.contains("S3CR3T"), "{text}\n{ran:#?}");
    }
    bench.assert_untouched();
}

#[test]
fn hosts_shows_the_proxy_and_not_its_user() {
    let bench = Bench::new();
    bench.configure_also(
        "proxy = \"http://p:3128\"\nno_proxy = [\"a\", \"*\"]\nproxy_user = \"S3CR3T\"\nproxy_password_env = \"P\"\n",
    );
    let table = Ran::of(bench.command(&["hosts"]).env("P", "S3CR3T")).exits(0).table();
    assert!(!table.contains("S3CR3T"), "{table}");
    for line in ["proxy http://p:3128 from", "no_proxy a, * from", "proxy_user *** from", "proxy_password_env P from"] {
        assert!(table.contains(line), "{line}\n{table}");
    }
}
